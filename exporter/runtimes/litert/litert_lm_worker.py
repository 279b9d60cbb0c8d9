"""The child process in which LiteRT-LM's engine runs: ``python -m gemcut.runtimes.litert.litert_lm_worker``.

A job, as JSON, comes in on stdin. Messages, one JSON object a line, go out on the original stdout: ``{"done": n,
"what": text}`` on the way, and at the end one of ``result``, ``refused`` (the engine's own error text) and ``lacking``.
Native code writes to descriptor 1 as it likes, so that descriptor leads to stderr here.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...util.process_memory import MemoryMeter
from .id_tokenizer import ids_of, words_of

Job = dict[str, Any]
Say = Callable[[dict[str, Any]], None]
BENCH: Job = {"task": "bench", "prompts": [], "generations": [], "depth": 0}
WARM_STEPS = 4
# Texts that most tokenizers cut into one token for each repetition.
_UNITS = (" a", " the", "x\n", "0", ".")


class Refused(Exception):
    """The engine refused something; the message is its own."""


class _Engine:
    """An opened bundle, and what Python's binding of the engine doesn't show: why something failed.

    Args:
        job: Has ``program`` and ``cache``, which are paths, and ``threads``.
        counting: Whether to keep the counts and times that ``get_benchmark_info`` returns.
    """

    def __init__(self, job: Job, counting: bool = False) -> None:
        import litert_lm

        self.api = litert_lm
        self._lib = library()
        with self.refusing():
            self.engine = litert_lm.Engine(
                job["program"],
                backend=litert_lm.Backend.CPU(thread_count=job["threads"]),
                cache_dir=job["cache"],
                enable_benchmark=counting,
            )

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Turn the binding's exceptions, which only name the function that failed, into the engine's own errors."""
        self._lib.litert_lm_clear_last_error()
        try:
            yield
        except RuntimeError as error:
            raise Refused(self.last_error() or str(error)) from error

    def last_error(self) -> str:
        """Return the engine's last error; empty if there is none."""
        message = self._lib.litert_lm_get_last_error_message()
        return message.decode("utf-8", "replace") if message else ""

    @property
    def greedy_sampling(self) -> Any:
        """A sampler that takes the likeliest token."""
        return self.api.SamplerConfig(top_k=1, top_p=1.0, temperature=1.0, seed=0)

    @contextmanager
    def session(self, max_new: int) -> Iterator[Any]:
        """Open a session for one prompt, to which no template is applied."""
        with self.refusing():
            session = self.engine.create_session(
                apply_prompt_template=False, sampler_config=self.greedy_sampling, max_output_tokens=max_new
            )
        try:
            yield session
        finally:
            session.close()

    @contextmanager
    def conversation(self, messages: Sequence[Any], tools: Sequence[Any], thinking: bool = False) -> Iterator[Any]:
        """Open a conversation that already has ``messages``.

        Args:
            messages: The conversation so far.
            tools: The tools that the model may call.
            thinking: Whether the template's variable ``enable_thinking`` is set.
        """
        declared = [_tool(self.api, tool) for tool in tools]
        with self.refusing():
            conversation = self.engine.create_conversation(
                messages=list(messages) or None,
                tools=declared or None,
                automatic_tool_calling=False,
                extra_context={"enable_thinking": True} if thinking else None,
                sampler_config=self.greedy_sampling,
            )
        try:
            yield conversation
        finally:
            conversation.close()

    def rendered(self, conversation: Any, message: Any) -> str:
        """Return the prompt for ``message``; for None that of the conversation so far, without a generation prompt."""
        with self.refusing():
            if message is None:
                raw = self._lib.litert_lm_conversation_render_preface_to_string(conversation._ptr)
                text = raw.decode("utf-8") if raw else ""
            else:
                text = conversation.render_message_to_string(message)
            if not text and (why := self.last_error()):  # the binding returns an empty text for a failure
                raise Refused(why)
        return text

    def prompt_ids(self, text: str) -> list[int]:
        """Return the ids that a session makes of a conversation's first prompt (runtime/core/session_utils.cc).

        It puts the metadata's start token first, whatever the text. If the text begins with that token's own text, it
        puts the token there a second time instead of cutting that text into tokens.
        """
        start = self.engine.bos_token_id
        if start is None:
            return list(self.engine.tokenize(text))
        ids, spelled = [start], self.engine.detokenize([start])
        if spelled and text.startswith(spelled):
            ids.append(start)
            text = text[len(spelled) :]
        return [*ids, *(self.engine.tokenize(text) if text else ())]


