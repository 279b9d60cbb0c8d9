"""A tiny checkpoint: a fixture of ``tests.support.tiny_exports``."""

from tests.support.tiny_exports import tiny

__all__ = ["tiny"]
