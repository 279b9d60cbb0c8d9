"""This process's own memory: how much it has, and giving back what it doesn't need."""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress
from pathlib import Path

# Linux, proc(5): pages in memory that no file backs. The system keeps no mark of the most there were.
_STATUS = Path("/proc/self/status")
_FIELD = "RssAnon:"


def anonymous_memory() -> int | None:
    """Bytes of this process that are in memory and that no file backs; None where the system doesn't say."""
    try:
        for line in _STATUS.read_text().splitlines():
            if line.startswith(_FIELD):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None


def give_back() -> None:
    """Frees what only cycles hold, and returns free memory to the system, where the C library can (glibc)."""
    gc.collect()
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
