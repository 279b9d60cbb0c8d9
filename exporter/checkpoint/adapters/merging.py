"""The arithmetic of a merge, in float32 and a block of rows at a time: equal to PEFT's merge_and_unload.

A merge writes into a tensor that it is given, which may lie in a file, and makes none of its size.
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
    """What an adapter does to one parameter; tensors by their names in the adapter's file.

    replacement: taken in the parameter's place, before all else. a, b: factors of rank r; of a linear weight
    [out, in] A is [r, in] and B [out, r], of an embedding [rows, size] A is [r, rows] and B [size, r].
    magnitude: DoRA's, [out], or [size] of an embedding. added: a bias that is added; ``scale`` multiplies it, or B @ A.
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
    """A linear weight's update: A [r, in], B [out, r]; an embedding's are brought into that form first."""

    a: torch.Tensor
    b: torch.Tensor
    scale: float

    def add_to(self, weight: torch.Tensor, rows: slice, out: torch.Tensor) -> None:
        """Writes (W + scale * B @ A)[rows] into ``out`` float32."""
        import torch

        torch.mm(self.b[rows], self.a, out=out).mul_(self.scale).add_(weight[rows])


def merge_linear(weight: torch.Tensor, factors: Factors, magnitude: torch.Tensor | None, out: torch.Tensor) -> None:
    """W + s B A into ``out`` [out, in] float32; with DoRA's ``magnitude`` [out], each row scaled to that length.

    DoRA (Liu et al., 2024): m * (W + s B A) / ||W + s B A||, the norm over a row's inputs.
    """
    import torch

    for rows in _blocks(out):
        factors.add_to(weight, rows, out[rows])
        if magnitude is not None:
            out[rows] *= (magnitude[rows] / torch.linalg.norm(out[rows], dim=1))[:, None]


def merge_embedding(weight: torch.Tensor, factors: Factors, magnitude: torch.Tensor | None, out: torch.Tensor) -> None:
    """W + s (B A)^T into ``out`` [rows, size] float32; PEFT's DoRA scales each column, its norm over all of the rows.

    Args:
        weight: [rows, size].
        factors: Transposed: ``a`` is B^T [r, size], ``b`` A^T [rows, r].
        magnitude: [size].
        out: Is written to.
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
