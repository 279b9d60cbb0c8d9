"""GELU (tanh form) written out, because a delegate's own GELU is another function.

XNNPACK's delegate serializes ``aten.gelu`` without its ``approximate`` argument and so computes the erf form
(executorch 1.5 ``backends/xnnpack/operators/op_gelu.py``): up to 5e-4 per activation off what Gemma was trained
with, 4e-3 in the logits of a seven-layer model. ``0.5 (1 + tanh z) = sigmoid(2 z)`` gives the tanh form from
operators that the delegate has.

Source of the formula: Hendrycks & Gimpel 2016, "Gaussian Error Linear Units", section 2.
"""

from __future__ import annotations

import math

import torch
from torch import nn

_SCALE = 2.0 * math.sqrt(2.0 / math.pi)
_CUBIC = 0.044715


class DelegableGELUTanh(nn.Module):
    """``x * sigmoid(2 sqrt(2/pi) (x + 0.044715 x³))``, elementwise."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply it to ``x``, float32 of any shape; return the same shape."""
        return x * torch.sigmoid(x * (x * x * (_SCALE * _CUBIC) + _SCALE))


def is_gelu_tanh(module: nn.Module) -> bool:
    """Return whether a module computes the tanh form of GELU, whatever its class."""
    if any(True for _ in module.parameters()) or any(True for _ in module.children()):
        return False
    if "gelu" not in type(module).__name__.lower():
        return False
    probe = torch.linspace(-4.0, 4.0, 65)
    with torch.no_grad():
        wanted = nn.functional.gelu(probe, approximate="tanh")
        return torch.allclose(module(probe), wanted, atol=1e-6, rtol=0.0)
