"""Quantization methods by name, imported when they are used."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ...util.registry import Registry

if TYPE_CHECKING:
    from ..recipe import Recipe, Scheme
    from .base import QuantizationMethod

METHODS: Registry[QuantizationMethod] = Registry(
    "quantization method",
    "gemcut.quantization_methods",
    {
        "round-to-nearest": ".round_to_nearest:METHOD",
        "weighted-rounding": ".weighted_rounding:METHOD",
        "gptq": ".gptq:METHOD",
    },
    __name__,
)
DEFAULT = METHODS.packaged[0]
# Takes the place of a method that needs Hessians where there are none.
QUICK = METHODS.packaged[1]


def quick(recipe: Recipe) -> Recipe:
    """Return the same recipe for a quick calibration, which keeps no Hessians."""
    methods = {scheme.method for scheme in recipe.schemes if METHODS.get(scheme.method).requires_hessian}
    return replace(recipe.with_methods(lambda name: QUICK if name in methods else name), quick=True)


def method_of(scheme: Scheme) -> QuantizationMethod:
    """Return the method for a weight of which nothing was observed: the scheme's own if it needs no calibration.

    Both runtimes ask here for what ``calibrate`` has not stored.
    """
    method = METHODS.get(scheme.method)
    return METHODS.get(DEFAULT) if method.requires_calibration else method
