"""A tiny model, converted: fixtures of ``tests.support.litert_programs``."""

from tests.support.litert_programs import build, converted, float_model, float_program, tiny

__all__ = ["build", "converted", "float_model", "float_program", "tiny"]
