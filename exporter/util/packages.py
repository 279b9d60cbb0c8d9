"""Versions of installed packages."""

from __future__ import annotations

from importlib import metadata

from packaging.version import Version


def public_version(name: str) -> str:
    """Return a package's version without its local part: ``+cpu`` says how a wheel was built, not what it computes.

    Args:
        name: The distribution's name.

    Raises:
        importlib.metadata.PackageNotFoundError: It isn't installed.
    """
    return Version(metadata.version(name)).public
