"""The arithmetic of a merge, in float32 and a block of rows at a time: equal to PEFT's merge_and_unload."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_ROWS = 4096


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

    def sum_of(self, weight: torch.Tensor, rows: slice) -> torch.Tensor:
        """(W + scale * B @ A)[rows] float32."""
        return weight[rows].float() + (self.b[rows] @ self.a) * self.scale


def merge_linear(weight: torch.Tensor, factors: Factors, magnitude: torch.Tensor | None) -> torch.Tensor:
    """W + s B A [out, in] float32; with DoRA's ``magnitude`` [out], each row scaled to that length.

    DoRA (Liu et al., 2024): m * (W + s B A) / ||W + s B A||, the norm over a row's inputs.
    """
    import torch

    merged = torch.empty(weight.shape, dtype=torch.float32)
    for rows in _blocks(len(weight)):
        block = factors.sum_of(weight, rows)
        if magnitude is not None:
            block *= (magnitude[rows] / torch.linalg.norm(block, dim=1))[:, None]
        merged[rows] = block
    return merged


def merge_embedding(weight: torch.Tensor, factors: Factors, magnitude: torch.Tensor | None) -> torch.Tensor:
    """W + s (B A)^T [rows, size] float32; PEFT's DoRA scales each column, its norm over all of the rows.

    Args:
        weight: [rows, size].
        factors: Transposed: ``a`` is B^T [r, size], ``b`` A^T [rows, r].
        magnitude: [size].
    """
    import torch

    merged = torch.empty(weight.shape, dtype=torch.float32)
    squares = torch.zeros(weight.shape[1], dtype=torch.float64)
    for rows in _blocks(len(weight)):
        merged[rows] = factors.sum_of(weight, rows)
        if magnitude is not None:
            squares += merged[rows].double().square().sum(dim=0)
    if magnitude is not None:
        merged *= (magnitude / squares.sqrt().float())[None, :]
    return merged


def _blocks(rows: int) -> Iterator[slice]:
    for first in range(0, rows, _ROWS):
        yield slice(first, first + _ROWS)
