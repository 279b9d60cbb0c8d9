"""Bundles around a real program of a few bytes: fixtures of ``tests.support.tiny_bundles``."""

from tests.support.tiny_bundles import bundle, gemcut, make_bundle, proven, unproven

__all__ = ["bundle", "gemcut", "make_bundle", "proven", "unproven"]
