"""Read Gemma-style tool calls out of generated text. Pure Python, no torch.

The form is ``<|tool_call>call:NAME{key:<|"|>text<|"|>,n:3,on:true}<tool_call|>``; several calls may
follow each other, and text outside the markers is ignored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

CALL_OPEN = "<|tool_call>"
CALL_CLOSE = "<tool_call|>"
QUOTE = '<|"|>'
_BARE_END = ",]}"


@dataclass(frozen=True)
class ToolCall:
    """One call: the tool's name and its arguments by name."""

    name: str
    arguments: dict[str, Any]


class _Reader:
    """A cursor over one call's text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def fail(self, wanted: str) -> ValueError:
        """The error for something unexpected at the cursor."""
        found = self.text[self.at : self.at + 20] or "the end"
        return ValueError(f"malformed tool call: wanted {wanted} at character {self.at}, found {found!r}")

    def take(self, token: str) -> bool:
        """Step over `token` if it is next."""
        if self.text.startswith(token, self.at):
            self.at += len(token)
            return True
        return False

    def expect(self, token: str) -> None:
        """Step over `token` or fail."""
        if not self.take(token):
            raise self.fail(repr(token))

    def until(self, stops: str, what: str) -> str:
        """The text up to the next of the characters `stops`, which must not be empty."""
        start = self.at
        while self.at < len(self.text) and self.text[self.at] not in stops:
            self.at += 1
        word = self.text[start : self.at].strip()
        if not word or self.at == len(self.text):
            self.at = start
            raise self.fail(what)
        return word

    def value(self) -> Any:
        """A string, an object, a list or a bare scalar."""
        if self.take(QUOTE):
            end = self.text.find(QUOTE, self.at)
            if end < 0:
                raise self.fail(f"a closing {QUOTE}")
            text, self.at = self.text[self.at : end], end + len(QUOTE)
            return text
        if self.take("{"):
            return self.members()
        if self.take("["):
            return self.elements()
        return _scalar(self.until(_BARE_END, "a value"))

    def members(self) -> dict[str, Any]:
        """The members of an object whose ``{`` has been read."""
        found: dict[str, Any] = {}
        if self.take("}"):
            return found
        while True:
            quoted = self.text.startswith(QUOTE, self.at)
            key = str(self.value()) if quoted else self.until(":", "an argument name")
            self.expect(":")
            if key in found:
                raise ValueError(f"malformed tool call: argument {key!r} is given twice")
            found[key] = self.value()
            if self.take("}"):
                return found
            self.expect(",")

    def elements(self) -> list[Any]:
        """The elements of a list whose ``[`` has been read."""
        found: list[Any] = []
        if self.take("]"):
            return found
        while True:
            found.append(self.value())
            if self.take("]"):
                return found
            self.expect(",")


def _scalar(word: str) -> Any:
    """A bare word as true, false, null or a number."""
    if word in ("true", "false"):
        return word == "true"
    if word in ("null", "None"):
        return None
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    raise ValueError(f"malformed tool call: {word!r} is neither quoted nor a number, true, false or null")


def parse_one(body: str) -> ToolCall:
    """Parse what stands between the call markers, ``call:NAME{...}``."""
    reader = _Reader(body.strip())
    reader.expect("call:")
    name = reader.until("{", "a tool name")
    if not name.replace("_", "").replace("-", "").replace(".", "").isalnum():
        raise ValueError(f"malformed tool call: {name!r} is not a tool name")
    reader.expect("{")
    arguments = reader.members()
    if reader.at != len(reader.text):
        raise reader.fail("the end of the call")
    return ToolCall(name, arguments)


def parse_tool_calls(text: str) -> list[ToolCall]:
    """All calls in `text`, in order; an empty list when there are none.

    Raises ValueError, saying what is wrong, when a call is opened but not well formed.
    """
    calls: list[ToolCall] = []
    rest = text
    while CALL_OPEN in rest:
        _, _, rest = rest.partition(CALL_OPEN)
        body, closed, rest = rest.partition(CALL_CLOSE)
        if not closed:
            raise ValueError(f"malformed tool call: {CALL_OPEN} without {CALL_CLOSE}")
        calls.append(parse_one(body))
    if CALL_CLOSE in rest:
        raise ValueError(f"malformed tool call: {CALL_CLOSE} without {CALL_OPEN}")
    return calls


def format_value(value: Any) -> str:
    """Write one argument as the chat template does."""
    if isinstance(value, str):
        return f"{QUOTE}{value}{QUOTE}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, dict):
        inner = ",".join(f"{key}:{format_value(value[key])}" for key in sorted(value))
        return "{" + inner + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(format_value(item) for item in value) + "]"
    return str(value)


def format_tool_call(call: ToolCall) -> str:
    """Write one call with its markers, arguments in alphabetical order."""
    return f"{CALL_OPEN}call:{call.name}{format_value(call.arguments)}{CALL_CLOSE}"
