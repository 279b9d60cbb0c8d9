"""What this machine can and can't do, runtime by runtime, and the command that fixes it.

What a runtime needs is read from the distribution's own extra of that name, so that pip and the doctor never disagree.
No package is imported.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from .errors import LackingError
from .runtimes import RUNTIMES, find_runtime, runtime_names
from .util.packages import install_command
from .util.platform import cpu_flags as flags_of
from .util.platform import processors

if TYPE_CHECKING:
    from packaging.requirements import Requirement

State = Literal["ok", "lacking", "note"]

SHARED = "export"  # the extra of what all runtimes need
OLDEST_PYTHON = (3, 11)
DISK_WANTED = 1e9  # bytes: the sample, its working copies and its bundle, with room to spare
MEMORY_WANTED = 3e9  # bytes: torch with transformers, and the sample's export
HUB_WAIT = 3.0  # seconds

# Name in /proc/cpuinfo of each feature that XNNPACK gains from -> its common name.
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
    """One thing that was examined.

    Attributes:
        name: What was examined.
        state: ``ok``; ``lacking``, which prevents an export here; or ``note``, which doesn't.
        found: What was found.
        fix: A command or an instruction that fixes it; empty if there is none.
    """

    name: str
    state: State
    found: str
    fix: str = ""


@dataclass(frozen=True)
class RuntimeState:
    """What a runtime can do on this machine.

    Attributes:
        name: The runtime's name.
        can_export: Whether bundles can be exported to it.
        can_run: Whether its bundles can be run (validate, chat, bench).
        found: What was found, in words.
        lacking: The packages that are missing or have the wrong version.
        fix: The command that installs them; empty if there is none.
    """

    name: str
    can_export: bool
    can_run: bool
    found: str
    lacking: tuple[str, ...] = ()
    fix: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """Everything that was examined.

    Attributes:
        can_export: Whether an export to at least one runtime is possible, and nothing else that it needs is lacking.
        runtimes: The state of each runtime.
        checks: Everything else that was examined.
    """

    can_export: bool
    runtimes: tuple[RuntimeState, ...]
    checks: tuple[Check, ...]


def examine(work: Path | None = None) -> Diagnosis:
    """Examine Python, runtimes and their packages, processor, memory, disk and the connection to the hub.

    Args:
        work: Where bundles would go; None for the present directory.
    """
    runtimes = tuple(_runtime(name) for name in runtime_names())
    exports = any(runtime.can_export for runtime in runtimes)
    checks = (
        _python(),
        *_packages(runtimes),
        _processor(),
        _memory(),
        _disk(work or Path.cwd()),
        _cache(),
        _token(),
        _hub(),
        *_devices(),
    )
    return Diagnosis(exports and all(check.state != "lacking" for check in checks), runtimes, checks)


def _python() -> Check:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.version_info[:2] < OLDEST_PYTHON:
        wanted = ".".join(map(str, OLDEST_PYTHON))
        return Check("Python", "lacking", found, f"Install Python {wanted} or later.")
    return Check("Python", "ok", found)


def _runtime(name: str) -> RuntimeState:
    try:
        runtime = find_runtime(name)
    except LackingError as error:  # a plugin of another distribution that can't be imported
        return RuntimeState(name, False, False, error.message, (), error.hint or "")
    lacking = tuple(each.name for each in requirements(runtime.extra) if _unsatisfied(each))
    obstacle = runtime.run_obstacle()
    if obstacle:
        return RuntimeState(name, False, False, f"needs {obstacle}, which this processor doesn't have", lacking)
    if not _installed(name):
        return RuntimeState(name, False, False, "not installed", lacking, runtime.install)
    if set(lacking) - set(runtime.export_only):
        return RuntimeState(name, False, False, f"lacks {', '.join(lacking)}", lacking, runtime.install)
    if lacking:
        found = f"runs bundles; exporting needs {', '.join(lacking)}"
        return RuntimeState(name, False, True, found, lacking, runtime.install)
    if runtime.export_obstacle():
        return RuntimeState(name, False, True, f"runs bundles; {runtime.export_obstacle()}")
    return RuntimeState(name, True, True, "exports and runs bundles")


def install(*extras: str) -> str:
    """Return the command that installs what these extras name, such as runtimes that ship with Gemcut."""
    return install_command(*extras)


def requirements(extra: str = "") -> tuple[Requirement, ...]:
    """Return what the distribution requires on this machine: always, or only for an extra and the extras it includes.

    A requirement with only an upper bound is left out: its purpose is to help pip find versions that agree.
    """
    from packaging.requirements import Requirement

    found: dict[str, Requirement] = {}
    for line in importlib.metadata.requires("gemcut") or ():
        each = Requirement(line)
        always = each.marker is None or each.marker.evaluate({"extra": ""})
        if always == bool(extra) or (each.marker is not None and not each.marker.evaluate({"extra": extra})):
            continue
        if each.name == "gemcut":
            found.update((other.name, other) for taken in sorted(each.extras) for other in requirements(taken))
        elif any(clause.operator not in ("<", "<=", "!=") for clause in each.specifier):
            found[each.name] = each
    return tuple(found.values())


def _installed(runtime: str) -> bool:
    try:
        return any(_version(name) for name in find_runtime(runtime).distributions)
    except LackingError:
        return False


def _packages(runtimes: Sequence[RuntimeState]) -> Iterator[Check]:
    """Compares each package with the version that the distribution requires.

    A runtime that isn't installed at all gets no line for each of its packages, unless no runtime is installed.
    """
    present = [runtime.name for runtime in runtimes if _installed(runtime.name)] or [runtimes[0].name]
    enough = any(runtime.can_export for runtime in runtimes)
    common = (*requirements(), *requirements(SHARED))
    ours = [name for name in present if name in RUNTIMES.packaged] or [SHARED]
    yield from (_package(each, "lacking", install(*ours)) for each in common)
    seen = {each.name for each in common}
    for name in present:
        mine = [each for each in requirements(name) if each.name not in seen]
        yield from (_package(each, "note" if enough else "lacking", install(name)) for each in mine)


def _package(wanted: Requirement, otherwise: State, fix: str) -> Check:
    version, asked = _version(wanted.name), str(wanted.specifier)
    if not _unsatisfied(wanted):
        return Check(wanted.name, "ok", f"{version} ({asked})")
    return Check(wanted.name, otherwise, f"{version or 'not installed'}; {asked} is required", fix)


def _unsatisfied(wanted: Requirement) -> bool:
    """Whether a package is missing, or doesn't have the version that is required."""
    version = _version(wanted.name)
    return version is None or not wanted.specifier.contains(version, prereleases=True)


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def cpu_features(text: str) -> list[str]:
    """Return the features that matter, from the first flags or Features line of a ``/proc/cpuinfo``."""
    present = flags_of(text)
    return [name for name in CPU_FEATURES if name in present]


