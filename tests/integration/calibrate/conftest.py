"""The command line within this process."""

from tests.support.tiny_exports import here

__all__ = ["here"]
