"""The thoughts in a reply, told from its words: what the template takes out of earlier answers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from .format import Channel, Chat, PromptFile
from .json_writer import trim


@dataclass(frozen=True)
class Told:
    """A reply.

    Attributes:
        words: What is meant for people.
        thoughts: The thoughts without the channel's marks and name, with a blank line between two.
    """

    words: str
    thoughts: str


@dataclass(frozen=True)
class Piece:
    """A part of a reply.

    Attributes:
        text: Its text.
        thought: Whether it belongs to a thought.
    """

    text: str
    thought: bool


def channel_of(prompt: PromptFile) -> Channel | None:
    """Return the channel of thoughts; None if the template takes nothing out of answers or isn't compiled."""
    chat = prompt.thinking or prompt.chat
    body = None if chat is None else chat.bodies.get("assistant")
    return body.remove[0] if body is not None and body.remove else None


def thought_begun(prompt: PromptFile, rendered: str) -> str:
    """Return the end of a prompt that leaves a thought open, as Gemma 4's does after results; empty if none is open.

    Args:
        prompt: The compiled template.
        rendered: The text that the model continues. What a user wrote in it opens nothing.
    """
    channel = channel_of(prompt)
    for text in _last_texts(prompt) if channel is not None else ():
        at = text.rfind(channel.open) if channel is not None else -1
        if at >= 0 and channel is not None and channel.close not in text[at:] and rendered.endswith(text):
            return text[at:]
    return ""


def _last_texts(prompt: PromptFile) -> list[str]:
    """Return all that can stand between a chat and the model's answer, the longest first."""
    found = {row["generation"] for part in _parts(prompt) for row in part.joints.values() if "generation" in row}
    return sorted(found, key=lambda text: (-len(text), text))


def _parts(prompt: PromptFile) -> list[Chat]:
    return [part for part in (prompt.chat, prompt.thinking) if part is not None]


def thought_name(prompt: PromptFile) -> str:
    """Return what the template writes at a thought's beginning, such as Gemma 4's ``thought`` and a line break."""
    channel = channel_of(prompt)
    if channel is None:
        return ""
    for text in _last_texts(prompt):
        at = text.rfind(channel.open)
        if at >= 0:
            return text[at + len(channel.open) :].partition(channel.close)[0]
    return ""


class ThoughtStream:
    """A reply that comes piece by piece, in which thoughts are told from words.

    What could be the beginning of a mark is held back until that is decided; the channel's name isn't passed on.

    Args:
        prompt: The compiled template; None, or one without a channel, has only words.
        begun: From ``thought_begun``.
    """

    def __init__(self, prompt: PromptFile | None, begun: str = "") -> None:
        self.channel = None if prompt is None else channel_of(prompt)
        self._name = "" if prompt is None else thought_name(prompt)
        self._thought = False
        self._named = True  # whether the name of the thought at hand has gone by
        self._held = begun if self.channel is not None else ""
        self.thoughts = 0  # begun so far

    def add(self, text: str) -> Iterator[Piece]:
        """Take more of the reply and yield what can be told now."""
        self._held += text
        if self.channel is None:
            yield from self._pass(len(self._held))
            return
        while (found := self._next_mark()) is not None:
            at, mark = found
            yield from self._pass(at)
            self._held = self._held[len(mark) :]
            self._thought = mark == self.channel.open
            self._named = not self._thought
            self.thoughts += self._thought
        yield from self._pass(len(self._held) - self._undecided())

    def finish(self) -> Iterator[Piece]:
        """Yield what was held back, once the reply has ended."""
        yield from self.add("")
        yield from self._pass(len(self._held))

    def _marks(self) -> tuple[str, ...]:
        assert self.channel is not None
        # In a thought, another beginning is part of it; a stray end among words is just taken out.
        return (self.channel.close,) if self._thought else (self.channel.open, self.channel.close)

    def _next_mark(self) -> tuple[int, str] | None:
        found = [(self._held.find(mark), mark) for mark in self._marks() if mark in self._held]
        return min(found, default=None)

    def _undecided(self) -> int:
        """Return how many characters at the end may begin a mark or the thought's name."""
        if not self._named and self._name.startswith(self._held):
            return len(self._held)
        sizes = (size for mark in self._marks() for size in range(1, len(mark)) if self._held.endswith(mark[:size]))
        return max(sizes, default=0)

    def _pass(self, end: int) -> Iterator[Piece]:
        if self._thought and not self._named and end:
            cut = len(self._name) if self._held[:end].startswith(self._name) else 0
            self._held, end, self._named = self._held[cut:], end - cut, True
        text, self._held = self._held[:end], self._held[end:]
        if text:
            yield Piece(text, self._thought)


def tell_thoughts(prompt: PromptFile | None, text: str, begun: str = "") -> Told:
    """Return a whole reply's words, and its thoughts without white space around each.

    Args:
        prompt: The compiled template.
        text: What the model wrote, without its stop token.
        begun: From ``thought_begun``.
    """
    stream = ThoughtStream(prompt, begun)
    words, thoughts = "", defaultdict[int, str](str)
    for piece in (part for source in (stream.add(text), stream.finish()) for part in source):
        if piece.thought:
            thoughts[stream.thoughts] += piece.text
        else:
            words += piece.text
    return Told(words, "\n\n".join(filter(None, (trim(one, "both") for one in thoughts.values()))))
