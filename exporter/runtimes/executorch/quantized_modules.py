"""Quantized linear and embedding modules that trace to the operators which delegates and kernels take as they are.

They emit ``quantized_decomposed`` operators (real meta kernels, no decomposition to trace through), not torchao's
``*_affine`` ones; the numbers come from torchao's own quantization primitives.
"""

from __future__ import annotations

import torch
from torch import nn

from ...quantize.methods import method_of
from ...quantize.methods.base import BITS, PIECE
from ...quantize.recipe import Scheme
from ...quantize.stored import StoredWeight
from ...util.file_tensors import InMemory, Scratch

_Q = torch.ops.quantized_decomposed


def stored_weight(
    module: nn.Linear | nn.Embedding, scheme: Scheme, scratch: Scratch, known: StoredWeight | None = None
) -> StoredWeight:
    """Return a module's weight as it is stored: what calibration has chosen, or what the scheme's method makes of it.

    Args:
        module: The float module.
        scheme: How its weight is stored.
        scratch: Takes the values.
        known: What calibration has chosen.
    """
    return known or StoredWeight(*method_of(scheme).quantize_rows(module.weight.detach(), scheme, scratch))


class QuantizedLinear(nn.Module):
    """``x @ W.T`` with integer weights; activations float32 or int8 per token, asymmetric, chosen at run time."""

    values: torch.Tensor
    scales: torch.Tensor
    zeros: torch.Tensor

    def __init__(
        self,
        linear: nn.Linear,
        scheme: Scheme,
        scratch: Scratch | None = None,
        stored: StoredWeight | None = None,
        swapped: bool = False,
    ) -> None:
        super().__init__()
        self.scheme = scheme
        self.swapped = swapped
        bits = BITS[scheme.weight]
        self.low, self.high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
        scratch = scratch or InMemory()
        stored = stored_weight(linear, scheme, scratch, stored)
        values, scales = stored.values, stored.scales
        if swapped:
            values = scratch.empty(values.shape, torch.int8).copy_(swap_neighbours(values))
        self.register_buffer("values", values)
        self.register_buffer("scales", scales if scheme.group else scales.reshape(-1))
        self.register_buffer("zeros", scratch.empty(self.scales.shape, torch.int32 if scheme.group else torch.int64))
        self.bias = linear.bias
        self.in_features, self.out_features = linear.in_features, linear.out_features

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Multiply ``x``, float32 [..., K]; return float32 [..., N]."""
        if self.swapped:
            x = swap_neighbours(x)
        if self.scheme.activation == "int8-dynamic":
            scale, zero = _Q.choose_qparams_per_token_asymmetric(x, torch.int8)
            x = _Q.quantize_per_token(x, scale, zero, -128, 127, torch.int8)
            x = _Q.dequantize_per_token(x, scale, zero, -128, 127, torch.int8, torch.float32)
        if self.scheme.group:
            weight = _Q.dequantize_per_channel_group(
                self.values, self.scales, self.zeros, self.low, self.high, torch.int8, self.scheme.group, torch.float32
            )
        else:
            weight = _Q.dequantize_per_channel(self.values, self.scales, self.zeros, 0, self.low, self.high, torch.int8)
        return nn.functional.linear(x, weight, self.bias)


class QuantizedEmbedding(nn.Module):
    """A gather of int8 rows, each with its own scale, times the family's embedding scale."""

    def __init__(self, stored: StoredWeight, multiplier: float) -> None:
        super().__init__()
        self.multiplier = multiplier
        self.register_buffer("values", stored.values)
        # The multiplier goes into the scales: one multiplication less at run time.
        self.register_buffer("scales", stored.scales.reshape(-1) * multiplier)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Gather the rows of ``ids``, int64 [B, S]; return float32 [B, S, H]."""
        gather = _Q.embedding_byte.dtype
        rows: torch.Tensor = gather(self.values, self.scales, None, -128, 127, ids, dtype=torch.float32)
        return rows


class GroupedEmbedding(nn.Module):
    """A gather of int4 rows with a scale for each group, times the family's embedding scale.

    The kernel takes two values to a byte, each raised by 8, the even column in the high half; XNNPACK's products take
    the even one in the low half. A head that shares the table multiplies with neighbouring columns ``swapped``.
    """

    packed: torch.Tensor
    scales: torch.Tensor

    def __init__(self, stored: StoredWeight, multiplier: float, scratch: Scratch | None = None) -> None:
        super().__init__()
        self.multiplier = multiplier
        rows, columns = stored.values.shape
        packed = (scratch or InMemory()).empty((rows, columns // 2), torch.uint8)
        step = max(1, PIECE // columns)
        for first in range(0, rows, step):
            part = stored.values[first : first + step].add(8).view(torch.uint8)
            packed[first : first + step] = part[:, ::2] << 4 | part[:, 1::2]
        self.register_buffer("packed", packed)
        half = stored.scales.half()  # bfloat16 values are the same in float16, if they aren't tiny
        self.register_buffer("scales", half if torch.equal(half.float(), stored.scales) else stored.scales)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Gather the rows of ``ids``, int64 [B, S]; return float32 [B, S, H]."""
        gather = _Q.embedding_4bit.dtype
        rows: torch.Tensor = gather(self.packed, self.scales, None, -8, 7, ids, dtype=torch.float32)
        return rows if self.multiplier == 1.0 else rows * self.multiplier


def swap_neighbours(x: torch.Tensor) -> torch.Tensor:
    """Return ``x`` [..., K] with columns 0 and 1, 2 and 3, and so on in each other's places."""
    return x.reshape(*x.shape[:-1], x.shape[-1] // 2, 2).flip(-1).reshape(x.shape)
