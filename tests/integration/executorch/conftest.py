"""Tiny models, lowered: fixtures of ``tests.support.executorch_programs``."""

from tests.support.executorch_programs import make

__all__ = ["make"]
