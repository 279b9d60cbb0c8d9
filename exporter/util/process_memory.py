"""This process's own memory: how much it uses, and how to return what it doesn't need."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

# Linux, proc(5): pages in memory that no file backs. The system keeps no mark of the most there were.
_STATUS = Path("/proc/self/status")
_FIELD = "RssAnon"
# What lies in memory alone although it has the form of a file (memfd_create(2), shm_overview(7)).
_SHARED = ("/memfd:", "/dev/", "/SYSV")
# For gc.set_threshold: new objects before the youngest generation is collected, and how many collections of each
# generation come before one of the next.
_THRESHOLDS = (100_000, 5, 5)


def anonymous_memory() -> int | None:
    """Return the bytes of this process that are in memory and that no file backs; None if the system doesn't say."""
    return _status().get(_FIELD)


def _status() -> Mapping[str, int]:
    """The sizes of this process, in bytes, by their name in proc(5); empty if there is no /proc."""
    found = {}
    with suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            name, _, value = line.partition(":")
            if value.endswith(" kB"):
                found[name] = int(value.split()[0]) * 1024
    return found


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
    if (most := _status().get("VmHWM")) is not None:
        return most
    import resource

    taken = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return taken if sys.platform == "darwin" else taken * 1024


@dataclass(frozen=True)
class MemoryUse:
    """What something added to this process's memory, in bytes.

    Attributes:
        memory_before: What was resident before it.
        peak_memory: The most that was resident at any time, less ``memory_before``.
        own_memory: The most that no file backed when it was looked at, less what there was before; None if the system
            doesn't say.
        mapped_memory: The most that was mapped of files without code (programs, caches of weights) when it was looked
            at, less what there was before; None if the system doesn't say.
    """

    memory_before: int
    peak_memory: int
    own_memory: int | None
    mapped_memory: int | None


class MemoryMeter:
    """Measures what is added to this process's memory from now on.

    The peak is the kernel's own mark, which is put back to what is resident now (proc(5), clear_refs); where that can't
    be done it starts from the most that there ever was. Of own and mapped memory the kernel keeps no mark: they are
    looked at. golden_runner/memory.cpp does the same in C++.
    """

    def __init__(self) -> None:
        give_back()
        self._own, self._mapped = _own(), _mapped()
        self._most_own, self._most_mapped = self._own or 0, self._mapped or 0
        try:
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
            self._before = _status()["VmRSS"]
        except (OSError, KeyError):
            self._before = peak_memory()

    def look(self) -> None:
        """Look at own and mapped memory; it takes milliseconds."""
        self._most_own = max(self._most_own, _own() or 0)
        self._most_mapped = max(self._most_mapped, _mapped() or 0)

    def use(self) -> MemoryUse:
        """Return what was added so far, with a last look."""
        most = peak_memory()
        self.look()
        return MemoryUse(
            self._before,
            max(0, most - self._before),
            None if self._own is None else self._most_own - self._own,
            None if self._mapped is None else self._most_mapped - self._mapped,
        )


def _own() -> int | None:
    found = _status()
    return found[_FIELD] + found.get("RssShmem", 0) if _FIELD in found else None


def _mapped() -> int | None:
    """The bytes in memory of files that are mapped and of which no part is code."""
    try:
        lines = Path("/proc/self/smaps").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    found: dict[str, int] = {}
    code = {""}
    file = ""
    for line in lines:
        words = line.split(maxsplit=5)
        if not words[0].endswith(":"):  # the head of a mapping: addresses, rights, offset, device, inode, path
            backed = words[4] != "0" and len(words) > 5 and not words[5].startswith(_SHARED)
            file = f"{words[3]} {words[4]}" if backed else ""
            if "x" in words[1]:
                code.add(file)
        elif words[0] == "Rss:":
            found[file] = found.get(file, 0) + int(words[1]) * 1024
        elif words[0] == "Anonymous:":  # pages of a private mapping that were written to
            found[file] = found.get(file, 0) - int(words[1]) * 1024
    return sum(count for file, count in found.items() if file not in code)
