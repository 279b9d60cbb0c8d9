"""Runtimes by name. A runtime's module is imported when it is asked for, so that an app team installs only its own."""

from __future__ import annotations

from importlib import import_module

from ..errors import UnsupportedError, nearest
from .base import Runtime

_MODULES = {"executorch": ".executorch", "litert": ".litert"}


def runtime_names() -> tuple[str, ...]:
    """Names that ``--runtime`` takes."""
    return tuple(sorted(_MODULES))


def get_runtime(name: str) -> Runtime:
    """Returns the runtime called ``name``.

    Raises:
        UnsupportedError: there is none of that name.
        LackingError: its package isn't installed.
    """
    if name not in _MODULES:
        raise UnsupportedError(f"Unknown runtime '{name}'.", hint=nearest(name, _MODULES))
    runtime: Runtime = import_module(_MODULES[name], __package__).RUNTIME
    runtime.version()
    return runtime