def library() -> Any:
    """Return the engine's C library, with the functions declared that the binding of 0.18 leaves out."""
    import ctypes

    import litert_lm
    from litert_lm import _ffi

    lib = _ffi._get_lib()
    lib.litert_lm_get_last_error_message.restype = ctypes.c_char_p
    lib.litert_lm_get_last_error_message.argtypes = []
    lib.litert_lm_clear_last_error.restype = None
    lib.litert_lm_clear_last_error.argtypes = []
    lib.litert_lm_conversation_render_preface_to_string.restype = ctypes.c_char_p
    lib.litert_lm_conversation_render_preface_to_string.argtypes = [ctypes.c_void_p]
    litert_lm.set_min_log_severity(litert_lm.LogSeverity.ERROR)
    return lib


def _tool(api: Any, declaration: Mapping[str, Any]) -> Any:
    class Declared(api.Tool):  # type: ignore[misc]
        """A tool that is declared and never run."""

        def get_tool_description(self) -> dict[str, Any]:
            """Return the tool's declaration."""
            return dict(declaration)

        def execute(self, param: Any) -> None:
            """Fail, because tools are never run."""
            raise AssertionError("tools are declared only for the prompt; the engine is never told to run one")

    return Declared()


def greedy(job: Job, say: Say) -> list[list[int]]:
    """Return the ids of each reply to ``prompts`` of at most ``max_new`` tokens, through an identity bundle."""
    opened = _Engine(job)
    replies = []
    for index, (prompt, count) in enumerate(zip(job["prompts"], job["max_new"], strict=True)):
        say({"done": index, "what": f"prompt {index + 1} of {len(job['prompts'])}"})
        with opened.session(count) as session, opened.refusing():
            session.run_prefill([words_of(prompt)])
            replies.append(ids_of(session.run_decode().texts[0]))
    return replies


def conversations(job: Job, say: Say) -> dict[str, Any]:
    """Return how the engine renders ``chats`` and cuts ``texts``."""
    opened = _Engine(job, counting=True)
    rendered = []
    for index, chat in enumerate(job["chats"]):
        say({"done": index, "what": f"chat {index + 1} of {len(job['chats'])}"})
        rendered.append(_rendered_chat(opened, chat))
    with opened.refusing():
        texts = [list(opened.engine.tokenize(text)) for text in job["texts"]]
        back = [opened.engine.detokenize(ids) if ids else "" for ids in texts]
    return {"chats": rendered, "texts": [{"ids": ids, "text": text} for ids, text in zip(texts, back, strict=True)]}


def _rendered_chat(opened: _Engine, chat: Job) -> dict[str, Any]:
    reason = _inexpressible(chat)
    found: dict[str, Any] = {"text": None, "ids": None, "fed": None, "refused": "", "inexpressible": reason}
    if reason:
        return found
    *before, last = chat["messages"]
    try:
        if chat["add_generation_prompt"]:
            with opened.conversation(before, chat["tools"], chat["thinking"]) as conversation:
                found["text"] = opened.rendered(conversation, last)
                found["ids"] = opened.prompt_ids(found["text"])
                with opened.refusing():
                    conversation.send_message(last, max_output_tokens=1)
                    found["fed"] = conversation.get_benchmark_info().last_prefill_token_count
        else:
            with opened.conversation(chat["messages"], chat["tools"], chat["thinking"]) as conversation:
                found["text"] = opened.rendered(conversation, None)
                found["ids"] = opened.prompt_ids(found["text"])
    except Refused as error:
        found["refused"] = str(error)
    return found


