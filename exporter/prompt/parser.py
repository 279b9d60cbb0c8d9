"""Reading of tool calls in what a model wrote, with the ``call`` writer of ``prompt.json``."""

from __future__ import annotations

import json
import re
from typing import Any

from . import format as form
from .json_writer import SPACE, trim
from .segments import PromptRefused
from .thoughts import tell_thoughts
from .toolcalls import ReadCalls, ToolCall, parse_tool_calls

_NAME = re.compile(r"[\w.\-]+")
_NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?(?![\w.])", re.ASCII)
_DEEPEST = 64


class _Reader:
    """Recursive descent over the whole text, guided by a writer; ``at`` is how far it has come."""

    def __init__(self, text: str, writers: dict[str, form.Writer]) -> None:
        self.text = text
        self.at = 0
        self.writers = writers

    def fail(self, wanted: str) -> ValueError:
        found = repr(self.text[self.at : self.at + 20]) if self.at < len(self.text) else "the end"
        return ValueError(f"malformed tool call at character {self.at}: expected {wanted}, found {found}")

    def space(self) -> None:
        while self.at < len(self.text) and self.text[self.at] in SPACE:
            self.at += 1

    def take(self, literal: str) -> bool:
        """Return whether a literal comes next, white space aside; if so, go past it."""
        began = self.at
        for character in literal:
            if character in SPACE:
                continue
            self.space()
            if not self.text.startswith(character, self.at):
                self.at = began
                return False
            self.at += 1
        return True

    def expect(self, literal: str) -> None:
        if not self.take(literal):
            raise self.fail(repr(literal.strip(SPACE)))

    def value(self, writer: form.Writer, depth: int = 0) -> Any:
        if depth > _DEEPEST:
            raise self.fail(f"at most {_DEEPEST} levels of nesting")
        writer = self.resolved(writer)
        if isinstance(writer, form.StringWriter):
            return self.string(writer)
        if isinstance(writer, form.NumberWriter):
            return self.number(writer)
        if isinstance(writer, form.ListWriter):
            return self.items(writer, depth)
        if isinstance(writer, form.MapWriter):
            return self.members(writer, depth)
        if isinstance(writer, form.RecordWriter):
            return self.record(writer, depth)
        if isinstance(writer, form.AnyWriter):
            return self.any(writer, depth)
        raise self.fail("a value that can be read")

    def resolved(self, writer: Any) -> Any:
        """Return the writer that a reference names; any other writer, and None, as it is."""
        return self.writers[writer.name] if isinstance(writer, form.RefWriter) else writer

    def string(self, writer: form.StringWriter) -> str:
        if writer.open:
            self.space()
            if not self.text.startswith(writer.open, self.at):
                raise self.fail(repr(writer.open))
            self.at += len(writer.open)
        if not writer.close:
            found = _NAME.match(self.text, self.at)
            if found is None:
                raise self.fail("a name")
            self.at = found.end()
            return found.group()
        start = self.at
        while not self.text.startswith(writer.close, self.at):
            self.at += 2 if writer.escape == "json" and self.text.startswith("\\", self.at) else 1
            if self.at >= len(self.text):
                self.at = len(self.text)
                raise self.fail(f"text that ends with {writer.close}")
        inner, self.at = self.text[start : self.at], self.at + len(writer.close)
        if writer.escape == "none":
            return inner
        try:
            return str(json.loads(f'"{inner}"', strict=False))
        except ValueError as error:
            self.at = start
            raise self.fail("a JSON string") from error

    def number(self, writer: form.NumberWriter) -> int | float:
        self.expect(writer.open)
        self.space()
        found = _NUMBER.match(self.text, self.at)
        if found is None:
            raise self.fail("a number")
        self.at = found.end()
        self.expect(writer.close)
        return float(found.group()) if found[1] or found[2] else int(found.group())

    def items(self, writer: form.ListWriter, depth: int) -> list[Any]:
        self.expect(writer.open)
        found: list[Any] = []
        if self.take(writer.close):
            return found
        while True:
            found.append(self.value(writer.item, depth + 1))
            if self.take(writer.close):
                return found
            self.expect(writer.between)

    def members(self, writer: form.MapWriter, depth: int) -> dict[str, Any]:
        self.expect(writer.open)
        found: dict[str, Any] = {}
        if writer.close and self.take(writer.close):
            return found
        while True:
            start = self.at
            try:
                key = self.key(writer)
            except ValueError:
                if writer.close or found:
                    raise
                self.at = start
                return found
            if key in found:
                self.at = start
                raise self.fail(f"each argument once ({key!r} came before)")
            self.expect(writer.colon)
            found[key] = self.value(writer.by_key.get(key, writer.value), depth + 1)
            if writer.close and self.take(writer.close):
                return found
            if not self.take(writer.between):
                if not writer.close:
                    return found
                raise self.fail(f"{writer.between.strip(SPACE)!r} or {writer.close.strip(SPACE)!r}")

    def key(self, writer: form.MapWriter) -> str:
        self.space()
        quoted = self.quotes(writer.value)
        if not writer.key.open and quoted is not None and self.text.startswith(quoted.open, self.at):
            return self.string(quoted)
        return self.string(writer.key)

    def quotes(self, writer: form.Writer) -> form.StringWriter | None:
        writer = self.resolved(writer)
        found = writer.string if isinstance(writer, form.AnyWriter) else writer
        return found if isinstance(found, form.StringWriter) and found.open else None

    def record(self, writer: form.RecordWriter, depth: int) -> dict[str, Any]:
        self.expect(writer.open)
        found: dict[str, Any] = {}
        joined = False
        for field in writer.fields:
            began = self.at
            try:
                if field.joined and joined:
                    self.expect(writer.between)
                self.expect(field.before)
                found[field.key] = True if field.writer is None else self.value(field.writer, depth + 1)
                self.expect(field.after)
            except ValueError:
                if field.when in ("required", "always"):
                    raise
                found.pop(field.key, None)
                self.at = began
                continue
            joined = joined or field.joined
        self.expect(writer.close)
        return found

    def any(self, writer: form.AnyWriter, depth: int) -> Any:
        self.space()
        string = self.quotes(writer)
        if string is not None and self.text.startswith(string.open, self.at):
            return self.string(string)
        for word, value in ((writer.true, True), (writer.false, False), (writer.null, None), ("null", None)):
            if word and re.compile(re.escape(word) + r"(?!\w)").match(self.text, self.at):
                self.at += len(word)
                return value
        for inner in map(self.resolved, (writer.map, writer.list)):
            opened = getattr(inner, "open", "")
            began = self.at
            if opened and self.take(opened):
                self.at = began
                assert inner is not None
                return self.value(inner, depth)
        if writer.number is not None:
            return self.value(writer.number, depth)
        raise self.fail("a value")


