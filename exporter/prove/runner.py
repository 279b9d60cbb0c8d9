"""The interface of a loaded program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from ..util.arrays import FloatArray


class Runner(Protocol):
    """A loaded program with its KV cache, behind whichever runtime it was made for.

    Positions are absolute; a call at position 0 starts a new conversation.

    Attributes:
        vocab_size: How many logits a position has: V.
        max_context: How many tokens the KV cache holds.
        prefill_chunk: How many tokens are fed at once.
    """

    vocab_size: int
    max_context: int
    prefill_chunk: int

    def prefill(self, ids: Sequence[int], position: int) -> FloatArray:
        """Feed ``ids`` from ``position`` on, in chunks; return the logits [V] float32 of the last."""

    def step(self, token: int, position: int) -> FloatArray:
        """Feed one token; return its logits [V] float32."""

    def close(self) -> None:
        """Free the program."""


OpenRunner = Callable[[Path], Runner]
