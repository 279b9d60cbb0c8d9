"""The interface of a loaded program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from ..util.arrays import FloatArray


class Runner(Protocol):
    """A loaded program with its KV cache, behind whichever runtime it was made for.

    Positions are absolute; a call at position 0 starts a new conversation.
    """

    vocab_size: int
    max_context: int
    prefill_chunk: int

    def prefill(self, ids: Sequence[int], position: int) -> FloatArray:
        """Feeds ``ids`` from ``position`` on, in chunks; returns the logits [V] float32 of the last."""

    def step(self, token: int, position: int) -> FloatArray:
        """Feeds one token; returns its logits [V] float32."""

    def close(self) -> None:
        """Frees the program."""


OpenRunner = Callable[[Path], Runner]
