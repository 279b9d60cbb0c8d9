"""Bundles with other programs in them: fixtures of ``tests.support.remade_bundles``."""

from tests.support.remade_bundles import (
    device_cache,
    late_bundle,
    late_program,
    loading,
    package,
    sine_bundle,
    sine_program,
    with_program,
)

__all__ = [
    "device_cache",
    "late_bundle",
    "late_program",
    "loading",
    "package",
    "sine_bundle",
    "sine_program",
    "with_program",
]
