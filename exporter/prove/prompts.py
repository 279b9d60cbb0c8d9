"""The prompts that a bundle is proven with: its checkpoint's own, or those in ``prompts.toml``."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import resources
from typing import Any, Literal

from ..errors import UsageError
from ..prompt.chats import Prompt, encode_prompt
from ..prompt.codec import ChatCodec, Codec, TemplateRefused
from .prompt_file import no_twins, read_prompt

BuiltIn = Literal["all", "english", "none"]
LEAST_PROMPTS = 24
LEAST_POSITIONS = 32
_ROOM = LEAST_POSITIONS + 16
_MARKS = 16  # tokens of an answer beside its text: what calls stand in, and the stop
KINDS = ("tool", "result", "system", "thinking", "multi-turn")  # what a template may be able to do beside plain chats
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


def _data() -> dict[str, Any]:
    return tomllib.loads(resources.files(__package__).joinpath("prompts.toml").read_text(encoding="utf-8"))


def built_in_prompts(which: BuiltIn = "all") -> list[Prompt]:
    """Return prompts of ``prompts.toml`` in their order, with the tools that they name filled in.

    Args:
        which: All of them, those in English, or none.
    """
    data = _data()
    tools = {entry["function"]["name"]: entry for entry in data["tool"]}
    found = []
    for entry in data["prompt"] if which != "none" else ():
        language = entry.pop("language", "en")
        if which == "english" and language != "en":
            continue
        filled = {**entry, "tools": [tools[name] for name in entry.get("tools", [])]}
        found.append(read_prompt(filled, f"prompts.toml, {entry.get('id')}"))
    return no_twins(found, "prompts.toml")


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
    codec: Codec,
    window: int | None,
    context: int,
    own: Sequence[Prompt] = (),
    least: int = LEAST_PROMPTS,
    built_in: BuiltIn = "all",
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
        built_in: Which built-in ones may be taken. The one that is longer than the window is taken in any case.

    Raises:
        TemplateRefused: If one of ``own`` can't be rendered.
        UsageError: If the context is too short for as many as are needed.
    """
    lengths = {prompt.id: len(encode_prompt(codec, prompt)[1]) for prompt in own}
    chosen = {prompt.id: prompt for prompt in own if lengths[prompt.id] + _ROOM <= context}
    _refuse_long(codec, own, chosen, lengths, context)
    shows_it = built_in == "none" and window is not None and any(lengths[name] > window for name in chosen)
    if window is not None and not shows_it and not any(prompt.kind == "long" for prompt in chosen.values()):
        past = long_prompt(codec, window, context)
        if past is not None:
            chosen.setdefault(past.id, past)
    shown = frozenset[str]().union(*map(needs, chosen.values()))
    others = (prompt for prompt in _usable(codec, built_in) if prompt.id not in chosen)
    usable = [prompt for prompt in others if _fits(codec, prompt, context)]
    for prompt in usable:
        if needs(prompt) - shown:
            chosen[prompt.id], shown = prompt, shown | needs(prompt)
    for prompt in usable:
        if len(chosen) >= least:
            break
        chosen.setdefault(prompt.id, prompt)
    if len(chosen) < least:
        more = "use a longer --context; 256 is enough for the built-in prompts"
        if built_in != "all":
            lacking = least - len(chosen)
            more = f"add {lacking} to golden_prompts.jsonl, allow more of --built-in-prompts, or use a longer --context"
        raise UsageError(
            f"a proof needs {least} prompts, and only {len(chosen)} are there and fit a context of {context} tokens",
            hint=more,
        )
    return list(chosen.values())


def _refuse_long(
    codec: Codec, own: Sequence[Prompt], chosen: Mapping[str, Prompt], lengths: Mapping[str, int], context: int
) -> None:
    """Refuse an expected answer that would never be looked at, or could never be given."""
    for prompt in own:
        if prompt.expected is None:
            continue
        room = max(_ROOM, len(codec.encode(prompt.expected.longest())) + _MARKS)
        if prompt.id not in chosen or lengths[prompt.id] + room > context:
            raise UsageError(
                f"the prompt {prompt.id!r} has an expected answer and {lengths[prompt.id]} tokens, and a context of "
                f"{context} has no room for it and a reply of {room}",
                hint=f"use --context {lengths[prompt.id] + room} or more, or a shorter prompt",
            )


def _usable(codec: Codec, built_in: BuiltIn) -> list[Prompt]:
    """Return the built-in prompts that a template can take, the special ones first."""
    prompts = built_in_prompts(built_in)
    if not codec.has_template:
        return [_as_text(prompt) for prompt in prompts if not needs(prompt) & {"tool", "thinking"}]
    able = abilities(codec)
    usable = [prompt for prompt in prompts if needs(prompt) <= able]
    return sorted(usable, key=lambda prompt: prompt.kind == "chat")
