"""What this machine has for an export: the memory that a process can still take, and disk."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_GROUPS = Path("/proc/self/cgroup")
_CGROUP = Path("/sys/fs/cgroup")
# Version 1 writes the largest number of pages if there is no limit.
_NO_LIMIT = 1 << 60


@dataclass(frozen=True)
class Machine:
    """Memory and disk of this machine.

    Attributes:
        memory: Bytes that this process can have, including those that it has.
        limit: What limits the memory, in words.
        disk: Bytes that are free on the disk.
    """

    memory: int
    limit: str
    disk: int


def this_machine(place: Path) -> Machine:
    """Return what this machine has now.

    Args:
        place: Where an export would write; it need not exist yet.
    """
    import psutil

    from ..util.process_memory import anonymous_memory

    free = psutil.virtual_memory().available + psutil.swap_memory().free
    limits = [(free, "that is what is free, with swap"), *_cgroup_limits(), *_ulimits()]
    left, limit = min(limits)
    present = next(p for p in (place, *place.parents) if p.exists())
    return Machine(max(0, left) + (anonymous_memory() or 0), limit, shutil.disk_usage(present).free)


def _ulimits() -> Iterator[tuple[int, str]]:
    """What is left of the limits that ``ulimit -v`` and ``ulimit -d`` set."""
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return
    import psutil

    used = psutil.Process().memory_info()
    for name, flag, size in (("RLIMIT_AS", "-v", used.vms), ("RLIMIT_DATA", "-d", getattr(used, "data", 0))):
        soft, _ = resource.getrlimit(getattr(resource, name))
        if soft != resource.RLIM_INFINITY:
            yield soft - size, f"ulimit {flag}"


def _cgroup_limits() -> Iterator[tuple[int, str]]:
    """What is left of the memory limits of this process's control groups, of both versions (cgroups(7))."""
    try:
        lines = _GROUPS.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            yield from _group_limits(_CGROUP, path, "memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            root, names = _CGROUP / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes")
            yield from _group_limits(root, path, *names, "total_inactive_file")


def _group_limits(root: Path, path: str, limit: str, usage: str, cached: str) -> Iterator[tuple[int, str]]:
    """What is left of the limits of a group and all above it; in a container its own may be the visible root."""
    folder = root / path.lstrip("/")
    for group in (folder, *folder.parents):
        most = _number(group / limit)
        if most is not None and most < _NO_LIMIT:
            used = (_number(group / usage) or 0) - _droppable(group / "memory.stat", cached)
            yield most - used, f"the memory limit of the control group ({group / limit})"
        if group == root:
            break


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):  # "max": no limit is set
        return None


def _droppable(file: Path, name: str) -> int:
    """Bytes of files' pages in a group, which count as used until another process needs the room."""
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith(f"{name} "))
