"""Training as if the weights were 4-bit, so that the model withstands being exported that way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

GROUP = 32


def rounded(weight: torch.Tensor, bits: int = 4) -> torch.Tensor:
    """Quantize symmetrically in groups of 32 along the last dimension, and convert back.

    Args:
        weight: A float tensor whose last dimension is a multiple of 32.
        bits: Bits of a value.
    """
    top = 2 ** (bits - 1)
    grouped = weight.reshape(-1, GROUP)
    scale = (grouped.abs().amax(dim=1, keepdim=True) / (top - 0.5)).clamp_min(1e-8)
    levels = torch.clamp(torch.round(grouped / scale), -top, top - 1)
    return torch.reshape(levels * scale, weight.shape)


@contextmanager
def rounded_weights(model: torch.nn.Module, on: bool = True) -> Iterator[None]:
    """Run the block with every matrix rounded, then put the exact values back.

    Gradients taken inside are those at the rounded weights and are applied to the exact ones, which is
    the straight-through estimate.

    Args:
        model: The model.
        on: False changes nothing.
    """
    kept: list[tuple[torch.nn.Parameter, torch.Tensor]] = []
    if on:
        with torch.no_grad():
            for weight in model.parameters():
                if weight.dim() == 2:
                    kept.append((weight, weight.detach().clone()))
                    weight.copy_(rounded(weight))
    try:
        yield
    finally:
        with torch.no_grad():
            for weight, exact in kept:
                weight.copy_(exact)
