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
class DecodeRequest:
    """A prompt to decode greedily.

    Attributes:
        ids: The prompt's token ids.
        room: Most ids of its reply.
        scored: Positions that must be scored at least.
    """

    ids: tuple[int, ...]
    room: int
    scored: int = 0

    @property
    def start(self) -> int:
        """The first position whose logits are given: whether it is scored shows when the reply has ended."""
        return max(0, min(len(self.ids) - 1, len(self.ids) - self.scored))


@dataclass(frozen=True)
class Decoded:
    """What became of a prompt that was followed.

    Attributes:
        reply: 1 to ``room`` ids, ending with the stop id if one was reached.
        ids: The prompt, the reply, and what comes after it if they are too short for all that must be scored; the last
            id is only a target.
    """

    reply: tuple[int, ...]
    ids: tuple[int, ...]


def greedy_decode(ask: DecodeRequest, stop: frozenset[int], forward: Forward, sink: Sink) -> Decoded:
    """Follow a prompt greedily, one step at a time; of equal logits, the lower id wins.

    Args:
        ask: The prompt.
        stop: Ids that end a reply.
        forward: The model.
        sink: Takes the logits from the ask's ``start`` on.
    """
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
    return Decoded(reply, tuple(ids))
