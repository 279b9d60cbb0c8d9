"""LiteRT-LM's own engine on a packed `.litertlm`, in a process of its own: it may crash, and says much.

All that the engine writes, the XNNPACK weight cache above all, goes to a folder under ``work`` that is gone afterwards;
the bundle's own folder is only read.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ...errors import ConformanceError, LackingError
from ...formats.litertlm import read_header
from ...util.progress import Progress
from ..base import Run
from .id_tokenizer import write_endless, write_identity
from .version import INSTALL, require_runtime

Message = Mapping[str, Any]
_TAIL = 4096  # bytes of the engine's log worth reading after a failure
_ROOM = 1 << 16  # bytes free on a disk that is as good as full
_HINT = (
    "The file is damaged, or needs what this engine lacks. 'gemcut validate' checks the bundle's hashes; "
    "'gemcut doctor' looks at this machine."
)


@dataclass(frozen=True)
class Chat:
    """A chat to render: messages and tools as ``apply_chat_template`` takes them.

    thinking: with the template's variable ``enable_thinking``.
    """

    messages: Sequence[Message]
    tools: Sequence[Message] = ()
    add_generation_prompt: bool = True
    thinking: bool = False


@dataclass(frozen=True)
class Heard:
    """How the engine's own conversation took a chat.

    text: the prompt that it rendered; None where it didn't. ids: the tokens that it makes of it, as the model gets them
    (BOS included). fed: how many tokens it then fed to the model by its own count; None without a generation prompt,
    where nothing is fed. refused: its error text where it failed; empty where it didn't. inexpressible: why its API has
    no words for the chat; empty where it has.
    """

    text: str | None
    ids: tuple[int, ...] | None
    fed: int | None
    refused: str = ""
    inexpressible: str = ""


@dataclass(frozen=True)
class Cut:
    """A text in the engine's own tokenizer: its ids, without a BOS, and the text that they make again."""

    ids: tuple[int, ...]
    text: str


@dataclass(frozen=True)
class Conversations:
    """What ``conversation_ids`` found, in the order of what was asked."""

    chats: tuple[Heard, ...]
    texts: tuple[Cut, ...]


def version() -> str:
    """The installed engine's version, such as ``0.18.1``.

    Raises:
        LackingError: it is missing, of another release, or can't run on this processor.
    """
    return require_runtime()


def greedy(
    program: Path,
    prompts: Sequence[Sequence[int]],
    max_new: Sequence[int],
    vocab_size: int,
    work: Path,
    threads: int | None = None,
    progress: Progress | None = None,
) -> list[list[int]]:
    """The engine's greedy continuations, token by token, whatever the bundle's tokenizer and stop tokens.

    Args:
        program: The packed ``.litertlm``.
        prompts: Token ids, BOS included where there is to be one; none empty.
        max_new: Ids wanted of each; fewer come only where the context ends. Stop ids don't end a reply.
        vocab_size: Logits of the program.
        work: An existing folder; a copy of the program and the engine's caches are there meanwhile.
        threads: Of the CPU; None for one a core.
        progress: Told of each prompt.

    Raises:
        ConformanceError: The engine refuses the file or a prompt, crashes, or ends a reply early.
        LackingError: The engine, memory or disk is missing.
        ValueError: A prompt is empty or has ids that the program can't have.
    """
    if len(prompts) != len(max_new):
        raise ValueError(f"{len(prompts)} prompts and {len(max_new)} lengths")
    for prompt in prompts:
        if not prompt or min(prompt) < 0 or max(prompt) >= vocab_size:
            raise ValueError(f"a prompt is empty or has ids outside 0 .. {vocab_size - 1}")
    require_runtime()
    with _workplace(work) as place:
        context = write_identity(program, place / program.name, vocab_size)
        asked = [index for index, count in enumerate(max_new) if count > 0]
        job = {
            "task": "greedy",
            "prompts": [list(prompts[index]) for index in asked],
            "max_new": [max_new[index] for index in asked],
        }
        found = _ask(job, place / program.name, place, threads, progress, len(asked)) if asked else []
    replies: list[list[int]] = [[] for _ in prompts]
    for index, reply in zip(asked, found, strict=True):
        wanted = max_new[index] if not context else min(max_new[index], context - len(prompts[index]))
        if len(reply) != wanted:
            raise ConformanceError(
                f"LiteRT-LM replies with {len(reply)} tokens to prompt {index + 1}, where {wanted} were asked for",
                hint="--verbose shows the engine's own log.",
            )
        replies[index] = reply
    return replies


