"""This machine's processor: its name, precise enough to tell two machines apart, and how much of it may be used."""

from __future__ import annotations

import contextlib
import os
import platform
import re
from pathlib import Path

from ..errors import UsageError

# How many threads programs run with on this machine. Threads of a runtime's pool wait by spinning: with more of them
# than free processors, as where several jobs share a machine, a proof takes many times as long.
THREADS = "GEMCUT_THREADS"
_WIDTHS = ("avx512_vnni", "avx512f", "avx2")  # a virtual machine may hide what its processor has


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def host_threads() -> int:
    """Return how many threads a program runs with on this machine unless more is said.

    Returns:
        What the variable GEMCUT_THREADS says, else ``processors``.

    Raises:
        UsageError: The variable doesn't hold a positive integer.
    """
    said = os.environ.get(THREADS, "").strip()
    if said:
        if not (said.isascii() and said.isdigit() and int(said)):
            raise UsageError(
                f"{THREADS} is {said!r}, which isn't a number of threads", hint=f"Set {THREADS}=1, or unset it."
            )
        return int(said)
    return processors()


def processor() -> str:
    """Return the name of this machine's processor, as its maker has it."""
    with contextlib.suppress(OSError):
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        named = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
        if named:
            widest = next((name for name in _WIDTHS if re.search(rf"\b{name}\b", text)), "")
            return " ".join([platform.machine(), *named[1].split(), widest]).strip()
        part = re.findall(r"^CPU (?:implementer|part)\s*:\s*(\S+)$", text, re.MULTILINE)
        if part:
            return f"{platform.machine()} {' '.join(sorted(set(part)))}"
    return f"{platform.machine()} {platform.processor()}".strip()


def cpu_flags(cpuinfo: str) -> frozenset[str]:
    """The features of a processor: the first ``flags`` or ``Features`` line of ``/proc/cpuinfo``."""
    line = re.search(r"^(?:flags|Features)\s*:\s*(.*)$", cpuinfo, re.MULTILINE)
    return frozenset(line[1].split() if line else ())
