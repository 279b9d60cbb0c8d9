"""The golden runners as they are put on a device behind adb: with their libraries, a C library and its loader."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from ..errors import ConformanceError, LackingError
from ..prove.wire import last_object
from ..runtimes.golden_runner import NativeGoldenRunner
from ..util import processes
from ..util.fetching import apt_command, missing_packages
from ..util.processes import Finished
from ..util.progress import Progress
from .base import Facts, Need

FOLDER = "runtime"  # within the device's folder
LOADERS = {"aarch64": "ld-linux-aarch64.so.1", "x86_64": "ld-linux-x86-64.so.2"}
# What the wheel's libraries and the runner may need of the system, whether or not one of them does today.
_SYSTEM = ("libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libstdc++.so.6", "libgcc_s.so.1")
_ASK = 30.0


def need_packages(*names: str) -> tuple[Need, ...]:
    """Return a need for each of these Debian packages that isn't installed."""
    return tuple(Need(name, apt_command((name,)), name) for name in missing_packages(*names))


def stage(machine: str, compiler: str, built: Path, out: Path) -> None:
    """Put the native runner, its libraries, and the compiler's C library with its loader in one folder.

    Args:
        machine: 'aarch64' or 'x86_64'.
        compiler: The compiler that built the runner.
        built: The folder that the runner's ``build`` made.
        out: The folder, which is created.

    Raises:
        LackingError: The compiler lacks a library.
    """
    out.mkdir(parents=True)
    for path in built.iterdir():
        if path.is_file():
            shutil.copy(path, out / path.name)
    for name in (LOADERS[machine], *_SYSTEM):
        found = Path(processes.run((compiler, f"-print-file-name={name}"), _ASK).stdout.strip())
        if not found.is_absolute():  # GCC's way of saying that it has none
            raise LackingError(f"{compiler} has no {name}", hint="reinstall the compiler's package")
        shutil.copy(found, out / name)
    (out / LOADERS[machine]).chmod(0o755)


def stage_native(runner: NativeGoldenRunner, machine: str, work: Path, progress: Progress) -> Path:
    """Build a native golden runner for a machine unless it is cached, and put all that it needs in one folder."""
    out = work / FOLDER
    stage(machine, runner.compiler(machine), runner.build(machine, progress), out)
    return out


def native_command(runner: NativeGoldenRunner, machine: str) -> tuple[str, ...]:
    """Return the runner's command, as seen from the device's folder."""
    return (f"{FOLDER}/{LOADERS[machine]}", "--library-path", FOLDER, f"{FOLDER}/{runner.executable}")


def with_runtime(facts: Facts, runtime: str, done: Finished) -> Facts:
    """Return facts with what a golden runner's ``facts`` printed.

    Raises:
        ConformanceError: It printed nothing: it doesn't run there.
    """
    said = last_object(done.stdout)
    if done.code or not said:
        log = " / ".join(done.stderr.strip().splitlines()[-3:]) or f"exit code {done.code}"
        raise ConformanceError(f"the {runtime} runner doesn't run on {facts.system} ({facts.architecture}): {log}")
    return replace(
        facts,
        runtimes={runtime: str(said.get("version") or "unknown")},
        kernels=tuple(said.get("kernels", ())),
        backends=tuple(said.get("backends", ())),
        features=facts.features or tuple(said.get("features", ())),
    )