def parse_calls(prompt: form.PromptFile, text: str) -> tuple[list[ToolCall], str]:
    """Return the tool calls in what a model wrote, and the words around them.

    Args:
        prompt: The compiled template.
        text: What the model wrote, without its stop token.

    Returns:
        The calls in order, none if there is no call's marker; the rest of the text, trimmed.

    Raises:
        ValueError: If a call is malformed; the message names the position in the text.
        PromptRefused: If the tools aren't compiled.
    """
    if prompt.tools is None:
        raise PromptRefused(f"tool calls can't be read: {prompt.reasons.tools}")
    reader = _Reader(text, prompt.tools.writers)
    found: list[ToolCall] = []
    words = ""
    while True:
        start = text.find(prompt.tools.marker, reader.at)
        words += text[reader.at : start if start >= 0 else len(text)]
        if start < 0:
            return found, trim(words, "both")
        reader.at = start
        call = reader.value(prompt.tools.call)
        found.append(ToolCall(call["name"], call.get("arguments", {})))


def call_reader(prompt: form.PromptFile | None) -> ReadCalls:
    """Return what reads the tool calls of a bundle's model; a call inside a thought doesn't count.

    Args:
        prompt: The compiled template. If its tools aren't compiled, or an older bundle has no ``prompt.json`` at
            all, Gemma 4's own form is read, which no other family's text is mistaken for.
    """
    if prompt is None or prompt.tools is None:
        return parse_tool_calls
    known = prompt
    return lambda text: parse_calls(known, tell_thoughts(known, text).words)[0]
