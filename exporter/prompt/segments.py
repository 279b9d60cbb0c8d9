"""The segments of a chat, as docs/concepts/prompt.md calls its parts, made from its messages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import UsageError

Message = Mapping[str, Any]
_MEMBERS = {
    "system": {"role", "content"},
    "user": {"role", "content"},
    "assistant": {"role", "content", "tool_calls"},
    "tool": {"role", "content", "name", "tool_call_id"},
}


class PromptRefused(UsageError):
    """``prompt.json`` can't render this chat: the template refuses it, or what it does with it isn't explained."""


@dataclass(frozen=True)
class Segment:
    """One part of a chat.

    Attributes:
        kind: system, tools, user, assistant, call, words or result.
        value: A text; for call a list of ``{"name", "arguments"}``, for result ``{"name", "content"}``, for tools the
            declarations.
    """

    kind: str
    value: Any


def _present(mapping: Message) -> dict[str, Any]:
    return {key: value for key, value in mapping.items() if value is not None}


def _text(message: Message, role: str, at: int) -> str:
    content = message.get("content")
    if not isinstance(content, str):
        given = "is missing" if content is None else f"is {type(content).__name__}, not text"
        raise PromptRefused(f"message {at} ({role}): its content {given}", hint="give the content as one string")
    return content


def _call(entry: Any, at: int) -> dict[str, Any]:
    function = entry.get("function") if isinstance(entry, Mapping) else None
    if not isinstance(function, Mapping):
        raise PromptRefused(f"message {at}: a tool call has no 'function'")
    name, arguments = function.get("name"), function.get("arguments")
    if not isinstance(name, str) or not isinstance(arguments, Mapping):
        raise PromptRefused(
            f"message {at}: a tool call needs a 'name' and 'arguments'",
            hint="give the arguments as an object, not as JSON in a string",
        )
    unknown = set(_present(entry)) - {"id", "type", "function"} | set(_present(function)) - {"name", "arguments"}
    if unknown:
        raise PromptRefused(f"message {at}: a tool call can't carry '{min(unknown)}'")
    return {"name": name, "arguments": arguments}


def _result(message: Message, at: int, index: int, calls: Sequence[Message]) -> Segment:
    if index >= len(calls):
        raise PromptRefused(
            f"message {at} (tool) doesn't belong to any call", hint="put results after the message with their calls"
        )
    given = message.get("tool_call_id")
    if given is None:
        call = calls[index]
    else:
        found = [call for call in calls if call.get("id") == given]
        if not found:
            raise PromptRefused(f"message {at} (tool): there is no call with the id '{given}'")
        call = found[0]
    name = call["function"]["name"]
    if message.get("name") not in (None, name):
        raise PromptRefused(f"message {at} (tool) is from '{message['name']}', but its call is to '{name}'")
    return Segment("result", {"name": name, "content": message.get("content")})


def _checked(messages: Sequence[Message]) -> list[dict[str, Any]]:
    found = []
    for at, message in enumerate(messages):
        role = message.get("role")
        if not isinstance(role, str) or role not in _MEMBERS:
            raise PromptRefused(
                f"message {at} has the unknown role '{role}'", hint="use one of system, user, assistant, tool"
            )
        if role == "system" and at:
            raise PromptRefused(f"message {at} (system): only the first message can be a system message")
        plain = dict(message) if role == "tool" else _present(message)
        unknown = set(_present(plain)) - _MEMBERS[role]
        if unknown:
            raise PromptRefused(f"message {at} ({role}) can't carry '{min(unknown)}'")
        found.append(plain)
    if not found:
        raise PromptRefused("there are no messages")
    return found


def segments(
    messages: Sequence[Message], tools: Sequence[Message], place: str, order: Sequence[str]
) -> Iterator[Segment]:
    """Yield the segments of a chat before their texts are trimmed and dropped.

    Args:
        messages: The chat, in OpenAI's form.
        tools: The tool declarations.
        place: ``Tools.place``.
        order: ``Tools.order``.

    Raises:
        PromptRefused: If the format doesn't know such messages.
    """
    rest = _checked(messages)
    head = [Segment("tools", list(tools))] if tools else []
    if rest[0]["role"] == "system":
        system = Segment("system", _text(rest[0], "system", 0))
        head = [*head, system] if place == "before-system" else [system, *head]
    yield from head
    at = 1 if rest[0]["role"] == "system" else 0
    while at < len(rest):
        message, role = rest[at], rest[at]["role"]
        at += 1
        if role == "tool":
            _result(message, at - 1, 0, ())
        if not message.get("tool_calls"):
            yield Segment(role, _text(message, role, at - 1))
            continue
        parts: dict[str, list[Segment]] = {"words": [], "result": []}
        calls = message["tool_calls"]
        parts["call"] = [Segment("call", [_call(entry, at - 1) for entry in calls])]
        if message.get("content") is not None:
            parts["words"].append(Segment("words", _text(message, role, at - 1)))
        while at < len(rest) and rest[at]["role"] == "tool":
            parts["result"].append(_result(rest[at], at, len(parts["result"]), calls))
            at += 1
        for kind in order if "result" in order else (*order, "result"):
            yield from parts[kind]
