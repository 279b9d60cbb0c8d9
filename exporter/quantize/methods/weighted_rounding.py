"""Rounding to nearest with scales that are searched for, weighted by what the inputs are like."""

from __future__ import annotations

from typing import Any

import torch

from ..recipe import Scheme
from .base import QuantizationMethod
from .scale_search import rounded, searched_scales


class WeightedRounding(QuantizationMethod):
    """See ``QuantizationMethod``; statistics are ``calibrate.statistics.InputStatistics``."""

    name = "weighted-rounding"
    requires_calibration = True

    def quantize(
        self, weight: torch.Tensor, scheme: Scheme, statistics: Any = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See ``QuantizationMethod``."""
        source = weight.float()
        importance = None if statistics is None else statistics.importance
        scales = searched_scales(source, scheme.weight, scheme.group, importance)
        return rounded(source, scales, scheme.weight), scales


METHOD = WeightedRounding()
