"""The C and C++ compilers and binutils for each architecture, from Debian's packages."""

from __future__ import annotations

import platform
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import ConformanceError, LackingError
from ...util import processes
from ...util.fetching import apt_command
from ...util.processes import Finished
from ..base import Need

SECONDS = 300.0  # for one call of a compiler, on a busy machine
_SHOWN = 400  # characters of a compiler's message


@dataclass(frozen=True)
class Symbol:
    """One dynamic symbol.

    Attributes:
        name: Its name, without the version.
        version: Its version node; empty if it has none.
        defined: Whether the library defines it rather than imports it.
        weak: Whether it is weak.
    """

    name: str
    version: str
    defined: bool
    weak: bool


def machine() -> str:
    """Return this machine's architecture, as Linux names it."""
    return {"AMD64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())


def prefix(arch: str) -> str:
    """Return the prefix of the tools' names; empty for this machine's own architecture."""
    return "" if arch == machine() else f"{arch}-linux-gnu-"


def emulator(arch: str) -> str | None:
    """Return the user-mode QEMU for an architecture; None if there is none."""
    return next((found for name in ("static", "") if (found := shutil.which(f"qemu-{arch}-{name}".strip("-")))), None)


def needs(arch: str) -> Iterator[Need]:
    """Yield what this machine lacks to build and run programs for an architecture."""
    foreign = arch != machine()
    debian = arch.replace("_", "-")
    compiler = f"g++-{debian}-linux-gnu" if foreign else "g++"
    if shutil.which(f"{prefix(arch)}g++") is None:
        yield Need(f"a C++ compiler for {arch}", apt_command((compiler,)), compiler)
    if shutil.which("readelf") is None:
        yield Need("readelf", apt_command(("binutils",)), "binutils")
    if foreign and emulator(arch) is None:
        yield Need("QEMU's user-mode emulation", apt_command(("qemu-user-static",)), "qemu-user-static")


def sysroot(arch: str) -> Path:
    """Return the folder that holds an architecture's libraries in ``lib``, for QEMU's -L.

    Raises:
        LackingError: There is no compiler.
    """
    done = call((f"{prefix(arch)}gcc", "-print-file-name=libc.so.6"))
    return Path(done.stdout.strip()).resolve().parent.parent


def identity(arch: str) -> str:
    """Return the compiler's version, for a cache's key."""
    return call((f"{prefix(arch)}gcc", "--version")).stdout.partition("\n")[0]


def attempt(command: Sequence[str], folder: Path | None = None) -> Finished:
    """Run a tool; its messages are in English, whatever the user's language.

    Raises:
        LackingError: It isn't installed, or takes too long.
    """
    try:
        return processes.run(command, SECONDS, folder, env={"LC_ALL": "C"})
    except ConformanceError as error:
        raise LackingError(error.message, hint="try again: this machine is busy") from error


def call(command: Sequence[str], folder: Path | None = None) -> Finished:
    """Run a tool that must succeed.

    Raises:
        LackingError: It isn't installed, or fails; the message has its first error.
    """
    done = attempt(command, folder)
    if done.code:
        lines = [line for line in done.stderr.splitlines() if "error" in line or "undefined" in line]
        said = (lines or done.stderr.splitlines() or ["it says nothing"])[0][:_SHOWN]
        raise LackingError(
            f"{Path(command[0]).name} fails: {said}",
            hint="run gemcut devices setup android-lib for Debian's version: this one may not fit",
        )
    return done


def symbols(file: Path) -> tuple[Symbol, ...]:
    """Return the dynamic symbols of a library of any architecture.

    Raises:
        LackingError: There is no readelf.
    """
    found = []
    for line in call(("readelf", "--dyn-syms", "--wide", str(file))).stdout.splitlines():
        # Num: Value Size Type Bind Vis Ndx Name[@[@]VERSION]
        parts = line.split()
        if len(parts) < 8 or not parts[0].rstrip(":").isdigit() or parts[4] == "LOCAL":
            continue
        name, _, version = parts[7].partition("@")
        found.append(Symbol(name, version.lstrip("@"), parts[6] != "UND", parts[4] == "WEAK"))
    return tuple(found)


def dynamic(file: Path) -> tuple[str, tuple[str, ...]]:
    """Return a library's own name (its file's, if it has none) and those of the libraries that it needs.

    Raises:
        LackingError: There is no readelf.
    """
    text = call(("readelf", "--dynamic", "--wide", str(file))).stdout
    own = re.search(r"\(SONAME\).*\[(.+)\]", text)
    return own[1] if own else file.name, tuple(re.findall(r"\(NEEDED\).*\[(.+)\]", text))