def _processor() -> Check:
    cores = processors()
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return Check("processor", "note", f"{cores} cores; features can't be read on {platform.system()}")
    features = cpu_features(text)
    found = f"{cores} cores; {', '.join(CPU_FEATURES[f] for f in features) or 'no known vector features'}"
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
        found += f"; an export takes at least {MEMORY_WANTED / 1e9:.0f} GB"
        return Check("memory", "note", found, "Close other programs; gemcut plan estimates what a model needs.")
    return Check("memory", "ok", found)


def _disk(work: Path) -> Check:
    free = shutil.disk_usage(work).free
    found = f"{free / 1e9:.1f} GB free here"
    if free < DISK_WANTED:
        return Check("disk", "lacking", f"{found}; {DISK_WANTED / 1e9:.0f} GB are needed", "Free some space.")
    if not os.access(work, os.W_OK):
        return Check("disk", "note", f"{found}, but {work} isn't writable", "Name another place with -o PATH.")
    return Check("disk", "ok", found)


def _cache() -> Check:
    try:
        from huggingface_hub import constants
    except ModuleNotFoundError:
        missing = "no huggingface_hub: models can only come from directories"
        return Check("model cache", "note", missing, install(runtime_names()[0]))
    folder = Path(constants.HF_HUB_CACHE)
    present = next(p for p in (folder, *folder.parents) if p.exists())
    if not os.access(present, os.W_OK):
        return Check("model cache", "note", f"{folder} isn't writable", "Set HF_HOME to a folder that is.")
    return Check("model cache", "ok", str(folder))


def _devices() -> Iterator[Check]:
    """Devices on which bundles can be proven besides this machine; an export needs none of them."""
    from .devices import DEVICES
    from .devices.setup import lacking_for

    for kind in DEVICES:
        if not kind.is_host:
            lacking = lacking_for(kind)
            if lacking:
                found = f"lacks {', '.join(lacking)}"
                yield Check(kind.name, "note", found, f"gemcut devices setup {kind.name}")
            else:
                yield Check(kind.name, "ok", f"can prove bundles: {kind.proves}")


def _token() -> Check:
    """Whether there is a token; the token itself is never shown."""
    try:
        from huggingface_hub import get_token
    except ModuleNotFoundError:
        return Check("hub token", "note", "no huggingface_hub", install(runtime_names()[0]))
    if get_token() is None:
        return Check("hub token", "note", "none: gated models can't be fetched", "hf auth login")
    return Check("hub token", "ok", "present")


def _hub() -> Check:
    """Whether the hub answers at all; any answer counts."""
    try:
        from huggingface_hub import constants
    except ModuleNotFoundError:
        return Check("hub", "note", "no huggingface_hub", install(runtime_names()[0]))
    if constants.HF_HUB_OFFLINE:
        found = "HF_HUB_OFFLINE is set: only models in the cache can be used"
        return Check("hub", "note", found, "unset HF_HUB_OFFLINE")
    reason = _unreachable(constants.ENDPOINT)
    if reason:
        found = f"{constants.ENDPOINT} can't be reached: {reason}"
        return Check("hub", "note", found, "Name a model's directory, or set HF_ENDPOINT to a mirror.")
    return Check("hub", "ok", f"{constants.ENDPOINT} answers")


def _unreachable(endpoint: str) -> str:
    """Why the endpoint can't be reached; empty if it answers, even with an error."""
    import urllib.error
    import urllib.request

    try:
        with urllib.request.urlopen(urllib.request.Request(endpoint, method="HEAD"), timeout=HUB_WAIT):
            return ""
    except urllib.error.HTTPError:
        return ""
    except (OSError, ValueError) as error:
        return str(getattr(error, "reason", error))
