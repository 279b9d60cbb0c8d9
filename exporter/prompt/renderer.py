"""Rendering of chats from ``prompt.json`` alone, without Jinja: the twin of the Java that apps carry."""

from __future__ import annotations

from collections.abc import Sequence

from .format import Body, Chat, PromptFile, Tools
from .json_writer import trim, write
from .segments import Message, PromptRefused, Segment, segments

__all__ = ["PromptRefused", "body_text", "render_prompt", "without_thoughts"]
_NAMES = {
    "start": "the start",
    "tools": "tool declarations",
    "user": "a user's message",
    "assistant": "an assistant's message",
    "system": "a system message",
    "call": "tool calls",
    "words": "text beside tool calls",
    "result": "a tool's result",
    "generation": "the model's answer",
    "end": "the end",
}


def body_text(body: Body, text: str, before: str) -> str:
    """Return a text as it is written after a segment of the kind ``before``: channels taken out, then trimmed."""
    for channel in body.remove:
        text = "".join(piece.split(channel.open)[0] for piece in text.split(channel.close))
    return trim(text, body.after.get(before, body.trim))  # type: ignore[call-overload]


def without_thoughts(prompt: PromptFile, text: str) -> str:
    """Return what the model wrote without its thoughts, which are what the template takes out of earlier answers."""
    body = None if prompt.chat is None else (prompt.thinking or prompt.chat).bodies.get("assistant")
    return text if body is None else body_text(body.model_copy(update={"trim": "none", "after": {}}), text, "start")


def render_prompt(
    prompt: PromptFile,
    messages: Sequence[Message],
    tools: Sequence[Message] | None = None,
    add_generation_prompt: bool = True,
    thinking: bool = False,
) -> str:
    """Return the text of a chat, as the template gives it.

    Args:
        prompt: The compiled template.
        messages: The chat in OpenAI's form; docs/concepts/prompt.md lists the members.
        tools: Declarations, ``{"type": "function", "function": {...}}``.
        add_generation_prompt: Whether the model is to answer.
        thinking: Whether it is to think before it answers.

    Raises:
        PromptRefused: If the template refuses this chat, or ``prompt.json`` can't say what it does with it.
    """
    chat = _chat_part(prompt, thinking)
    known = prompt.tools
    place, order = (known.place, known.order) if known else ("before-system", ("words", "call"))
    text, before = "", "start"
    for segment in segments(messages, tools or (), place, order):
        inner = _segment_text(prompt, chat, segment, before)
        if inner is None:
            continue
        text += _joint(chat, before, segment.kind) + inner
        before = segment.kind
    return text + _joint(chat, before, "generation" if add_generation_prompt else "end")


def _chat_part(prompt: PromptFile, thinking: bool) -> Chat:
    if prompt.chat is None:
        raise PromptRefused(f"the chat template isn't compiled: {prompt.reasons.chat}")
    if not thinking:
        return prompt.chat
    if prompt.thinking is None:
        why = prompt.reasons.thinking or "an older Gemcut made it"
        raise PromptRefused(f"prompt.json can't turn on thinking: {why}", hint="ask without thinking")
    return prompt.thinking


def _joint(chat: Chat, before: str, after: str) -> str:
    found = chat.joints.get(before, {}).get(after)  # type: ignore[call-overload]
    if found is None:
        raise PromptRefused(f"the chat template doesn't take {_NAMES[after]} after {_NAMES[before]}")
    return str(found)


def _segment_text(prompt: PromptFile, chat: Chat, segment: Segment, before: str) -> str | None:
    """Return the text of a segment; None if it is dropped."""
    if segment.kind in ("tools", "call", "words", "result") and prompt.tools is None:
        raise PromptRefused(
            f"{_NAMES[segment.kind]} can't be written: {prompt.reasons.tools}", hint="use this model without tools"
        )
    if segment.kind in ("tools", "call", "result"):
        assert prompt.tools is not None
        return _tool_text(prompt.tools, segment)
    body = chat.bodies.get(segment.kind)  # type: ignore[call-overload]
    if body is None:
        hint = "put its text at the start of the first user message" if segment.kind == "system" else None
        raise PromptRefused(f"the chat template doesn't take {_NAMES[segment.kind]}", hint=hint)
    text = body_text(body, segment.value, before)
    if not text and body.empty == "refuse":
        raise PromptRefused(f"{_NAMES[segment.kind]} is empty, and what the template does then isn't compiled")
    return None if not text and body.empty == "drop" else text


def _tool_text(tools: Tools, segment: Segment) -> str:
    if segment.kind == "tools":
        declarations = [write(tools.declaration, tool, tools.writers) for tool in segment.value]
        return tools.between_declarations.join(declarations)
    if segment.kind == "call":
        return tools.between_calls.join(write(tools.call, call, tools.writers) for call in segment.value)
    return write(tools.result, segment.value, tools.writers)
