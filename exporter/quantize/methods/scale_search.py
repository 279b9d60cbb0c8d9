"""Scales that are searched for, so that what a layer puts out changes least.

The error of a value counts by the mean square of the input that it is multiplied with, as llama.cpp's importance matrix
has it (https://github.com/ggml-org/llama.cpp/tree/master/tools/imatrix): on Gemma 3 270M this takes int4's error from
0.48 to 0.23 nats, where a search without that weight reaches 0.39.
"""

from __future__ import annotations

import torch

from .base import BITS

# Of the scale at which the largest value of a group is just kept: what clips it, and what leaves room.
FACTORS = (1.1, 1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65)
_SMALLEST = 1e-10
# Elements of a weight that are searched at a time: half a megabyte stays in the cache.
_PIECE = 1 << 17


def searched_scales(
    weight: torch.Tensor, weight_format: str, group: int, importance: torch.Tensor | None = None
) -> torch.Tensor:
    """Return the scale of each group of which the weighted square error is least.

    Args:
        weight: The weight, float32 [N, K].
        weight_format: 'int8' or 'int4'.
        group: Elements of a row per scale; 0 for the whole row.
        importance: The mean square of each input, float32 [K]; None if all count the same.

    Returns:
        Scales, float32 [N, K / group]; those of groups are bfloat16 values, as XNNPACK stores them.
    """
    rows, columns = weight.shape
    size = group or columns
    weights = torch.ones(columns) if importance is None else importance
    out = torch.empty(rows, columns // size)
    step = max(1, _PIECE // columns)
    for first in range(0, rows, step):
        part = weight[first : first + step].reshape(-1, columns // size, size)
        out[first : first + step] = _searched(part, weights.reshape(columns // size, size), weight_format, bool(group))
    return out


def _searched(groups: torch.Tensor, weights: torch.Tensor, weight_format: str, rounded: bool) -> torch.Tensor:
    bits = BITS[weight_format]
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    largest = groups.abs().amax(-1)
    best, least = None, None
    for end in (high, -low):  # the largest value on the last step of either side
        for factor in FACTORS:
            scale = as_stored((largest * (factor / end)).clamp(min=_SMALLEST), rounded)
            values = (groups / scale[..., None]).round_().clamp_(low, high).mul_(scale[..., None])
            error = values.sub_(groups).square_().mul_(weights).sum(-1)
            if best is None or least is None:
                best, least = scale, error
            else:
                best = torch.where(error < least, scale, best)
                least = torch.minimum(error, least)
    assert best is not None
    return best


def as_stored(scale: torch.Tensor, grouped: bool) -> torch.Tensor:
    """Return scales as a program holds them: those of groups are bfloat16, those of rows float32."""
    return scale.to(torch.bfloat16).float() if grouped else scale


def rounded(weight: torch.Tensor, scales: torch.Tensor, weight_format: str) -> torch.Tensor:
    """Return a weight's values for given scales, each rounded to the nearest.

    Args:
        weight: The weight, float32 [N, K].
        scales: Its scales, float32 [N, K / group].
        weight_format: 'int8' or 'int4'.

    Returns:
        Values, int8 [N, K].
    """
    bits = BITS[weight_format]
    rows, columns = weight.shape
    groups = weight.reshape(rows, scales.shape[1], -1) / scales[..., None]
    return groups.round_().clamp_(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1).reshape(rows, columns).to(torch.int8)


def dequantized(values: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """Return the weight that values [N, K] and scales [N, K / group] stand for, float32 [N, K]."""
    rows, columns = values.shape
    return (values.float().reshape(rows, scales.shape[1], -1) * scales[..., None]).reshape(rows, columns)
