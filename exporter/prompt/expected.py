"""What a prompt's answer must be, whichever model gives it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Literal

from .toolcalls import ReadCalls, ToolCall

Kind = Literal["text", "pattern", "json", "calls"]
_SHOWN = 80


@dataclass(frozen=True)
class Expected:
    """An expected answer.

    Attributes:
        kind: ``text``: the reply is the value, white space around it aside. ``pattern``: a regular expression (Python's
            ``re``) is found in it. ``json``: it is JSON of that value, perhaps within a Markdown fence. ``calls``: its
            tool calls are those, in that order.
        value: The text, the pattern, the JSON value, or a list of objects with ``name`` and ``arguments``.
    """

    kind: Kind
    value: Any

    def entry(self) -> dict[str, Any]:
        """Return it as a line of ``golden_prompts.jsonl`` and of the goldens has it."""
        return {self.kind: self.value}

    def longest(self) -> str:
        """Return a text that is about as long as the answer; empty for a pattern."""
        if self.kind == "pattern":
            return ""
        return str(self.value) if self.kind == "text" else json.dumps(self.value, ensure_ascii=False)

    def lacks(self, reply: str, read_calls: ReadCalls) -> str | None:
        """Return what is wrong with a reply; None if it is as expected.

        Args:
            reply: The reply without its stop token and its thoughts.
            read_calls: Reads tool calls in the model's own form.
        """
        if self.kind == "calls":
            return self._calls(reply, read_calls)
        wrong = f"{_short(reply)}, expected {_short(self.value)}"
        if self.kind == "text":
            return None if reply.strip() == self.value.strip() else wrong
        if self.kind == "pattern":
            return None if re.search(self.value, reply) else f"{_short(reply)} holds no {_short(self.value)}"
        try:
            found = json.loads(_unfenced(reply))
        except ValueError:
            return f"{_short(reply)} is not JSON"
        return None if _same(found, self.value) else wrong

    def _calls(self, reply: str, read_calls: ReadCalls) -> str | None:
        wanted = [ToolCall(call["name"], call["arguments"]) for call in self.value]
        said = ", ".join(map(str, wanted)) or "no tool call"
        try:
            found = read_calls(reply)
        except ValueError as error:
            return f"{error}; expected {said}"
        same = [one.name for one in found] == [one.name for one in wanted] and all(
            _same(a.arguments, b.arguments) for a, b in zip(found, wanted, strict=True)
        )
        return None if same else f"{', '.join(map(str, found)) or _short(reply)}, expected {said}"


def _same(a: Any, b: Any) -> bool:
    """Whether two JSON values are equal; true is not 1, but 1.0 is."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(a == b)


def _unfenced(reply: str) -> str:
    found = re.fullmatch(r"\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*", reply, re.DOTALL)
    return found[1] if found else reply


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "...")
