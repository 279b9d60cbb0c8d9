"""A small bundle of real files: fixtures of ``tests.support.bundle_files``."""

from tests.support.bundle_files import files, manifest

__all__ = ["files", "manifest"]
