"""Marked texts that are put through a template, and what comes out around them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from .codec import TemplateRefused

Message = Mapping[str, Any]


class Render(Protocol):
    """``Codec.render``."""

    def __call__(
        self, messages: Sequence[Message], tools: Sequence[Message] | None, add_generation_prompt: bool
    ) -> str:
        """Return the text of a chat.

        Raises:
            TemplateRefused: If the template can't render it.
        """


class Unexplained(Exception):
    """What the template does is outside the format; the message is the reason."""


def mark(name: str) -> str:
    """Return a text that no template writes by itself, and none changes: letters and digits alone."""
    return f"qzx{name}qzx"


def shown(text: str, most: int = 60) -> str:
    """Return a text in quotes for a reason, cut if it is long."""
    return json.dumps(text if len(text) <= most else text[: most - 1] + "…", ensure_ascii=False)


def common_start(texts: Iterable[str]) -> str:
    """Return the longest text that all begin with."""
    found = list(texts)
    low, high = min(found), max(found)
    at = 0
    while at < min(len(low), len(high)) and low[at] == high[at]:
        at += 1
    return low[:at]


def common_end(texts: Iterable[str]) -> str:
    """Return the longest text that all end with."""
    return common_start(text[::-1] for text in texts)[::-1]


class Prober:
    """A template that remembers what it rendered."""

    def __init__(self, render: Render) -> None:
        self._render = render
        self._known: dict[str, str | None] = {}

    def __call__(
        self, messages: Sequence[Message], tools: Sequence[Message] | None = None, generation: bool = True
    ) -> str | None:
        """Return the text of a chat; None if the template refuses it."""
        key = json.dumps([messages, tools, generation])
        if key not in self._known:
            try:
                self._known[key] = self._render(messages, tools, generation)
            except TemplateRefused:
                self._known[key] = None
        return self._known[key]


class Place:
    """A place in a chat where values can be put.

    Args:
        put: Returns the text of a chat with a value in this place; None if the template refuses it.
        samples: Values whose texts begin and end differently, so that what all share is not theirs.
        where: The place in words, for reasons.

    Raises:
        Unexplained: If the template writes the same text for all samples.
    """

    def __init__(self, put: Callable[[Any], str | None], samples: Sequence[Any], where: str) -> None:
        self.put = put
        self.where = where
        texts = [text for text in map(put, samples) if text is not None]
        if len(set(texts)) < 2:
            raise Unexplained(f"the template writes nothing of {where}")
        self.before = common_start(texts)
        shortest = min(map(len, texts)) - len(self.before)
        self.after = common_end(texts)[-shortest:] if shortest else ""

    @classmethod
    def between(cls, put: Callable[[Any], str | None], before: str, after: str, where: str) -> Place:
        """Return a place whose surroundings are known."""
        place = cls.__new__(cls)
        place.put, place.where, place.before, place.after = put, where, before, after
        return place

    def inner(self, value: Any) -> str | None:
        """Return the text of a value alone; None if the template refuses it or changes the text around it."""
        text = self.put(value)
        if text is None or len(text) < len(self.before) + len(self.after):
            return None
        if not (text.startswith(self.before) and text.endswith(self.after)):
            return None
        return text[len(self.before) : len(text) - len(self.after)]

    def need(self, value: Any) -> str:
        """Return the text of a value alone.

        Raises:
            Unexplained: If ``inner`` gives None.
        """
        text = self.inner(value)
        if text is None:
            raise Unexplained(f"the template can't write {shown(json.dumps(value))} as {self.where}")
        return text
