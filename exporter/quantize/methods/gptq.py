"""GPTQ: values are rounded column by column, and what each rounding costs is made up for in the columns after it.

Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers",
https://arxiv.org/abs/2210.17323, with static scales (chosen before, by the weighted search) and no reordering.
"""

from __future__ import annotations

from typing import Any

import torch

from ..recipe import Scheme
from .base import BITS, PIECE, QuantizationMethod
from .scale_search import searched_scales

# Columns whose updates are applied to the rest of the matrix at once.
BLOCK = 128
# Of the Hessian's mean diagonal: 0.05 to 0.1 gave the least error of Gemma 3 270M.
DAMPING = 0.05


class Gptq(QuantizationMethod):
    """See ``QuantizationMethod``; statistics are ``calibrate.statistics.InputStatistics``."""

    name = "gptq"
    requires_calibration = True
    requires_hessian = True

    def quantize(
        self, weight: torch.Tensor, scheme: Scheme, statistics: Any = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See ``QuantizationMethod``; rows don't depend on one another."""
        factor = statistics.factor(DAMPING)
        values, scales = [], []
        for part in torch.split(weight, max(1, 4 * PIECE // weight.shape[1])):
            source = part.float()
            scale = searched_scales(source, scheme.weight, scheme.group, statistics.importance)
            values.append(_rounded(source, scale, factor, scheme))
            scales.append(scale)
        return torch.cat(values), torch.cat(scales)


def _rounded(source: torch.Tensor, scales: torch.Tensor, factor: torch.Tensor, scheme: Scheme) -> torch.Tensor:
    """Round [N, K] in place of ``source``; ``factor`` is the upper Cholesky factor of the inverse Hessian, [K, K]."""
    bits = BITS[scheme.weight]
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    columns = source.shape[1]
    size = scheme.group or columns
    # Transposed: a column is then a row, which is contiguous.
    weight, scale = source.t().contiguous(), scales.t().contiguous()
    out = torch.empty(weight.shape, dtype=torch.int8)
    for first in range(0, columns, BLOCK):
        end = min(first + BLOCK, columns)
        errors = torch.empty(end - first, weight.shape[1])
        for column in range(first, end):
            step = scale[column // size]
            value = (weight[column] / step).round_().clamp_(low, high)
            out[column] = value.to(torch.int8)
            error = (weight[column] - value * step) / factor[column, column]
            errors[column - first] = error
            if column + 1 < end:
                weight[column + 1 : end].addr_(factor[column, column + 1 : end], error, alpha=-1)
        if end < columns:
            weight[end:].addmm_(factor[first:end, end:].t(), errors, alpha=-1)
    return out.t().contiguous()


METHOD = Gptq()
