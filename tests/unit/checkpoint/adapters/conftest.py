"""Adapters of tiny models: fixtures of ``tests.support.adapters``."""

from tests.support.adapters import make_adapter, peft_merge

__all__ = ["make_adapter", "peft_merge"]
