"""What a fold is: a scale per channel that is put into a matrix and taken out of what writes its inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Place:
    """Where a fold is possible in one decoder layer.

    Attributes:
        readers: Names within the layer of the linears that read the inputs; their columns are multiplied.
        norm: Name of the norm that writes the inputs; empty if a linear does.
        writer: Name of the linear that writes the inputs, whose rows are divided; empty if a norm does.
        tied: Makes a scale [K] one that the writer can hold, and returns the writer's own, [rows of the writer].
    """

    readers: tuple[str, ...]
    norm: str = ""
    writer: str = ""
    tied: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]] | None = None


@dataclass(frozen=True)
class Fold:
    """One kind of fold; exact in float.

    Attributes:
        name: What it is called.
        exact_for: transformers' model types of which it is exact.
        place: Returns the place in a decoder layer of a model of such a type; None if the layer has none.
    """

    name: str
    exact_for: frozenset[str]
    place: Callable[[Any, Any], Place | None]


def has(layer: Any, *names: str) -> bool:
    """Return whether a layer has all these modules."""
    known = dict(layer.named_modules())
    return all(name in known for name in names)


def divide_norm(norm: Any, scale: torch.Tensor) -> bool:
    """Divide what an RMS norm puts out by ``scale``, through its weight.

    Families store the gain itself or the gain less one; which, is found by trying.

    Args:
        norm: The norm, whose weight is [K].
        scale: float32 [K].

    Returns:
        False if the norm is of neither kind; it is as it was.
    """
    weight = getattr(norm, "weight", None)
    if weight is None or weight.shape != scale.shape:
        return False
    probe = torch.linspace(-2.0, 3.0, 4 * len(scale)).reshape(4, -1)
    expected = norm(probe).float() / scale
    original = norm.weight
    for changed in (original.float() / scale, (1.0 + original.float()) / scale - 1.0):
        norm.weight = torch.nn.Parameter(changed, requires_grad=False)
        if torch.allclose(norm(probe).float(), expected, rtol=1e-5, atol=1e-6):
            return True
    norm.weight = original
    return False
