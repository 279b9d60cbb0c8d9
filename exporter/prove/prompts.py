"""The prompts that a bundle is proven with: its checkpoint's own, or those in ``prompts.toml``."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

from ..errors import CheckpointError, UsageError
from ..prompt.chats import Prompt, encode_prompt
from ..prompt.codec import ChatCodec, Codec, TemplateRefused

LEAST_PROMPTS = 24
LEAST_POSITIONS = 32
OWN_PROMPTS = "golden_prompts.jsonl"
_ROOM = LEAST_POSITIONS + 16
KINDS = ("tool", "result", "system", "thinking", "multi-turn")  # what a template may be able to do beside plain chats
_KEYS = {"id", "kind", "messages", "tools", "add_generation_prompt", "text", "thinking"}
_PROBE_NAME = "probe_tool_name"
_PROBE_TEXT = "Probe of the system turn 7351."
_PROBE_RESULT = "Probe of a result 2203."
_PROBE_TOOL = {
    "type": "function",
    "function": {
        "name": _PROBE_NAME,
        "description": "A probe.",
        "parameters": {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]},
    },
}


def _prompt(entry: Mapping[str, Any], where: str) -> Prompt:
    unknown = set(entry) - _KEYS
    if unknown:
        raise CheckpointError(
            f"{where}: unknown key {sorted(unknown)[0]!r}", hint="a prompt has these keys: " + ", ".join(sorted(_KEYS))
        )
    messages, tools, text = entry.get("messages", []), entry.get("tools") or [], entry.get("text", "")
    good = isinstance(entry.get("id"), str) and bool(entry["id"]) and isinstance(text, str)
    good = good and all(isinstance(m, dict) and "role" in m for m in messages) and bool(messages) != bool(text)
    if not good or not all(isinstance(tool, dict) for tool in tools):
        raise CheckpointError(
            f"{where}: a prompt needs an 'id' and either 'messages' (each with a 'role') or a 'text'",
            hint='write one JSON object a line: {"id": "alarm", "messages": [{"role": "user", "content": "..."}]}',
        )
    kind = "text" if text else "thinking" if entry.get("thinking") else "tool" if tools else "chat"
    return Prompt(
        id=entry["id"],
        kind=str(entry.get("kind", kind)),
        messages=tuple(dict(message) for message in messages),
        tools=tuple(dict(tool) for tool in tools),
        add_generation_prompt=bool(entry.get("add_generation_prompt", True)),
        text=text,
        thinking=bool(entry.get("thinking", False)),
    )


def _no_twins(prompts: Iterable[Prompt], where: str) -> list[Prompt]:
    seen: dict[str, Prompt] = {}
    for prompt in prompts:
        if prompt.id in seen:
            raise CheckpointError(f"{where}: two prompts have the id {prompt.id!r}", hint="give each its own id")
        seen[prompt.id] = prompt
    return list(seen.values())


def load_prompts(path: Path) -> list[Prompt]:
    """Read a checkpoint's own prompts: one JSON object a line, with the fields of ``Prompt``.

    Raises:
        CheckpointError: If a line can't be read; the message names it.
    """
    found = []
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # splitlines would cut at U+2028 too
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} can't be read: {error}", hint="give a UTF-8 file, one prompt a line") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{path.name}, line {number}"
        try:
            entry = json.loads(line)
        except ValueError as error:
            raise CheckpointError(f"{where}: not JSON: {error}", hint="write one JSON object a line") from error
        if not isinstance(entry, dict):
            raise CheckpointError(f"{where}: not a JSON object", hint="write one JSON object a line")
        found.append(_prompt(entry, where))
    return _no_twins(found, path.name)


def _data() -> dict[str, Any]:
    return tomllib.loads(resources.files(__package__).joinpath("prompts.toml").read_text(encoding="utf-8"))


def built_in_prompts() -> list[Prompt]:
    """Return the prompts of ``prompts.toml`` in their order, with the tools that they name filled in."""
    data = _data()
    tools = {entry["function"]["name"]: entry for entry in data["tool"]}
    found = []
    for entry in data["prompt"]:
        filled = {**entry, "tools": [tools[name] for name in entry.get("tools", [])]}
        found.append(_prompt(filled, f"prompts.toml, {entry.get('id')}"))
    return _no_twins(found, "prompts.toml")


def takes_system(codec: Codec) -> bool:
    """Return whether the template renders a system turn."""
    return _renders(codec, [{"role": "system", "content": _PROBE_TEXT}, {"role": "user", "content": "Hi"}], _PROBE_TEXT)


def takes_tools(codec: Codec) -> bool:
    """Return whether the template renders tool declarations: whether a tool's name comes out in its text."""
    return _renders(codec, [{"role": "user", "content": "Hi"}], _PROBE_NAME, [_PROBE_TOOL])


def takes_results(codec: Codec) -> bool:
    """Return whether the template renders declarations, a call that the model made, and its result."""
    function = {"name": _PROBE_NAME, "arguments": {"word": _PROBE_TEXT}}
    chat: list[dict[str, Any]] = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "tool_calls": [{"id": "probe0001", "type": "function", "function": function}]},
        {"role": "tool", "tool_call_id": "probe0001", "name": _PROBE_NAME, "content": _PROBE_RESULT},
    ]
    wanted = (_PROBE_TEXT, _PROBE_RESULT)
    return takes_tools(codec) and all(_renders(codec, chat, text, [_PROBE_TOOL]) for text in wanted)


def takes_turns(codec: Codec) -> bool:
    """Return whether the template renders what the model said before."""
    chat = [{"role": role, "content": _PROBE_TEXT if role == "assistant" else "Hi"} for role in ("user", "assistant")]
    return _renders(codec, [*chat, chat[0]], _PROBE_TEXT)


