"""Symmetric rounding of weights to integers and scales."""

from __future__ import annotations

import torch

from ..util.file_tensors import Scratch
from .recipe import Scheme

_BITS = {"int8": 8, "int4": 4}


# Elements that are float32 at a time while a matrix is quantized: 16 MB.
PIECE = 1 << 22


def quantize_rows(weight: torch.Tensor, scheme: Scheme, scratch: Scratch) -> tuple[torch.Tensor, torch.Tensor]:
    """Quantize a weight some rows at a time into ``scratch``, so that the float32 matrix is never whole in memory.

    Args:
        weight: The weight, [N, K] of any float dtype.
        scheme: An 'int8' or 'int4' scheme.
        scratch: Takes the values.

    Returns:
        What ``quantize_weight`` returns, to the bit: rows don't depend on one another.
    """
    count, columns = weight.shape
    values = scratch.empty((count, columns), torch.int8)
    scales = scratch.empty((count, columns // scheme.group if scheme.group else 1), torch.float32)
    rows = max(1, PIECE // columns)
    for first in range(0, count, rows):
        part = slice(first, first + rows)
        values[part], scales[part] = quantize_weight(weight[part], scheme)
    return values, scales


def quantize_weight(weight: torch.Tensor, scheme: Scheme) -> tuple[torch.Tensor, torch.Tensor]:
    """Quantize a weight by symmetric round-to-nearest, one scale per ``scheme.group`` elements of a row (0: per row).

    Args:
        weight: The weight, [N, K] of any float dtype.
        scheme: An 'int8' or 'int4' scheme.

    Returns:
        Values, int8 [N, K] in -2^(bits-1) .. 2^(bits-1) - 1, and scales, float32 [N, K / group]; those of groups hold
        bfloat16 values.
    """
    from torchao.quantization.quant_primitives import MappingType, choose_qparams_affine, quantize_affine

    bits = _BITS[scheme.weight]
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    block = (1, scheme.group or weight.shape[1])
    eps = torch.finfo(torch.float32).eps
    source = weight.float()
    scale, zero = choose_qparams_affine(
        source, MappingType.SYMMETRIC, block, torch.int8, low, high, eps=eps, scale_dtype=torch.float32
    )
    if scheme.group:  # As XNNPACK stores them, so that the values are rounded for the scale that they get.
        scale = scale.to(torch.bfloat16).float()
    values = quantize_affine(source, block, scale, zero, torch.int8, low, high)
    return values, scale.reshape(weight.shape[0], -1)
