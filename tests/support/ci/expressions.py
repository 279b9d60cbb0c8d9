"""The expressions of GitHub's workflow files, as far as ours use them; anything else fails.

Grammar and meaning: GitHub's "Evaluate expressions in workflows and actions". Strings in single quotes, ``==`` and
``!=`` (strings without regard to case), ``!``, ``&&``, ``||``, parentheses, names with dots, and status functions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

_TOKEN = re.compile(r"\s*(?:(?P<string>'(?:[^']|'')*')|(?P<sign>==|!=|&&|\|\||[!()])|(?P<name>[A-Za-z_][\w.-]*))")
_HOLE = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
STATUS = ("always", "success", "failure", "cancelled")


class UnknownExpression(Exception):
    """Something that this grammar, or this context, hasn't."""


class _Reader:
    def __init__(self, text: str, contexts: Mapping[str, Any], functions: Mapping[str, Callable[[], bool]]) -> None:
        self.text, self.contexts, self.functions = text, contexts, functions
        self.tokens: list[tuple[str, str]] = []
        at = 0
        while text[at:].strip():
            match = _TOKEN.match(text, at)
            if match is None:
                raise UnknownExpression(f"{text!r} at character {at}")
            self.tokens.append((str(match.lastgroup), match[str(match.lastgroup)]))
            at = match.end()

    def next(self, *signs: str) -> str | None:
        if self.tokens and self.tokens[0][0] == "sign" and self.tokens[0][1] in signs:
            return self.tokens.pop(0)[1]
        return None

    def value(self) -> Any:
        found = self.either()
        if self.tokens:
            raise UnknownExpression(f"{self.text!r}: {self.tokens[0][1]!r} is left over")
        return found

    def either(self) -> Any:
        found = self.both()
        while self.next("||"):
            other = self.both()
            found = found if _true(found) else other
        return found

    def both(self) -> Any:
        found = self.compared()
        while self.next("&&"):
            other = self.compared()
            found = other if _true(found) else found
        return found

    def compared(self) -> Any:
        found = self.single()
        if sign := self.next("==", "!="):
            same = str(found).lower() == str(self.single()).lower()
            return same if sign == "==" else not same
        return found

    def single(self) -> Any:
        if self.next("!"):
            return not _true(self.single())
        if self.next("("):
            found = self.either()
            if not self.next(")"):
                raise UnknownExpression(f"{self.text!r}: a parenthesis is open")
            return found
        kind, text = self.tokens.pop(0) if self.tokens else ("end", "")
        if kind == "string":
            return text[1:-1].replace("''", "'")
        if kind != "name":
            raise UnknownExpression(f"{self.text!r}: {text!r}")
        if self.next("("):
            if text not in self.functions or not self.next(")"):
                raise UnknownExpression(f"{self.text!r}: function {text!r}")
            return self.functions[text]()
        return self.look_up(text)

    def look_up(self, name: str) -> Any:
        """Outputs that no step wrote are empty; a context, an input or a step that isn't there is a mistake of ours."""
        first, *rest = name.split(".")
        if first not in self.contexts:
            raise UnknownExpression(f"{self.text!r}: there is no {first!r} here")
        found: Any = self.contexts[first]
        for part in rest:
            if part not in found and isinstance(found, Outputs):
                return ""
            if part not in found:
                raise UnknownExpression(f"{self.text!r}: {name!r} has no {part!r}")
            found = found[part]
        return found


class Outputs(dict[str, str]):
    """What a step wrote to ``GITHUB_OUTPUT``, or may write: one that isn't there is empty."""


def _true(value: Any) -> bool:
    return value not in ("", False, None)


def evaluate(text: str, contexts: Mapping[str, Any], functions: Mapping[str, Callable[[], bool]]) -> Any:
    """The value of one expression, without its braces.

    Raises:
        UnknownExpression: The grammar, or the contexts, haven't that.
    """
    return _Reader(text, contexts, functions).value()


def condition(text: str | None, contexts: Mapping[str, Any], functions: Mapping[str, Callable[[], bool]]) -> bool:
    """A step's ``if``: with ``success()`` before it where it names no status function."""
    inner = "success()" if text is None else str(text)
    whole = _HOLE.fullmatch(inner.strip())
    inner = whole[1] if whole else inner
    found = _true(evaluate(inner, contexts, functions))
    named = any(re.search(rf"\b{name}\s*\(", inner) for name in STATUS)
    return found and (named or functions["success"]())


def filled(text: Any, contexts: Mapping[str, Any], functions: Mapping[str, Callable[[], bool]]) -> str:
    """A text with its expressions replaced by their values."""
    if isinstance(text, bool):
        return str(text).lower()

    def replaced(match: re.Match[str]) -> str:
        value = evaluate(match[1], contexts, functions)
        return str(value).lower() if isinstance(value, bool) else str(value)

    return _HOLE.sub(replaced, str(text))
