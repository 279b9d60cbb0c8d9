"""Following a prompt greedily, and what is scored of it: the rule, apart from the model that is followed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..util.arrays import FloatArray

# forward(ids, keep) feeds ids after all that were fed before; the logits [keep, V] float32 of the last of them.
Forward = Callable[[Sequence[int], int], FloatArray]
# sink(position, rows) takes logits [P, V] float32 of position ``position`` and those that follow.
Sink = Callable[[int, FloatArray], None]


@dataclass(frozen=True)
class Ask:
    """A prompt to follow. room: most ids of its reply. scored: positions that are to be scored at least."""

    ids: tuple[int, ...]
    room: int
    scored: int = 0

    @property
    def start(self) -> int:
        """The first position whose logits are given: whether it is scored shows when the reply has ended."""
        return max(0, min(len(self.ids) - 1, len(self.ids) - self.scored))


@dataclass(frozen=True)
class Followed:
    """reply: 1 to ``room`` ids, ending with the stop id where one was reached. ids: the prompt, the reply, and what
    comes after it where they are too short for all that is to be scored; the last id is a target alone."""

    reply: tuple[int, ...]
    ids: tuple[int, ...]


def follow(ask: Ask, stop: frozenset[int], forward: Forward, sink: Sink) -> Followed:
    """The greedy reply, one step at a time; equal logits: the lower id."""
    ids, fed = list(ask.ids), 0
    reply: tuple[int, ...] | None = None
    while reply is None or len(ids) <= ask.scored:
        first = max(fed, ask.start)
        logits = forward(ids[fed:], len(ids) - first)
        sink(first, logits)
        fed = len(ids)
        ids.append(int(logits[-1].argmax()))
        del logits  # of many prompts side by side they would be gigabytes
        made = len(ids) - len(ask.ids)
        if reply is None and (ids[-1] in stop or made == ask.room):
            reply = tuple(ids[len(ask.ids) :])
    return Followed(reply, tuple(ids))
