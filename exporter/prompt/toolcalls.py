"""Tool calls in generated text, in Gemma 4's form, for bundles that don't describe their own.

Calls of any family are read by ``prompt.parser.call_reader``, with what the chat template was compiled to.

The form, as the published chat templates of Gemma 4 write it::

    text     = { anything | "<|tool_call>" call "<tool_call|>" }
    call     = "call:" NAME object
    object   = "{" [ key ":" value { "," key ":" value } ] "}"
    list     = "[" [ value { "," value } ] "]"
    value    = string | object | list | number | "true" | "false" | "null"
    string   = '<|"|>' anything '<|"|>'

White space may stand around any part, but not inside names and numbers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

OPEN = "<|tool_call>"
CLOSE = "<tool_call|>"
QUOTE = '<|"|>'
_NAME = re.compile(r"[A-Za-z_][\w.\-]*")
_KEY = re.compile(r"[\w.\-]+")
_NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?(?![\w.])")
_WORD = re.compile(r"(true|false|null|None)(?!\w)")
_WORDS: dict[str, bool | None] = {"true": True, "false": False, "null": None, "None": None}
_DEEPEST = 64


@dataclass(frozen=True)
class ToolCall:
    """One call.

    Attributes:
        name: The tool's name.
        arguments: The arguments by name: str, int, float, bool, None, lists and dicts.
    """

    name: str
    arguments: dict[str, Any]

    def __str__(self) -> str:
        """As a function call is written: ``set_alarm(time="06:30", days=["Monday"])``."""
        named = (f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in self.arguments.items())
        return f"{self.name}({', '.join(named)})"


ReadCalls = Callable[[str], list[ToolCall]]
"""All tool calls in a text, in order. Raises ValueError if one is malformed."""


class _Parser:
    """Recursive descent over the whole text, so that errors name positions in it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def fail(self, wanted: str) -> ValueError:
        found = repr(self.text[self.at : self.at + 20]) if self.at < len(self.text) else "the end"
        return ValueError(f"malformed tool call at character {self.at}: expected {wanted}, found {found}")

    def space(self) -> None:
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1

    def take(self, token: str) -> bool:
        self.space()
        if not self.text.startswith(token, self.at):
            return False
        self.at += len(token)
        return True

    def expect(self, token: str) -> None:
        if not self.take(token):
            raise self.fail(repr(token))

    def match(self, pattern: re.Pattern[str]) -> str | None:
        self.space()
        found = pattern.match(self.text, self.at)
        if found is None:
            return None
        self.at = found.end()
        return found.group()

    def calls(self) -> list[ToolCall]:
        found: list[ToolCall] = []
        while True:
            opened, closed = self.text.find(OPEN, self.at), self.text.find(CLOSE, self.at)
            if closed >= 0 and (opened < 0 or closed < opened):
                self.at = closed
                raise self.fail(f"{OPEN} before {CLOSE}")
            if opened < 0:
                return found
            self.at = opened + len(OPEN)
            found.append(self.call())
            self.expect(CLOSE)

    def call(self) -> ToolCall:
        self.expect("call:")
        name = self.match(_NAME)
        if name is None:
            raise self.fail("a tool's name")
        self.expect("{")
        return ToolCall(name, self.members(1))

    def value(self, depth: int) -> Any:
        if depth > _DEEPEST:
            raise self.fail(f"at most {_DEEPEST} levels of nesting")
        if self.take(QUOTE):
            return self.string()
        if self.take("{"):
            return self.members(depth + 1)
        if self.take("["):
            return self.elements(depth + 1)
        word = self.match(_WORD)
        if word is not None:
            return _WORDS[word]
        number = self.match(_NUMBER)
        if number is None:
            raise self.fail("a value")
        return int(number) if number.lstrip("-").isdigit() else float(number)

    def string(self) -> str:
        end = self.text.find(QUOTE, self.at)
        if end < 0:
            raise self.fail(f"text that ends with {QUOTE}")
        text, self.at = self.text[self.at : end], end + len(QUOTE)
        return text

    def members(self, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self.take("}"):
            return found
        while True:
            start = self.at
            key = self.string() if self.take(QUOTE) else self.match(_KEY)
            if key is None:
                raise self.fail("an argument's name")
            if key in found:
                self.at = start
                raise self.fail(f"each argument once ({key!r} came before)")
            self.expect(":")
            found[key] = self.value(depth)
            if self.take("}"):
                return found
            self.expect(",")

    def elements(self, depth: int) -> list[Any]:
        found: list[Any] = []
        if self.take("]"):
            return found
        while True:
            found.append(self.value(depth))
            if self.take("]"):
                return found
            self.expect(",")


def parse_tool_calls(text: str) -> list[ToolCall]:
    """Return all tool calls in a text, in order; the words around them are left out.

    Returns:
        The calls; an empty list if the text holds none.

    Raises:
        ValueError: If a call is malformed; the message names the position in the text.
    """
    return _Parser(text).calls()


def words_around(text: str) -> str:
    """Return a text without its tool calls, which must be well-formed."""
    return re.sub(f"{re.escape(OPEN)}.*?{re.escape(CLOSE)}", "", text, flags=re.DOTALL).strip()


def holds_tool_calls(text: str, read: ReadCalls = parse_tool_calls) -> bool:
    """Return whether a text has at least one well-formed tool call and no malformed one."""
    try:
        return bool(read(text))
    except ValueError:
        return False
