"""This process's own memory: how much it uses, and how to return what it doesn't need."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# Linux, proc(5): pages in memory that no file backs. The system keeps no mark of the most there were.
_STATUS = Path("/proc/self/status")
_FIELD = "RssAnon:"
# For gc.set_threshold: new objects before the youngest generation is collected, and how many collections of each
# generation come before one of the next.
_THRESHOLDS = (100_000, 5, 5)


def anonymous_memory() -> int | None:
    """Return the bytes of this process that are in memory and that no file backs; None if the system doesn't say."""
    try:
        for line in _STATUS.read_text().splitlines():
            if line.startswith(_FIELD):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None


@contextmanager
def collected_seldom() -> Iterator[None]:
    """Within the block Python's cyclic collector runs seldom, for what imports and graphs make lives long.

    With its usual thresholds it took a fifth of an export. What should be freed sooner asks for it: ``give_back``.
    """
    before = gc.get_threshold()
    gc.set_threshold(*_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)


@contextmanager
def never_collected() -> Iterator[None]:
    """What is there when the block begins, such as modules, is left alone by the collector until its end."""
    frozen = gc.get_freeze_count()
    if not frozen:  # else what there is was frozen by someone else, who may count on it
        gc.freeze()
    try:
        yield
    finally:
        if not frozen:
            gc.unfreeze()


def give_back() -> None:
    """Free what only cycles hold, and return free memory to the system if the C library can (glibc)."""
    gc.collect()
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def peak_memory() -> int:
    """Return the most bytes that this process has had resident.

    They are read from VmHWM if there is a /proc: ``ru_maxrss`` starts from what the parent process had there.
    """
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
