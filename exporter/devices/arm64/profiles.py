"""CPU profiles: the processors that user-mode emulation can play, one TOML file each, data only."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import ConfigDict, Field, model_validator

from ...config import toml_file as datafile
from ...errors import GemcutError, UnsupportedError, UsageError, nearest
from ...util.platform import cpu_flags

DEFAULT = "cortex-a76"
BROKEN = "max"
EMULATORS = ("qemu-aarch64-static", "qemu-aarch64")  # the name in Debian 12, and since Debian 13
_HINT = "See exporter/devices/arm64/profiles/ for examples, and docs/reference/devices.md for what a profile holds."


class ProfileFile(datafile.DataFile):
    """What a profile's TOML file holds. The profile's name is the file's name."""

    model_config = ConfigDict(title="Gemcut CPU profile")

    description: str = Field(min_length=1, description="What it is and where it is found, in one line.")
    qemu_cpu: str = Field(min_length=1, description="The processor, as QEMU's -cpu takes it.")
    oldest_qemu: str = Field(default="", pattern=r"^(\d+\.\d+)?$", description="The first QEMU release that knows it.")
    cpuinfo: str = Field(min_length=1, description="What /proc/cpuinfo says on it, with one core.")

    @model_validator(mode="after")
    def _consistent(self) -> ProfileFile:
        if not cpu_flags(self.cpuinfo):
            raise ValueError("cpuinfo has no line 'Features'")
        return self


@dataclass(frozen=True)
class Profile:
    """A processor to play.

    Attributes:
        name: The file's name.
        description: What it is, in one line.
        qemu_cpu: The value of QEMU's -cpu.
        cpuinfo: What the guest reads in /proc/cpuinfo; if it claims more than ``qemu_cpu`` has, a run ends in SIGILL.
        oldest_qemu: The first QEMU release that knows the processor; empty for any.
        path: The file.
    """

    name: str
    description: str
    qemu_cpu: str
    cpuinfo: str
    oldest_qemu: str = ""
    path: Path | None = None

    @property
    def features(self) -> tuple[str, ...]:
        """The processor's features, as Linux names them, sorted."""
        return tuple(sorted(cpu_flags(self.cpuinfo)))


def profile_files() -> dict[str, Path]:
    """Return the shipped profiles: name -> file, sorted by name."""
    return datafile.shipped(__package__, "profiles")


def names() -> tuple[str, ...]:
    """Return the names of the shipped profiles."""
    return tuple(profile_files())


def load(name_or_file: str) -> Profile:
    """Load a shipped profile by name, or the user's own TOML file: a text with a slash, or one that ends in ``.toml``.

    Raises:
        UnsupportedError: The name is unknown, and the message has the nearest; or it is ``max``.
        UsageError: The file doesn't exist, isn't TOML, or lacks something.
    """
    path = _locate(name_or_file)
    try:
        read = datafile.read(path, ProfileFile, "profile")
    except GemcutError as error:
        error.hint = _HINT
        raise
    return Profile(path.stem, read.description, read.qemu_cpu, read.cpuinfo.lstrip("\n"), read.oldest_qemu, path)


def _locate(name_or_file: str) -> Path:
    if name_or_file.endswith(".toml") or "/" in name_or_file:
        path = Path(name_or_file).expanduser()
        if not path.is_file():
            raise UsageError(f"there is no profile at {path}", hint=_HINT)
        return path
    known = profile_files()
    if name_or_file == BROKEN:
        raise UnsupportedError(
            "arm64-user doesn't take 'max': QEMU 7.2 computes its matrix extension (SME) wrongly, by whole units of "
            "int8 results, and no real processor is like it",
            hint=f"choose one of {', '.join(known)}",
        )
    if name_or_file not in known:
        raise UnsupportedError(f"unknown CPU profile '{name_or_file}': {nearest(name_or_file, known)}", hint=_HINT)
    return known[name_or_file]


def emulator() -> str | None:
    """Return QEMU's user-mode emulator for arm64; None if there is none."""
    return next((found for found in map(shutil.which, EMULATORS) if found), None)


@cache
def qemu_version(program: str) -> str:
    """Return an emulator's version, such as ``7.2.22``; empty if it doesn't say."""
    found = re.search(r"version (\d+(?:\.\d+)+)", _output_of(program, "--version"))
    return found[1] if found else ""


@cache
def knows(program: str, cpu: str) -> bool:
    """Return whether an emulator has a CPU, given as ``-cpu`` takes it, with what may follow a comma."""
    return cpu.partition(",")[0] in _output_of(program, "-cpu", "help").split()


def _output_of(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30).stdout