def takes_thinking(codec: Codec) -> bool:
    """Return whether the template's ``enable_thinking`` changes the text of a chat."""
    user = [{"role": "user", "content": "Hi"}]
    try:
        return codec.render(user, None, True, thinking=True) != codec.render(user, None, True)
    except TemplateRefused:
        return False


def takes_unthinking(codec: ChatCodec) -> bool:
    """Return whether ``enable_thinking=False`` changes the text of a chat: the model thinks by default."""
    user = [{"role": "user", "content": "Hi"}]
    try:
        return codec.render(user, None, True, unthinking=True) != codec.render(user, None, True)
    except TemplateRefused:
        return False


_TAKES = {
    "tool": takes_tools,
    "result": takes_results,
    "system": takes_system,
    "thinking": takes_thinking,
    "multi-turn": takes_turns,
}


def abilities(codec: Codec) -> frozenset[str]:
    """Return which of ``KINDS`` the template can do; none without a template."""
    return frozenset(kind for kind in KINDS if codec.has_template and _TAKES[kind](codec))


def needs(prompt: Prompt) -> frozenset[str]:
    """Return which of ``KINDS`` a prompt is an example of, whatever it is called."""
    roles = [message["role"] for message in prompt.messages]
    found = {
        "tool": bool(prompt.tools),
        "result": "tool" in roles,
        "system": "system" in roles,
        "thinking": prompt.thinking,
        "multi-turn": any(m["role"] == "assistant" and not m.get("tool_calls") for m in prompt.messages),
    }
    return frozenset(kind for kind, has in found.items() if has)


def _renders(
    codec: Codec, messages: list[dict[str, Any]], wanted: str, tools: list[dict[str, Any]] | None = None
) -> bool:
    try:
        return wanted in codec.render(messages, tools, True)
    except TemplateRefused:
        return False


def long_prompt(codec: Codec, window: int, context: int) -> Prompt | None:
    """Return a prompt that is longer than a sliding window, or None if the context has no room for it.

    It lists numbered notes, as many as it takes, and asks for one of them.
    """
    passage = _data()["passage"]
    lines = list(passage["lines"])
    count, wanted = 1, window + window // 8 + 8
    while True:
        notes = "\n".join(f"Note {n}: {lines[(n - 1) % len(lines)]}" for n in range(1, count + 1))
        text = f"{notes}\n\n{passage['question']}"
        prompt = Prompt("long", "long", ({"role": "user", "content": text},))
        if not codec.has_template:
            prompt = Prompt("long", "text", text=text)
        length = len(encode_prompt(codec, prompt)[1])
        if length + _ROOM > context:
            return None
        if length >= wanted:
            return prompt
        count += max(1, (wanted - length) * count // (length + 1))


def _as_text(prompt: Prompt) -> Prompt:
    """Return the last user turn of a chat as plain text, for base models."""
    return replace(prompt, kind="text", messages=(), tools=(), text=str(prompt.messages[-1]["content"]))


def _fits(codec: Codec, prompt: Prompt, context: int) -> bool:
    try:
        return len(encode_prompt(codec, prompt)[1]) + _ROOM <= context
    except TemplateRefused:
        return False


def choose_prompts(
    codec: Codec, window: int | None, context: int, own: Sequence[Prompt] = (), least: int = LEAST_PROMPTS
) -> list[Prompt]:
    """Return the prompts to prove a bundle with.

    The checkpoint's own come first, all that fit the context. Then come built-in ones: one of each kind that the
    template can do and no other prompt shows, if the context has room; one that is longer than the sliding window; and
    as many as there must be, those with tools, results, system turns, thinking and several turns before the plain ones.

    Args:
        codec: The model's template and tokenizer.
        window: Length of the sliding window in tokens; None if every layer sees everything.
        context: Length of the bundle's cache in tokens.
        own: The checkpoint's own prompts, from ``load_prompts``.
        least: How many there must be.

    Raises:
        TemplateRefused: If one of ``own`` can't be rendered.
        UsageError: If the context is too short for as many as are needed.
    """
    chosen = {p.id: p for p in own if len(encode_prompt(codec, p)[1]) + _ROOM <= context}
    if window is not None and not any(prompt.kind == "long" for prompt in chosen.values()):
        past = long_prompt(codec, window, context)
        if past is not None:
            chosen.setdefault(past.id, past)
    shown = frozenset[str]().union(*map(needs, chosen.values()))
    usable = [prompt for prompt in _usable(codec) if prompt.id not in chosen and _fits(codec, prompt, context)]
    for prompt in usable:
        if needs(prompt) - shown:
            chosen[prompt.id], shown = prompt, shown | needs(prompt)
    for prompt in usable:
        if len(chosen) >= least:
            break
        chosen.setdefault(prompt.id, prompt)
    if len(chosen) < least:
        raise UsageError(
            f"only {len(chosen)} of the {least} prompts that a proof needs fit a context of {context} tokens",
            hint="use a longer --context; 256 is enough for the built-in prompts",
        )
    return list(chosen.values())


def _usable(codec: Codec) -> list[Prompt]:
    """Return the built-in prompts that a template can take, the special ones first."""
    prompts = built_in_prompts()
    if not codec.has_template:
        return [_as_text(prompt) for prompt in prompts if not needs(prompt) & {"tool", "thinking"}]
    able = abilities(codec)
    usable = [prompt for prompt in prompts if needs(prompt) <= able]
    return sorted(usable, key=lambda prompt: prompt.kind == "chat")
