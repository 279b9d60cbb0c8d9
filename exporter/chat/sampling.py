"""The choice of the next token: the likeliest, or one drawn by its probability."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..util.arrays import FloatArray

Choose = Callable[[FloatArray], int]


@dataclass(frozen=True)
class Sampling:
    """How a token is chosen from the logits.

    Attributes:
        temperature: What logits are divided by before they are made probabilities; 0 takes the likeliest token.
        top_k: Draw from this many of the likeliest tokens; 0 means all.
        top_p: Draw from the fewest likeliest tokens whose probabilities add up to this share.
        seed: What the random numbers are made from; None without any.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int | None = None

    def __str__(self) -> str:
        if not self.temperature:
            return "greedy"
        parts = [f"temperature {self.temperature:g}"]
        parts += [f"top-k {self.top_k}"] if self.top_k else []
        parts += [f"top-p {self.top_p:g}"] if self.top_p < 1 else []
        return ", ".join([*parts, f"seed {self.seed}"])


GREEDY = Sampling()


def chooser(sampling: Sampling) -> Choose:
    """Return what chooses a token from logits [V] float32.

    As in ``transformers.generation``, the temperature comes first, then top-k, then top-p, which keeps at least one
    token. The same seed and the same logits give the same tokens.
    """
    if not sampling.temperature:
        return lambda logits: int(logits.argmax())
    random = np.random.default_rng(sampling.seed)

    def choose(logits: FloatArray) -> int:
        largest = float(logits.max())
        scaled = (np.asarray(logits, np.float64) - largest) / sampling.temperature
        order = np.argsort(-scaled, kind="stable")[: sampling.top_k or None]
        weights = np.exp(scaled[order] - scaled[order[0]])
        weights /= weights.sum()
        kept = int(np.searchsorted(weights.cumsum(), sampling.top_p)) + 1
        weights = weights[:kept] / weights[:kept].sum()
        return int(order[random.choice(len(weights), p=weights)])

    return choose


def random_seed() -> int:
    """Return a seed that nobody chose; it is said, so that a reply can be had again."""
    return secrets.randbelow(1 << 32)
