"""Which scale a fold takes: the one that disturbs a layer's outputs least once weights and activations are rounded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from ..quantize.methods.base import BITS
from ..quantize.methods.scale_search import as_stored, dequantized, rounded
from ..quantize.recipe import Scheme
from .activations import int8_per_token
from .folds.base import Place
from .statistics import InputStatistics

# Scales that are tried are powers of the inputs' root mean squares; 0 folds nothing.
EXPONENTS = (0.0, 0.2, 0.35, 0.5, 0.65, 0.8)
# Rows of a matrix that are tried: enough to tell which exponent is best.
ROWS = 384
_BOUNDS = (1e-3, 1e3)
_SMALLEST = 1e-10


def best_scale(
    place: Place, weights: Mapping[str, torch.Tensor], schemes: Mapping[str, Scheme], inputs: InputStatistics
) -> torch.Tensor | None:
    """Return the scale of a fold.

    Args:
        place: Where it is.
        weights: The readers' weights by name, float32 [N, K].
        schemes: Their schemes by name.
        inputs: What they read.

    Returns:
        float32 [K], by which columns are multiplied and inputs divided; None if no fold is best.
    """
    readers = [(_some_rows(weights[name]), schemes[name]) for name in place.readers]
    sample = inputs.sample()
    best, least, plain = None, None, None
    for exponent in EXPONENTS:
        scale = _scale(place, inputs, exponent)
        error = _error(readers, scale, inputs, sample)
        if least is None or error < least:
            best, least = scale, error
        plain = error if plain is None else plain
    return best if least is not None and plain is not None and least < plain else None


def _scale(place: Place, inputs: InputStatistics, exponent: float) -> torch.Tensor:
    scale = inputs.rms.pow(exponent)
    if place.tied is not None:
        scale = place.tied(scale)[0]
    return (scale / scale.log().mean().exp()).clamp(*_BOUNDS)


def _some_rows(weight: torch.Tensor) -> torch.Tensor:
    step = max(1, len(weight) // ROWS)
    return weight[::step].contiguous()


def _error(
    readers: Sequence[tuple[torch.Tensor, Scheme]],
    scale: torch.Tensor,
    inputs: InputStatistics,
    sample: torch.Tensor,
) -> float:
    """The square error of the outputs per input, of rounded weights and of rounded activations."""
    total = 0.0
    for weight, scheme in readers:
        disturbed = _rounded(weight * scale, scheme) / scale - weight
        total += inputs.energy(disturbed) / max(inputs.rows, 1.0)
        if scheme.activation == "int8-dynamic" and len(sample):
            noise = int8_per_token(sample / scale) * scale - sample
            total += float((noise @ weight.t()).square().sum()) / len(sample)
    return total


def _rounded(weight: torch.Tensor, scheme: Scheme) -> torch.Tensor:
    rows, columns = weight.shape
    size = scheme.group or columns
    largest = weight.reshape(rows, columns // size, size).abs().amax(-1)
    steps = (2 ** BITS[scheme.weight] - 1) / 2
    scales = as_stored((largest / steps).clamp(min=_SMALLEST), bool(scheme.group))
    return dequantized(rounded(weight, scales, scheme.weight), scales)
