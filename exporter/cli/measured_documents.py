"""The JSON documents of commands that measure a model: sensitivity, search and benchmarks."""

from __future__ import annotations

from dataclasses import dataclass

from ..calibrate.front import Mix, Point, TensorSensitivity
from ..evaluate.harness import Score


@dataclass(frozen=True)
class SensitivityResult:
    """``gemcut recipes sensitivity --json``.

    Attributes:
        tensors: All matrices that can be quantized, but those of experts.
        activations: Nats that int8 activations add.
        smallest: Bytes of a bundle with everything at four bits, estimated.
        front: The mixes of four and eight bits, from the smallest on.
    """

    tensors: tuple[TensorSensitivity, ...]
    activations: float
    smallest: int
    front: tuple[Point, ...]


@dataclass(frozen=True)
class SearchResult:
    """``gemcut recipes search --json``.

    Attributes:
        smallest: Bytes of a bundle with everything at four bits, estimated.
        front: The mixes of four and eight bits, from the smallest on.
        chosen: The one that the budget asks for; null without a budget.
        recipe: The file that it was written to; null if none was asked for.
    """

    smallest: int
    front: tuple[Point, ...]
    chosen: Mix | None
    recipe: str | None


@dataclass(frozen=True)
class EvalResult:
    """``gemcut eval --json``.

    Attributes:
        bundle: Where it is.
        scores: The bundle's.
        float_scores: The float model's; null if it wasn't named.
    """

    bundle: str
    scores: tuple[Score, ...]
    float_scores: tuple[Score, ...] | None
