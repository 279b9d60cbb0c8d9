"""What this machine can and can't do, and the command that mends it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

State = Literal["ok", "lacking", "note"]

EXTRA = "executorch"
OLDEST_PYTHON = (3, 11)
DISK_WANTED = 1e9  # bytes: the sample, its working copies and its bundle, with room to spare
MEMORY_WANTED = 3e9  # bytes: torch with transformers, and the sample's export
HUB_WAIT = 3.0  # seconds

# Name in /proc/cpuinfo -> what XNNPACK gains by it.
CPU_FEATURES = {
    "avx2": "AVX2",
    "avx512_vnni": "AVX-512 VNNI",
    "avx_vnni": "AVX VNNI",
    "amx_int8": "AMX",
    "asimd": "NEON",
    "asimddp": "dotprod",
    "i8mm": "i8mm",
    "sve": "SVE",
}
NEEDED_FEATURE = {"x86_64": "avx2", "AMD64": "avx2", "aarch64": "asimddp", "arm64": "asimddp"}


@dataclass(frozen=True)
class Check:
    """One thing looked at. state: 'lacking' stops an export here; 'note' doesn't. fix: a command, or nothing."""

    name: str
    state: State
    found: str
    fix: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """All checks. can_export: nothing that an export needs is lacking."""

    can_export: bool
    checks: tuple[Check, ...]


def examine(work: Path | None = None) -> Diagnosis:
    """Looks at Python, packages, processor, memory, disk and the way to the hub.

    Args:
        work: Where bundles would go; None for the present directory.
    """
    checks = (
        _python(),
        *_packages(),
        _processor(),
        _memory(),
        _disk(work or Path.cwd()),
        _cache(),
        _token(),
        _hub(),
    )
    return Diagnosis(all(check.state != "lacking" for check in checks), checks)


def _python() -> Check:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.version_info[:2] < OLDEST_PYTHON:
        wanted = ".".join(map(str, OLDEST_PYTHON))
        return Check("Python", "lacking", found, f"Install Python {wanted} or later.")
    return Check("Python", "ok", found)


def _packages() -> Iterator[Check]:
    """Each package of the extra against the version that the distribution asks for; none is imported."""
    from packaging.requirements import Requirement

    for line in importlib.metadata.requires("gemcut") or ():
        wanted = Requirement(line)
        base = wanted.marker is None or wanted.marker.evaluate({"extra": ""})
        if not base and not (wanted.marker and wanted.marker.evaluate({"extra": EXTRA})):
            continue
        yield _package(wanted.name, str(wanted.specifier), wanted.specifier.contains)


def _package(name: str, wanted: str, fits) -> Check:  # type: ignore[no-untyped-def]
    fix = f"pip install 'gemcut[{EXTRA}]'"
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return Check(name, "lacking", f"not installed; {wanted} is wanted", fix)
    if not fits(version, prereleases=True):
        return Check(name, "lacking", f"{version}; {wanted} is wanted", fix)
    return Check(name, "ok", f"{version} ({wanted})")


def cpu_features(text: str) -> list[str]:
    """The features that count, of a ``/proc/cpuinfo``: the names in its first flags or Features line."""
    line = re.search(r"^(?:flags|Features)\s*:\s*(.*)$", text, re.MULTILINE)
    present = set(line[1].split()) if line else set()
    return [name for name in CPU_FEATURES if name in present]


def _processor() -> Check:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return Check("processor", "note", f"{cores} cores; features can't be read on {platform.system()}")
    features = cpu_features(text)
    found = (
        f"{cores} cores; {', '.join(CPU_FEATURES[f] for f in features) or 'no vector features known to us'}"
    )
    needed = NEEDED_FEATURE.get(platform.machine())
    if needed and needed not in features:
        slow = f"{found}; without {CPU_FEATURES[needed]} bundles run several times slower here than on the target"
        return Check("processor", "note", slow)
    return Check("processor", "ok", found)


def _memory() -> Check:
    import psutil

    memory = psutil.virtual_memory()
    found = f"{memory.available / 1e9:.1f} of {memory.total / 1e9:.1f} GB free"
    if memory.available < MEMORY_WANTED:
        return Check("memory", "note", f"{found}; an export takes {MEMORY_WANTED / 1e9:.0f} GB and more",
                     "Close other programs; gemcut plan says what a model needs.")  # fmt: skip
    return Check("memory", "ok", found)


def _disk(work: Path) -> Check:
    free = shutil.disk_usage(work).free
    found = f"{free / 1e9:.1f} GB free here"
    if free < DISK_WANTED:
        return Check("disk", "lacking", f"{found}; {DISK_WANTED / 1e9:.0f} GB are wanted", "Free some space.")
    if not os.access(work, os.W_OK):
        return Check(
            "disk", "note", f"{found}, but {work} can't be written to", "Name another place with -o PATH."
        )
    return Check("disk", "ok", found)


def _cache() -> Check:
    try:
        from huggingface_hub import constants
    except ModuleNotFoundError:
        return Check("model cache", "note", "no huggingface_hub: models come from directories alone",
                     f"pip install 'gemcut[{EXTRA}]'")  # fmt: skip
    folder = Path(constants.HF_HUB_CACHE)
    present = next(p for p in (folder, *folder.parents) if p.exists())
    if not os.access(present, os.W_OK):
        return Check("model cache", "note", f"{folder} can't be written to",
                     "Set HF_HOME to a folder that can.")  # fmt: skip
    return Check("model cache", "ok", str(folder))


def _token() -> Check:
    """Whether there is a token, never which."""
    try:
        from huggingface_hub import get_token
    except ModuleNotFoundError:
        return Check("hub token", "note", "no huggingface_hub", f"pip install 'gemcut[{EXTRA}]'")
    if get_token() is None:
        return Check("hub token", "note", "none: gated models can't be fetched", "hf auth login")
    return Check("hub token", "ok", "present")


def _hub() -> Check:
    """Whether the hub answers at all; any answer will do."""
    try:
        from huggingface_hub import constants
    except ModuleNotFoundError:
        return Check("hub", "note", "no huggingface_hub", f"pip install 'gemcut[{EXTRA}]'")
    if constants.HF_HUB_OFFLINE:
        return Check(
            "hub", "note", "HF_HUB_OFFLINE is set: only what is in the cache", "unset HF_HUB_OFFLINE"
        )
    reason = _unreachable(constants.ENDPOINT)
    if reason:
        return Check("hub", "note", f"{constants.ENDPOINT} can't be reached: {reason}",
                     "Name a model's directory, or set HF_ENDPOINT to a mirror.")  # fmt: skip
    return Check("hub", "ok", f"{constants.ENDPOINT} answers")


def _unreachable(endpoint: str) -> str:
    """Why the endpoint can't be reached; empty where it answers, be it with an error."""
    import urllib.error
    import urllib.request

    try:
        with urllib.request.urlopen(urllib.request.Request(endpoint, method="HEAD"), timeout=HUB_WAIT):
            return ""
    except urllib.error.HTTPError:
        return ""
    except (OSError, ValueError) as error:
        return str(getattr(error, "reason", error))