def conversation_ids(
    program: Path,
    chats: Sequence[Chat],
    work: Path,
    texts: Sequence[str] = (),
    threads: int | None = None,
    progress: Progress | None = None,
) -> Conversations:
    """Chats through the engine's own conversation: the bundle's template in its minijinja, and its own tokenizer.

    What a chat ends with is sent as a message, what comes before it is the conversation so far. With a generation
    prompt the message is really sent and one token decoded, so that the engine's own count vouches for the ids.

    Args:
        program: The packed ``.litertlm``.
        chats: To render.
        work: An existing folder for the engine's caches.
        texts: To cut into tokens by the engine's tokenizer alone.
        threads: Of the CPU; None for one a core.
        progress: Told of each chat.

    Raises:
        ConformanceError: The engine refuses the file, or crashes; or feeds more or fewer tokens than ``ids`` has.
        LackingError: The engine, memory or disk is missing.
    """
    require_runtime()
    read_header(program)
    job = {"task": "conversations", "chats": [_chat_json(chat) for chat in chats], "texts": list(texts)}
    with _workplace(work) as place:
        found = _ask(job, program, place, threads, progress, len(chats))
    heard = []
    for index, item in enumerate(found["chats"]):
        ids = None if item["ids"] is None else tuple(item["ids"])
        heard.append(Heard(item["text"], ids, item["fed"], item["refused"], item["inexpressible"]))
        if ids is not None and item["fed"] is not None and item["fed"] != len(ids):
            raise ConformanceError(
                f"LiteRT-LM feeds {item['fed']} tokens for chat {index + 1}, which its tokenizer cuts into {len(ids)}",
                hint="The bundle's start token is not one of its tokenizer's, most likely. Export it again.",
            )
    return Conversations(tuple(heard), tuple(Cut(tuple(item["ids"]), item["text"]) for item in found["texts"]))


def reply(
    program: Path,
    messages: Sequence[Message],
    tools: Sequence[Message],
    max_new: int,
    work: Path,
    threads: int | None = None,
) -> dict[str, Any]:
    """The assistant's next message, greedily decoded, as a user of the engine gets it: the bundle's template, tokenizer
    and stop tokens, and tool calls taken apart where the bundle's model type has them so.

    Returns:
        A message: ``role``, ``content`` (a list of ``{"type": "text", "text": ...}``) and perhaps ``tool_calls``.

    Args and raises as ``conversation_ids``; ``max_new`` is in tokens.
    """
    require_runtime()
    read_header(program)
    job = {"task": "reply", "messages": list(messages), "tools": list(tools), "max_new": max_new}
    with _workplace(work) as place:
        answer: dict[str, Any] = _ask(job, program, place, threads)
    return answer


def bench(
    program: Path,
    prompts: Sequence[int],
    steps: int,
    runs: int,
    work: Path,
    threads: int | None = None,
    progress: Progress | None = None,
) -> list[Run]:
    """Measures speed and memory ``runs`` times, each in a process of its own.

    The engine's weight cache is written before the first run that counts, as it is on a device before the second start.
    Each prompt goes to a session of its own; ``steps`` tokens are decoded after the first. ``litert_lm.Benchmark``
    isn't used: it doesn't warm up, and where a prompt is refused it reports zeros.

    Args:
        program: The packed ``.litertlm``.
        prompts: Tokens of each prompt.
        steps: Tokens to decode.
        runs: How often.
        work: An existing folder; a copy of the program and the engine's caches are there meanwhile.
        threads: Of the CPU; None for one a core.
        progress: Told of each run.

    Raises:
        ConformanceError: The engine refuses the file, or a prompt or reply doesn't fit its context; or it crashes.
        LackingError: The engine, memory or disk is missing.
    """
    require_runtime()
    found = []
    with _workplace(work) as place:
        write_endless(program, place / program.name)
        for index in range(runs + 1):
            if progress is not None:
                progress.update(index, runs + 1, f"run {index} of {runs}" if index else "weight cache")
            job = {"task": "bench", "prompts": list(prompts) if index else [], "steps": steps if index else 0}
            values = _ask(job, place / program.name, place, threads)
            if index:
                written = sum(file.stat().st_size for file in (place / "cache").rglob("*") if file.is_file())
                found.append(Run(**{**values, "prefill": tuple(values["prefill"]), "written": written}))
    return found


