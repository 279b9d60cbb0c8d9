"""Quantization methods by name, imported when they are used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...util.registry import Registry

if TYPE_CHECKING:
    from ..recipe import Scheme
    from .base import QuantizationMethod

METHODS: Registry[QuantizationMethod] = Registry(
    "quantization method",
    "gemcut.quantization_methods",
    {"round-to-nearest": ".round_to_nearest:METHOD"},
    __name__,
)
DEFAULT = METHODS.packaged[0]


def method_of(scheme: Scheme) -> QuantizationMethod:
    """Return the method that a scheme's values and scales are chosen by; recipes name none yet, so it is the default.

    Both runtimes ask here and nowhere else: a recipe's key, once there are two methods, is read in this function.
    """
    return METHODS.get(DEFAULT)