def _inexpressible(chat: Job) -> str:
    """Why the engine's API can't express a chat; empty if it can."""
    if not chat["messages"]:
        return "a conversation of LiteRT-LM's begins with a message"
    for tool in chat["tools"]:
        if "name" not in tool.get("function", {}):
            return "LiteRT-LM takes tools only as {'function': {'name': ...}}"
    return ""


def reply(job: Job, say: Say) -> dict[str, Any]:
    """Return the assistant's reply to ``messages`` with ``tools``, as the engine parses it."""
    opened = _Engine(job)
    *before, last = job["messages"]
    with opened.conversation(before, job["tools"]) as conversation, opened.refusing():
        answer: dict[str, Any] = conversation.send_message(last, max_output_tokens=job["max_new"]).to_json()
    return answer


def bench(job: Job, say: Say) -> dict[str, Any]:
    """Return what ``prompts``, and ``generations`` after ``depth`` tokens, take, in ``runtimes.runs.Run``'s fields.

    The bundle never stops by itself (``id_tokenizer.write_without_stops``); a run that isn't counted comes first, to
    warm up. If there are neither prompts nor generations, the engine is opened, which writes its weight cache.
    """
    library()
    meter = MemoryMeter()
    began = time.perf_counter()
    opened = _Engine(job, counting=True)
    load = time.perf_counter() - began
    meter.look()
    prompts, generations, depth = job["prompts"], job["generations"], max(1, job["depth"])
    for prompt in prompts[:1]:
        _measured(opened, prompt, 0)
    if generations:
        _measured(opened, depth, min([WARM_STEPS, *generations]))
    prefill = [_measured(opened, prompt, 0)[0] for prompt in prompts]
    decode = [_measured(opened, depth, steps)[1] for steps in generations]
    written = sum(file.stat().st_size for file in Path(job["cache"]).rglob("*") if file.is_file())
    return {"load": load, "prefill": prefill, "decode": decode, **asdict(meter.use()), "written": written}


def _measured(opened: _Engine, tokens: int, steps: int) -> tuple[float, float]:
    """Seconds of a prompt of ``tokens`` tokens, and of ``steps`` tokens after it."""
    text = _text_of(opened, tokens)
    with opened.session(max(1, steps)) as session, opened.refusing():
        began = time.perf_counter()
        session.run_prefill([text])
        middle = time.perf_counter()
        if steps:
            session.run_decode()
        ended = time.perf_counter()
        info = session.get_benchmark_info()
    fed = info.last_prefill_token_count, info.last_decode_token_count if steps else 0
    if fed != (tokens, steps):
        raise Refused(f"it ran {fed[0]} and {fed[1]} tokens instead of {tokens} and {steps}")
    return middle - began, ended - middle


def _text_of(opened: _Engine, tokens: int) -> str:
    """A text that the bundle's tokenizer cuts into exactly ``tokens`` tokens."""
    for unit in _UNITS:
        low, high = 0, tokens + 1
        while low < high:
            middle = (low + high) // 2
            if len(opened.engine.tokenize(unit * middle)) < tokens:
                low = middle + 1
            else:
                high = middle
        if len(opened.engine.tokenize(unit * low)) == tokens:
            return unit * low
    raise Refused(f"its tokenizer cuts no repeated text into exactly {tokens} tokens")


TASKS: dict[str, Callable[[Job, Say], Any]] = {
    "greedy": greedy,
    "conversations": conversations,
    "reply": reply,
    "bench": bench,
}


def main() -> None:
    """Do the job on stdin."""
    job: Job = json.loads(sys.stdin.buffer.read())
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(message: dict[str, Any]) -> None:
        out.write(json.dumps(message) + "\n")
        out.flush()

    try:
        library()
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        say({"lacking": f"litert_lm can't be loaded: {error}"})
        return
    try:
        say({"result": TASKS[job["task"]](job, say)})
    except Refused as error:
        say({"refused": str(error)})


if __name__ == "__main__":
    main()
