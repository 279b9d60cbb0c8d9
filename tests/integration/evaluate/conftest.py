"""Fixtures of a tiny checkpoint, and the command line within this process."""

from tests.support.tiny_exports import here, tiny

__all__ = ["here", "tiny"]
