"""A tiny checkpoint, and the command line run on it: fixtures of ``tests.support.tiny_exports``."""

from tests.support.adapters import make_adapter
from tests.support.tiny_exports import begin, coarse, export_unproven, fresh, here, run, tiny, unproven

__all__ = [
    "begin",
    "coarse",
    "export_unproven",
    "fresh",
    "here",
    "make_adapter",
    "run",
    "tiny",
    "unproven",
]
