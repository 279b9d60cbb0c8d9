"""LiteRT-LM's own engine on a packed ``.litertlm``, in a separate process: it may crash, and it logs a lot.

Everything that the engine writes, mainly the XNNPACK weight cache, goes to a folder under ``work`` that is removed
afterwards; the bundle's own folder is only read.
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
from ...util.packages import install_command
from ...util.platform import host_threads
from ...util.progress import Progress
from ..runs import Job, Run
from .id_tokenizer import write_identity, write_without_stops
from .litert_lm_worker import BENCH
from .version import require_runtime

Message = Mapping[str, Any]
_TAIL = 4096  # bytes of the engine's log worth reading after a failure
_ROOM = 1 << 16  # bytes free on a disk that counts as full
_HINT = (
    "The file is damaged, or needs something that this engine lacks. Check the bundle's hashes with 'gemcut validate', "
    "and this machine with 'gemcut doctor'."
)


@dataclass(frozen=True)
class Chat:
    """A chat to render.

    Attributes:
        messages: The messages, as ``apply_chat_template`` takes them.
        tools: The tools, as ``apply_chat_template`` takes them.
        add_generation_prompt: Whether the prompt ends with the start of the assistant's turn.
        thinking: Whether the template's variable ``enable_thinking`` is set.
    """

    messages: Sequence[Message]
    tools: Sequence[Message] = ()
    add_generation_prompt: bool = True
    thinking: bool = False


@dataclass(frozen=True)
class RenderedChat:
    """What the engine's own conversation made of a chat.

    Attributes:
        text: The prompt that it rendered; None if it didn't.
        ids: The prompt's tokens as the model gets them (BOS included); None if there is no prompt.
        fed: How many tokens it then fed to the model by its own count; None without a generation prompt, because
            nothing is fed then.
        refused: Its error text; empty if it didn't fail.
        inexpressible: Why its API can't express the chat; empty if it can.
    """

    text: str | None
    ids: tuple[int, ...] | None
    fed: int | None
    refused: str = ""
    inexpressible: str = ""


@dataclass(frozen=True)
class TokenizedText:
    """A text in the engine's own tokenizer.

    Attributes:
        ids: Its ids, without a BOS.
        text: The text that the ids decode to.
    """

    ids: tuple[int, ...]
    text: str


@dataclass(frozen=True)
class Conversations:
    """What ``conversation_ids`` found.

    Attributes:
        chats: A result for each chat, in their order.
        texts: A result for each text, in their order.
    """

    chats: tuple[RenderedChat, ...]
    texts: tuple[TokenizedText, ...]


def version() -> str:
    """Return the installed engine's version, such as ``0.18.1``.

    Raises:
        LackingError: It is missing, isn't the supported release, or can't run on this processor.
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
    """Return the engine's greedy continuations, token by token, whatever the bundle's tokenizer and stop tokens.

    Args:
        program: The packed ``.litertlm``.
        prompts: Token ids, BOS included if there is to be one; none may be empty.
        max_new: Ids wanted of each; fewer come only if the context ends. Stop ids don't end a reply.
        vocab_size: Logits of the program.
        work: An existing folder; it holds a copy of the program and the engine's caches meanwhile.
        threads: Threads of the CPU; None for one per core.
        progress: Told of each prompt.

    Raises:
        ConformanceError: The engine refuses the file or a prompt, crashes, or ends a reply early.
        LackingError: The engine is missing, or memory or disk space runs out.
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
                f"LiteRT-LM replied to prompt {index + 1} with {len(reply)} tokens instead of {wanted}",
                hint="Show the engine's own log with --verbose.",
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
    """Render chats in the engine's own conversation: the bundle's template in its minijinja, and its own tokenizer.

    A chat's last message is sent as a message; those before it are the conversation so far. With a generation prompt
    the message is really sent and one token decoded, so that the engine's own count confirms the ids.

    Args:
        program: The packed ``.litertlm``.
        chats: The chats to render.
        work: An existing folder for the engine's caches.
        texts: Texts that the engine's tokenizer alone cuts into tokens.
        threads: Threads of the CPU; None for one per core.
        progress: Told of each chat.

    Raises:
        ConformanceError: The engine refuses the file, or crashes; or feeds more or fewer tokens than ``ids`` has.
        LackingError: The engine is missing, or memory or disk space runs out.
    """
    require_runtime()
    read_header(program)
    job = {"task": "conversations", "chats": [_chat_json(chat) for chat in chats], "texts": list(texts)}
    with _workplace(work) as place:
        found = _ask(job, program, place, threads, progress, len(chats))
    rendered = []
    for index, item in enumerate(found["chats"]):
        ids = None if item["ids"] is None else tuple(item["ids"])
        rendered.append(RenderedChat(item["text"], ids, item["fed"], item["refused"], item["inexpressible"]))
        if ids is not None and item["fed"] is not None and item["fed"] != len(ids):
            raise ConformanceError(
                f"LiteRT-LM feeds {item['fed']} tokens for chat {index + 1}, which its tokenizer cuts into {len(ids)}",
                hint="Most likely the bundle's start token isn't one of its tokenizer's. Export the bundle again.",
            )
    texts_cut = tuple(TokenizedText(tuple(item["ids"]), item["text"]) for item in found["texts"])
    return Conversations(tuple(rendered), texts_cut)


def reply(
    program: Path,
    messages: Sequence[Message],
    tools: Sequence[Message],
    max_new: int,
    work: Path,
    threads: int | None = None,
) -> dict[str, Any]:
    """Return the assistant's next message, greedily decoded, as a user of the engine gets it.

    The engine uses the bundle's template, tokenizer and stop tokens, and parses tool calls if it does so for the
    bundle's model type.

    Args:
        program: The packed ``.litertlm``.
        messages: The chat so far.
        tools: The tools that the model may call.
        max_new: The most tokens of the reply.
        work: An existing folder for the engine's caches.
        threads: Threads of the CPU; None for one per core.

    Returns:
        A message: ``role``, ``content`` (a list of ``{"type": "text", "text": ...}``) and perhaps ``tool_calls``.

    Raises:
        ConformanceError: The engine refuses the file, or crashes.
        LackingError: The engine is missing, or memory or disk space runs out.
    """
    require_runtime()
    read_header(program)
    job = {"task": "reply", "messages": list(messages), "tools": list(tools), "max_new": max_new}
    with _workplace(work) as place:
        answer: dict[str, Any] = _ask(job, program, place, threads)
    return answer


def bench(job: Job, runs: int, work: Path, progress: Progress | None = None) -> list[Run]:
    """Measure speed and memory ``runs`` times, each in a separate process.

    The engine's weight cache is written before the first run that counts, as it is on a device before the second start.
    Each prompt and each generation goes to its own session. ``litert_lm.Benchmark`` isn't used: it doesn't warm up, and
    if a prompt is refused it reports zeros.

    Args:
        job: What to measure, of a packed ``.litertlm``.
        runs: How often to measure.
        work: An existing folder; it holds a copy of the program and the engine's caches meanwhile.
        progress: Told of each run.

    Raises:
        ConformanceError: The engine refuses the file, or a prompt or reply doesn't fit its context; or it crashes.
        LackingError: The engine is missing, or memory or disk space runs out.
    """
    require_runtime()
    program, found = Path(job.program), []
    with _workplace(work) as place:
        write_without_stops(program, place / program.name)
        for index in range(runs + 1):
            if progress is not None:
                progress.update(index, runs + 1, f"run {index} of {runs}" if index else "weight cache")
            lengths = {"prompts": job.prompts, "generations": job.generations} if index else {}
            values = _ask({**BENCH, **lengths, "depth": job.depth}, place / program.name, place, job.threads)
            if index:
                found.append(Run.of(values))
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
    """A temporary folder under ``work``, removed even after a failure or Ctrl-C."""
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
    """Runs ``job`` on ``program`` in the worker; its caches and its log go to ``place``."""
    cache = place / "cache"
    cache.mkdir(exist_ok=True)
    whole = {**job, "program": str(program), "cache": str(cache), "threads": threads or host_threads()}
    command = [sys.executable, "-m", f"{__package__}.litert_lm_worker"]
    log = place / "engine.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=output) as worker,
    ):
        try:
            answer = _exchange(worker, json.dumps(whole).encode(), progress, total)
            code = worker.wait()
        except BaseException:
            worker.kill()
            raise
    tail = _read_tail(log)
    if "result" not in answer and _is_full(place, f"{answer} {tail}"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(place))
    return _result_of(answer, code, program, tail)


def _is_full(place: Path, output: str) -> bool:
    """Whether the engine's caches have no room: it dies of that in several ways, and seldom says why."""
    return os.strerror(errno.ENOSPC) in output or shutil.disk_usage(place).free < _ROOM


