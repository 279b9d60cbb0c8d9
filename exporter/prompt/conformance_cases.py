"""``python -m gemcut.prompt.conformance_cases BUNDLE > cases.jsonl``: chats with the text that each must give.

It writes one JSON object a line: ``messages``, ``tools``, ``generation``, ``thinking`` and ``text``. The text is what
``prompt.json`` makes of them, which is the template's own text, or null if the chat must be refused. Lines with
``reply`` instead of messages hold what a model could write, with ``calls`` and ``words`` as they must be read, or with
``calls`` null if the reply is malformed. Other implementations of docs/concepts/prompt.md are tested with these cases.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import GemcutError, UsageError
from .format import PROMPT_FILE, PromptFile, read_prompt
from .json_writer import write
from .parser import parse_calls
from .renderer import render_prompt
from .sample_chats import GeneratedChat, Level, generate_chats
from .segments import PromptRefused

COUNT = 200


def _render(prompt: PromptFile, chat: GeneratedChat) -> str | None:
    try:
        return render_prompt(prompt, chat.messages, chat.tools, chat.add_generation_prompt, chat.thinking)
    except PromptRefused:
        return None


def _replies(prompt: PromptFile, messages: Sequence[Any]) -> Iterator[str]:
    """Yield replies with calls: whole, between words, in wider white space, and cut short."""
    assert prompt.tools is not None
    for message in messages:
        calls = [entry["function"] for entry in message.get("tool_calls", ())]
        try:
            parts = [write(prompt.tools.call, call, prompt.tools.writers) for call in calls]
        except PromptRefused:
            continue
        if parts:
            text = prompt.tools.between_calls.join(parts)
            yield text
            yield f"Well. {text}\nDone. "
            yield text[: len(text) // 2]
            yield text[:-1]


def _read(prompt: PromptFile, reply: str) -> dict[str, Any]:
    try:
        calls, words = parse_calls(prompt, reply)
    except ValueError:
        return {"reply": reply, "calls": None, "words": None}
    named = [{"name": call.name, "arguments": call.arguments} for call in calls]
    return {"reply": reply, "calls": named, "words": words}


def cases(prompt: PromptFile, count: int = COUNT, seed: int = 1) -> Iterator[dict[str, Any]]:
    """Yield the cases of a prompt file, the same for the same arguments."""
    levels: tuple[Level, ...] = ("chat", "tools")
    for level in levels:
        for number, chat in enumerate(generate_chats(count, seed, level)):
            if number % 3 == 2 and prompt.thinking is not None:
                chat = replace(chat, thinking=True)
            yield {
                "messages": chat.messages,
                "tools": chat.tools,
                "generation": chat.add_generation_prompt,
                "thinking": chat.thinking,
                "text": _render(prompt, chat),
            }
            if prompt.tools is not None:
                yield from (_read(prompt, reply) for reply in _replies(prompt, chat.messages))


def compile_bundle(path: Path) -> PromptFile:
    """Return a bundle's ``prompt.json``, or what it would be if an older Gemcut made the bundle.

    Raises:
        GemcutError: If the bundle can't be read.
    """
    from ..bundle.reader import open_bundle
    from .codec import load_codec
    from .verification import make_prompt

    bundle = open_bundle(path)
    if PROMPT_FILE in bundle.manifest.files:
        return read_prompt(bundle.read(PROMPT_FILE), f"{path}: {PROMPT_FILE}")
    manifest = bundle.manifest
    template = bundle.read("chat_template.jinja").decode() if "chat_template.jinja" in manifest.files else None
    codec = load_codec(bundle.file("tokenizer.json"), template, manifest.special_tokens, bos_id=manifest.bos_id)
    return make_prompt(codec, manifest.stop_ids, ())[0]


def main(arguments: Sequence[str]) -> int:
    """Write the cases of a bundle, or of a prompt.json itself, to stdout; return the exit code."""
    try:
        if len(arguments) != 1:
            usage = "python -m gemcut.prompt.conformance_cases BUNDLE > cases.jsonl"
            raise UsageError(f"expected one bundle, got {len(arguments)} arguments", hint=f"run {usage}")
        path = Path(arguments[0])
        prompt = read_prompt(path.read_bytes(), str(path)) if path.name.endswith(".json") else compile_bundle(path)
    except GemcutError as error:
        print(f"error: {error.message}" + (f"\n{error.hint}" if error.hint else ""), file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"error: {arguments[0]} can't be read: {error.strerror}", file=sys.stderr)
        return UsageError.exit_code
    for case in cases(prompt):
        sys.stdout.write(json.dumps(case) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
