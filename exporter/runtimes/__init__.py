"""Runtimes by name.

A runtime's parts are imported when they are used, so that an app team installs only the runtime that it ships.
"""

from __future__ import annotations

from ..errors import nearest
from ..util.registry import Registry
from .base import TABLE_KEYS, RuntimePlugin
from .options import RESERVED


def _misfit(name: str, plugin: RuntimePlugin) -> str:
    """Why a runtime of another distribution can't be used beside those that ship with Gemcut."""
    if plugin.name != name:
        return f"it calls itself '{plugin.name}'"
    if wrong := sorted(set(plugin.table_keys) - TABLE_KEYS):
        return f"table_keys has '{wrong[0]}': {nearest(wrong[0], sorted(TABLE_KEYS))}"
    taken = {option.name for other in RUNTIMES.packaged for option in RUNTIMES.get(other).options} | RESERVED
    if clash := sorted(taken & {option.name for option in plugin.options}):
        return f"its option '{clash[0]}' has the name of another"
    return ""


RUNTIMES: Registry[RuntimePlugin] = Registry(
    "runtime",
    "gemcut.runtimes",
    {
        "executorch": ".executorch:PLUGIN",
        "litert": ".litert:PLUGIN",
    },
    __name__,
    _misfit,
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
