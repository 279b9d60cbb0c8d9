"""Symmetric round-to-nearest: the scale of each row or group is its largest value's."""

from __future__ import annotations

from typing import Any

import torch

from ..recipe import Scheme
from .base import BITS, QuantizationMethod


class RoundToNearest(QuantizationMethod):
    """See ``QuantizationMethod``. One scale per ``scheme.group`` elements of a row (0: per row); groups' are bfloat16.

    The arithmetic is torchao's (``torchao.quantization.quant_primitives``).
    """

    name = "round-to-nearest"

    def quantize(
        self, weight: torch.Tensor, scheme: Scheme, statistics: Any = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See ``QuantizationMethod``."""
        from torchao.quantization.quant_primitives import MappingType, choose_qparams_affine, quantize_affine

        bits = BITS[scheme.weight]
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


METHOD = RoundToNearest()
