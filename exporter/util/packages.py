"""Versions of what is installed."""

from __future__ import annotations

from importlib import metadata

from packaging.version import Version


def public_version(name: str) -> str:
    """A package's version without its local part: ``+cpu`` says how a wheel was built, not what it computes here.

    Raises:
        importlib.metadata.PackageNotFoundError: it isn't installed.
    """
    return Version(metadata.version(name)).public
