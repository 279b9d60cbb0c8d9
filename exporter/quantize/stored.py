"""A weight whose stored values are known before a runtime asks for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class StoredWeight:
    """A weight as it is stored, the same in every runtime.

    Attributes:
        values: int8 [N, K] in -2^(bits-1) .. 2^(bits-1) - 1.
        scales: float32 [N, K / group]; [N, 1] if the scheme has no groups.
    """

    values: torch.Tensor
    scales: torch.Tensor


# By the name of the module that the weight belongs to.
StoredWeights = Mapping[str, StoredWeight]
