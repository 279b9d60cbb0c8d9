"""RMSNorm in a form that delegates take whole.

XNNPACK doesn't take ``aten.mean`` over the last dimension, so every norm would cut the graph in two. The mean
of the squares is written as a matrix product with a constant row of 1/H instead; that is exact to float32
rounding.

Source of the formula: Zhang & Sennrich 2019, "Root Mean Square Layer Normalization".
"""

from __future__ import annotations

import torch
from torch import nn

from ....errors import UnsupportedError


class DelegableRMSNorm(nn.Module):
    """``x / sqrt(mean(x²) + eps) * scale`` over the last dimension.

    Args:
        scale: float32 [H]; None for a norm without a weight.
        dim: H, the size of the last dimension.
        eps: Added to the mean of the squares.
    """

    averager: torch.Tensor
    scale: torch.Tensor | None

    def __init__(self, scale: torch.Tensor | None, dim: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.dim = dim
        self.register_buffer("averager", torch.full((1, dim), 1.0 / dim), persistent=False)
        self.register_buffer("scale", None if scale is None else scale.clone(), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalize ``x``, float32 [..., H]; return the same shape."""
        mean_square = nn.functional.linear(x * x, self.averager)
        normed = x * torch.rsqrt(mean_square + self.eps)
        return normed if self.scale is None else normed * self.scale


def is_rms_norm(module: nn.Module) -> bool:
    """Return whether a transformers module is an RMSNorm of its family's own class."""
    return type(module).__name__.endswith("RMSNorm")


def delegable_norm(name: str, norm: nn.Module, width: int = 0) -> DelegableRMSNorm:
    """Make the equivalent of a family's RMSNorm, whatever its convention for the weight (w or 1 + w).

    The scale is read by running the module on a vector of ones, whose mean square is 1, so no family has to be
    named; a second run on another vector checks that the module really is an RMSNorm.

    Args:
        name: The module's name, for the error.
        norm: The family's module.
        width: H, needed for a norm that has no weight to read it from.

    Raises:
        UnsupportedError: The module does something else.
    """
    eps = float(getattr(norm, "eps", getattr(norm, "variance_epsilon", 0.0)))
    weight = getattr(norm, "weight", None)
    if weight is None:
        dim, scale = width, None
    else:
        dim = weight.shape[-1]
        with torch.no_grad():
            scale = norm(torch.ones(1, dim))[0] * (1.0 + eps) ** 0.5
    if dim == 0:
        raise UnsupportedError(
            f"{name} ({type(norm).__name__}) is a norm of unknown width.",
            hint="Gemcut doesn't have the adaptation that this family needs yet; please report it.",
        )
    replacement = DelegableRMSNorm(scale, dim, eps)
    probe = torch.linspace(-2.0, 3.0, dim).unsqueeze(0)
    with torch.no_grad():
        wanted, got = norm(probe), replacement(probe)
    if not torch.allclose(wanted, got, rtol=1e-4, atol=1e-5):
        raise UnsupportedError(
            f"{name} ({type(norm).__name__}) is not the RMSNorm that its name says.",
            hint="Gemcut doesn't have the adaptation that this family needs yet; please report it.",
        )
    return replacement
