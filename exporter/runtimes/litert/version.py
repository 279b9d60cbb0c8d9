"""Which releases of LiteRT's packages this code supports, and which machines they run on."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ...errors import LackingError
from ...util.packages import install_command
from ...util.platform import cpu_flags

# Distribution -> release. litert-lm-api holds the module litert_lm; litert-lm itself is the command line of it.
RUNTIME = {"ai-edge-litert": "2.3", "litert-lm-api": "0.18", "litert-lm-builder": "0.18"}
EXPORTER = {"litert-torch": "0.10"}
ENGINE = "litert-lm-api"
# Distributions that a golden runner needs on a device, and the versions that this code supports.
DEVICE_WHEELS = (("ai-edge-litert", "2.3.0"), ("litert-lm-api", "0.18.1"), ("numpy", "2.4.6"))

# (sys.platform, machine) that litert-converter 0.5, which litert-torch needs, has wheels for; as pyproject.toml has it.
EXPORTER_PLATFORMS = (("linux", "x86_64"), ("darwin", "arm64"))
WHERE = "Linux x86-64 or a Mac with Apple silicon"
# Machine -> the flag of /proc/cpuinfo without which the wheels' code dies of an illegal instruction, and its name.
# x86-64: LiteRT-LM 0.18.1 says "This binary was compiled with avx enabled" under qemu without it; AVX2 isn't needed.
# aarch64: the wheels are built with LSE atomics, which the Cortex-A72 (Raspberry Pi 4) and older cores lack.
NEEDED_FLAGS = {"x86_64": ("avx", "AVX"), "aarch64": ("atomics", "LSE atomics")}


def require_runtime() -> str:
    """Check that LiteRT bundles can be run here.

    Returns:
        The version that manifests record: LiteRT-LM's, such as ``0.18.1``. It is the engine that opens a
        ``.litertlm``, the package that an app depends on, and so the unit of a target's ``oldest_runtime``.
        ``versions`` has the others.

    Raises:
        LackingError: A package is missing or isn't the supported release, or the processor lacks an instruction set.
    """
    missing = lacking_instructions()
    if missing:
        raise LackingError(
            f"LiteRT's packages need {missing}, which this processor doesn't have.",
            hint="Run the bundle on another machine.",
        )
    for name, release in RUNTIME.items():
        _require(name, release)
    return version(ENGINE)


def require_exporter() -> str:
    """Check that LiteRT bundles can be made here, which includes running them.

    Returns:
        As ``require_runtime``.

    Raises:
        LackingError: As ``require_runtime``; or litert-torch is missing, isn't the supported release, or has no wheels
            for this platform.
    """
    engine = require_runtime()
    for name, release in EXPORTER.items():
        if _installed(name) is None and not can_have_exporter():
            raise LackingError(no_exporter(), hint=f"Export on {WHERE}; the bundles run on this machine too.")
        _require(name, release)
    return engine


def versions() -> dict[str, str]:
    """Return the installed version of each LiteRT package that this code calls; missing packages are left out."""
    found = {name: _installed(name) for name in (*RUNTIME, *EXPORTER)}
    return {name: installed for name, installed in found.items() if installed is not None}


def can_have_exporter(system: str = sys.platform, machine: str | None = None) -> bool:
    """Return whether litert-torch can be installed on such a machine; on this one by default."""
    return (system, machine or platform.machine()) in EXPORTER_PLATFORMS


def no_exporter() -> str:
    """Return why litert-torch can't be installed here, as a sentence."""
    here = f"{platform.system()} {platform.machine()}"
    return f"litert-torch can't be installed on {here}: litert-converter, which it needs, has no wheels for it."


def lacking_instructions(cpuinfo: str | None = None, machine: str | None = None) -> str:
    """Return the instruction set that LiteRT's wheels need and this processor lacks; empty if it lacks none.

    Args:
        cpuinfo: The text of ``/proc/cpuinfo``; None to read it. Without such a file (macOS), nothing is known to be
            missing.
        machine: What ``platform.machine()`` returns; None for this machine.
    """
    if cpuinfo is None:
        try:
            cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
    flag, name = NEEDED_FLAGS.get(machine or platform.machine(), ("", ""))
    flags = cpu_flags(cpuinfo)
    return name if flag and flags and flag not in flags else ""


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _require(name: str, release: str) -> None:
    installed = _installed(name)
    hint = install_command("litert")
    if installed is None:
        raise LackingError(f"{name} isn't installed; Gemcut needs {release}.x for LiteRT.", hint=hint)
    if not installed.startswith(release + "."):
        raise LackingError(f"{name} {installed} is installed, but Gemcut needs {release}.x for LiteRT.", hint=hint)
