"""The name of this machine's processor, precise enough to tell two machines apart."""

from __future__ import annotations

import contextlib
import platform
import re
from pathlib import Path

_WIDTHS = ("avx512_vnni", "avx512f", "avx2")  # a virtual machine may hide what its processor has


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
