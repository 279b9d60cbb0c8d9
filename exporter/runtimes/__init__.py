"""Runtimes by name.

A runtime's parts are imported when they are used, so that an app team installs only the runtime that it ships.
"""

from __future__ import annotations

from ..util.registry import Registry
from .base import RuntimePlugin

RUNTIMES: Registry[RuntimePlugin] = Registry(
    "runtime",
    "gemcut.runtimes",
    {
        "executorch": ".executorch:PLUGIN",
        "litert": ".litert:PLUGIN",
    },
    __name__,
)
DEFAULT = RUNTIMES.packaged[0]  # the value of --runtime if it isn't given


def runtime_names() -> tuple[str, ...]:
    """Return the names that ``--runtime`` takes."""
    return RUNTIMES.names()


def find_runtime(name: str) -> RuntimePlugin:
    """Return the runtime called ``name``, whether or not it is installed.

    Raises:
        UnsupportedError: No runtime has that name; the message names the nearest.
    """
    return RUNTIMES.get(name)


def get_runtime(name: str) -> RuntimePlugin:
    """Return the runtime called ``name`` after a check that it is installed.

    Raises:
        UnsupportedError: No runtime has that name; the message names the nearest.
        LackingError: Its package isn't installed, or is a release that Gemcut doesn't support.
    """
    runtime = RUNTIMES.get(name)
    runtime.version()
    return runtime
