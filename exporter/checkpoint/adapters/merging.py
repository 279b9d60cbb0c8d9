"""The arithmetic of a merge, in float32 and a block of rows at a time: equal to PEFT's merge_and_unload.

A merge writes into a tensor that it is given, which may be in a file, and makes none of its size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_BLOCK = 1 << 20  # elements that are worked on in one go


@dataclass(frozen=True)
class Update:
    """What an adapter does to one parameter; tensors are given by their names in the adapter's file.

    Attributes:
        replacement: Takes the parameter's place, before all else.
        a: The factor A of rank r: [r, in] for a linear weight [out, in], [r, rows] for an embedding [rows, size].
        b: The factor B of rank r: [out, r] for a linear weight, [size, r] for an embedding.
        scale: Multiplies ``added``, or B @ A.
        magnitude: DoRA's magnitude, [out], or [size] for an embedding.
        embedding: Whether the factors are an embedding's.
        added: A bias that is added.
    """

    replacement: str | None = None
    a: str | None = None
    b: str | None = None
    scale: float = 1.0
    magnitude: str | None = None
    embedding: bool = False
    added: str | None = None


@dataclass(frozen=True)
class Factors:
    """A linear weight's update; an embedding's factors are brought into this form first.

    Attributes:
        a: The factor A, [r, in].
        b: The factor B, [out, r].
        scale: Multiplies B @ A.
    """

    a: torch.Tensor
    b: torch.Tensor
    scale: float

    def add_to(self, weight: torch.Tensor, rows: slice, out: torch.Tensor) -> None:
        """Write (W + scale * B @ A)[rows] into ``out``.

        Args:
            weight: W, [out, in].
            rows: The rows to compute.
            out: Those rows alone, float32.
        """
        import torch

        torch.mm(self.b[rows], self.a, out=out).mul_(self.scale).add_(weight[rows])


def merge_linear(weight: torch.Tensor, factors: Factors, magnitude: torch.Tensor | None, out: torch.Tensor) -> None:
    """Write W + s B A into ``out``, each row scaled to DoRA's magnitude if there is one.

    DoRA (Liu et al., 2024): m * (W + s B A) / ||W + s B A||, with the norm over a row's inputs.

    Args:
        weight: W, [out, in].
        factors: The update.
        magnitude: DoRA's m, [out]; None for LoRA.
        out: Is written to, [out, in] float32.
    """
    import torch

    for rows in _blocks(out):
        factors.add_to(weight, rows, out[rows])
        if magnitude is not None:
            out[rows] *= (magnitude[rows] / torch.linalg.norm(out[rows], dim=1))[:, None]


def merge_embedding(weight: torch.Tensor, factors: Factors, magnitude: torch.Tensor | None, out: torch.Tensor) -> None:
    """Write W + s (B A)^T into ``out``; PEFT's DoRA scales each column, with its norm over all of the rows.

    Args:
        weight: W, [rows, size].
        factors: Transposed: ``a`` is B^T [r, size], ``b`` is A^T [rows, r].
        magnitude: DoRA's m, [size]; None for LoRA.
        out: Is written to, [rows, size] float32.
    """
    import torch

    squares = torch.zeros(out.shape[1], dtype=torch.float64)
    for rows in _blocks(out):
        factors.add_to(weight, rows, out[rows])
        if magnitude is not None:
            squares += out[rows].double().square().sum(dim=0)
    if magnitude is not None:
        out *= (magnitude / squares.sqrt().float())[None, :]


def _blocks(matrix: torch.Tensor) -> Iterator[slice]:
    step = max(1, _BLOCK // max(1, matrix.shape[1]))
    for first in range(0, len(matrix), step):
        yield slice(first, first + step)
