"""The interface of a loaded program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ..util.arrays import Array, FloatArray


@dataclass(frozen=True)
class TensorSpec:
    """A tensor that a method takes or gives.

    Attributes:
        name: The name that callers pass it by.
        dtype: numpy's name of its element type, such as ``float32``.
        shape: Its sizes; None for one that a caller chooses.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class Method:
    """One entry point of a program: a text decoder has one or a few, an encoder beside it has its own.

    Attributes:
        name: As the runtime calls it (ExecuTorch: a method; LiteRT: a signature).
        inputs: What it takes.
        outputs: What it gives.
    """

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


class LoadedProgram(Protocol):
    """A program in its runtime, method by method, with named tensors in and out.

    Attributes:
        methods: Its methods by name.
    """

    @property
    def methods(self) -> Mapping[str, Method]:
        """The program's methods by name."""

    def call(self, method: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run a method once.

        Args:
            method: One of ``methods``.
            inputs: A tensor for each of the method's inputs.

        Returns:
            The method's outputs by name.

        Raises:
            ConformanceError: The runtime refuses the call.
        """

    def close(self) -> None:
        """Free the program."""


class Runner(Protocol):
    """A loaded text decoder with its KV cache, behind whichever runtime it was made for.

    Positions are absolute; a call at position 0 starts a new conversation.

    Attributes:
        vocab_size: Tokens of the vocabulary, V.
        max_context: Tokens that the KV cache holds.
        prefill_chunk: Most tokens of one call.
    """

    @property
    def vocab_size(self) -> int:
        """Tokens of the vocabulary."""

    @property
    def max_context(self) -> int:
        """Tokens that the KV cache holds."""

    @property
    def prefill_chunk(self) -> int:
        """Most tokens of one call."""

    def prefill(self, ids: Sequence[int], position: int) -> FloatArray:
        """Feed ``ids`` from ``position`` on, in chunks; return the logits [V] float32 of the last."""

    def step(self, token: int, position: int) -> FloatArray:
        """Feed one token; return its logits [V] float32."""

    def close(self) -> None:
        """Free the program."""
