"""Runtimes by name. A runtime's parts are imported when they are used, so that an app team installs only its own."""

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
DEFAULT = RUNTIMES.packaged[0]  # what --runtime takes unless told


def runtime_names() -> tuple[str, ...]:
    """Return the names that ``--runtime`` takes."""
    return RUNTIMES.names()


def find_runtime(name: str) -> RuntimePlugin:
    """Return the runtime called ``name``, whether or not it is installed.

    Raises:
        UnsupportedError: There is none of that name; the message has the nearest.
    """
    return RUNTIMES.get(name)


def get_runtime(name: str) -> RuntimePlugin:
    """Return the runtime called ``name``, which is installed.

    Raises:
        UnsupportedError: There is none of that name; the message has the nearest.
        LackingError: Its package isn't installed, or is another release than Gemcut holds for.
    """
    runtime = RUNTIMES.get(name)
    runtime.version()
    return runtime