def _chat_json(chat: Chat) -> dict[str, Any]:
    return {
        "messages": list(chat.messages),
        "tools": list(chat.tools),
        "add_generation_prompt": chat.add_generation_prompt,
        "thinking": chat.thinking,
    }


@contextmanager
def _workplace(work: Path) -> Iterator[Path]:
    """A folder of one's own under ``work``, gone afterwards, also after a failure and Ctrl-C."""
    with tempfile.TemporaryDirectory(dir=work, prefix="litert-lm-") as place:
        yield Path(place)


def _ask(
    job: dict[str, Any],
    program: Path,
    place: Path,
    threads: int | None,
    progress: Progress | None = None,
    total: int = 0,
) -> Any:
    """Has the worker do ``job`` on ``program``; its caches and its log go to ``place``."""
    cache = place / "cache"
    cache.mkdir(exist_ok=True)
    whole = {**job, "program": str(program), "cache": str(cache), "threads": threads or _cores()}
    command = [sys.executable, "-m", f"{__package__}.litert_lm_worker"]
    log = place / "engine.log"
    with (
        log.open("wb") as noise,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=noise) as worker,
    ):
        try:
            answer = _converse(worker, json.dumps(whole).encode(), progress, total)
            code = worker.wait()
        except BaseException:
            worker.kill()
            raise
    said = _read_tail(log)
    if "result" not in answer and _is_full(place, f"{answer} {said}"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(place))
    return _judged(answer, code, program, said)


def _is_full(place: Path, said: str) -> bool:
    """Whether the engine's caches have no room: it dies of that in several ways, and seldom says why."""
    return os.strerror(errno.ENOSPC) in said or shutil.disk_usage(place).free < _ROOM


def _converse(worker: subprocess.Popen[bytes], job: bytes, progress: Progress | None, total: int) -> dict[str, Any]:
    """Hands the job over and follows the worker's messages to the last one; empty where it died before that."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    with suppress(BrokenPipeError):  # it died at its start, and its log says why
        worker.stdin.write(job)
    with suppress(BrokenPipeError):
        worker.stdin.close()
    return _last_message(worker.stdout, progress, total)


def _last_message(lines: IO[bytes], progress: Progress | None, total: int) -> dict[str, Any]:
    for line in lines:
        message: dict[str, Any] = json.loads(line)
        if "done" not in message:
            return message
        if progress is not None:
            progress.update(message["done"], total, message["what"])
    return {}


def _judged(answer: dict[str, Any], code: int, program: Path, log: str) -> Any:
    """The worker's result, or the error that its end amounts to."""
    if code == 0 and "result" in answer:
        return answer["result"]
    if code == -signal.SIGKILL or "bad_alloc" in log:
        raise LackingError(
            "LiteRT-LM's engine was killed, most likely because memory ran out", hint="Close other programs."
        )
    if code < 0:
        name = signal.Signals(-code).name
        raise ConformanceError(f"LiteRT-LM's engine crashed with {name} on {program.name}: {_last(log)}", hint=_HINT)
    if "lacking" in answer:
        raise LackingError(answer["lacking"], hint=INSTALL)
    if "refused" in answer:
        said = _words(answer["refused"], program, log)
        raise ConformanceError(f"LiteRT-LM refuses {program.name}: {said}", hint=_HINT)
    raise RuntimeError(f"the process that runs LiteRT-LM's engine ended with {code}: {_last(log)}")


def _words(refused: str, program: Path, log: str) -> str:
    """The engine's error in one line, with what the layers below it wrote to stderr instead of saying it."""
    text = refused.partition("=== Source Location Trace")[0].replace(str(program), program.name)
    below = dict.fromkeys(re.findall(r"^ERROR: (?:\[[^\]]*\] )?(.+)$", log, re.MULTILINE))
    said = [" ".join(text.split()), *(line for line in below if line not in text)]
    return "; ".join(said[:4])


def _last(log: str) -> str:
    return " / ".join(log.strip().splitlines()[-3:]) or "it wrote nothing"


def _read_tail(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
        return file.read().decode("utf-8", "replace")


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
