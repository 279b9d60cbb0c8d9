"""Tiny checkpoints: fixtures of ``tests.support.checkpoints``."""

from tests.support.checkpoints import edit_json, fresh, load_all, make_config, pristine, pristine_gemma3n, save_single

__all__ = ["edit_json", "fresh", "load_all", "make_config", "pristine", "pristine_gemma3n", "save_single"]