def _exchange(worker: subprocess.Popen[bytes], job: bytes, progress: Progress | None, total: int) -> dict[str, Any]:
    """Sends the job and follows the worker's messages to the last one; empty if it died before that."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    with suppress(BrokenPipeError):  # it died when it started, and its log says why
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


def _result_of(answer: dict[str, Any], code: int, program: Path, log: str) -> Any:
    """The worker's result; raises the error that its end means if there is none."""
    if code == 0 and "result" in answer:
        return answer["result"]
    if code == -signal.SIGKILL or "bad_alloc" in log:
        raise LackingError(
            "LiteRT-LM's engine was killed, most likely because memory ran out",
            hint="Close other programs and try again.",
        )
    if code < 0:
        name = signal.Signals(-code).name
        raise ConformanceError(f"LiteRT-LM's engine crashed with {name} on {program.name}: {_last(log)}", hint=_HINT)
    if "lacking" in answer:
        raise LackingError(answer["lacking"], hint=install_command("litert"))
    if "refused" in answer:
        reason = _refusal(answer["refused"], program, log)
        raise ConformanceError(f"LiteRT-LM refuses {program.name}: {reason}", hint=_HINT)
    raise RuntimeError(f"the process that runs LiteRT-LM's engine ended with exit code {code}: {_last(log)}")


def _refusal(error: str, program: Path, log: str) -> str:
    """The engine's error in one line, with the errors that the layers below it only wrote to stderr."""
    text = error.partition("=== Source Location Trace")[0].replace(str(program), program.name)
    below = dict.fromkeys(re.findall(r"^ERROR: (?:\[[^\]]*\] )?(.+)$", log, re.MULTILINE))
    parts = [" ".join(text.split()), *(line for line in below if line not in text)]
    return "; ".join(parts[:4])


def _last(log: str) -> str:
    return " / ".join(log.strip().splitlines()[-3:]) or "it wrote nothing"


def _read_tail(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
        return file.read().decode("utf-8", "replace")
