"""Goldens: what the float model does with each prompt, and what the bundle did on the exporting host.

In all of this, position i is the one whose logits follow token ``ids[i]`` and predict ``ids[i + 1]``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..prompt.chats import Prompt
from ..util.arrays import FloatArray

Ids32 = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Golden:
    """One prompt and what the float model makes of it. P positions are scored, P >= 32.

    Attributes:
        prompt: The prompt.
        rendered: The prompt's text.
        prompt_ids: The prompt's token ids.
        ids: Prompt and scored continuation; the last id is the last target.
        first: The first scored position; the others follow up to ``len(ids) - 2``.
        topk_ids: [P, 64] int32, the likeliest ids, likeliest first.
        topk_logprobs: [P, 64] float32, their log-probabilities, in nats.
        target_logprobs: [P] float32, the log-probabilities of ``ids[first + 1:]``, in nats.
        greedy_ids: The float model's reply, with the stop id if it was reached.
        greedy_text: The reply's text without the stop id.
        ended: Whether the reply reached a stop id.
        margin: [len(greedy_ids)] float32, the log-probability of the likeliest token minus that of the second at each
            step of the reply, in nats.
    """

    prompt: Prompt
    rendered: str
    prompt_ids: tuple[int, ...]
    ids: tuple[int, ...]
    first: int
    topk_ids: Ids32
    topk_logprobs: FloatArray
    target_logprobs: FloatArray
    greedy_ids: tuple[int, ...]
    greedy_text: str
    ended: bool
    margin: FloatArray

    @property
    def positions(self) -> int:
        """How many positions are scored: P."""
        return len(self.topk_ids)


@dataclass(frozen=True, eq=False)
class Recorded:
    """What a bundle did with one golden.

    Attributes:
        logprobs: [P, 64] float32, its log-probabilities of the float model's top-64 ids, in nats.
        target_logprobs: [P] float32, its log-probabilities of the actual next ids, in nats.
        top1: [P] int32, its likeliest ids.
        greedy_ids: Its reply, as in ``Golden``.
        greedy_text: The reply's text, as in ``Golden``.
        ended: Whether the reply reached a stop id.
    """

    logprobs: FloatArray
    target_logprobs: FloatArray
    top1: Ids32
    greedy_ids: tuple[int, ...]
    greedy_text: str
    ended: bool


def log_softmax(logits: FloatArray) -> npt.NDArray[np.float64]:
    """Return log-probabilities [..., V] float64 of logits [..., V]; not-a-number stays that."""
    wide = logits.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        wide -= wide.max(axis=-1, keepdims=True)
        wide -= np.log(np.exp(wide).sum(axis=-1, keepdims=True))
    return wide


def log_partition(logits: FloatArray) -> float:
    """Return ``log(sum(exp(logits)))`` of one position's logits [V], in float64; not-a-number stays that."""
    with np.errstate(invalid="ignore", over="ignore"):
        wide = logits.astype(np.float64)
        highest = float(wide.max())
        wide -= highest
        return highest + float(np.log(np.exp(wide, out=wide).sum()))


def strip_stop(ids: Sequence[int], stop_ids: Iterable[int]) -> tuple[list[int], bool]:
    """Return a reply without its stop id, and whether it ended with one."""
    ended = bool(ids) and ids[-1] in set(stop_ids)
    return list(ids[:-1] if ended else ids), ended
