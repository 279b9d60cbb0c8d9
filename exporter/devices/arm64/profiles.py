"""CPU profiles: which processor user-mode emulation plays, one TOML file each, data only."""

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
EMULATORS = ("qemu-aarch64-static", "qemu-aarch64")  # Debian 12's name, and that since Debian 13
_HINT = "The profiles beside exporter/devices/arm64/profiles.py show what one holds; docs/devices.md explains it."


class ProfileFile(datafile.DataFile):
    """What a profile's TOML file holds. Its name is the file's name."""

    model_config = ConfigDict(title="Gemcut CPU profile")

    description: str = Field(min_length=1, description="What it is, and where one finds it, in one line.")
    qemu_cpu: str = Field(min_length=1, description="As QEMU's -cpu takes it.")
    oldest_qemu: str = Field(default="", pattern=r"^(\d+\.\d+)?$", description="The first release that knows it.")
    cpuinfo: str = Field(min_length=1, description="What /proc/cpuinfo says on it, with one core.")

    @model_validator(mode="after")
    def _consistent(self) -> ProfileFile:
        if not cpu_flags(self.cpuinfo):
            raise ValueError("cpuinfo has no line 'Features'")
        return self


@dataclass(frozen=True)
class Profile:
    """A processor to play. qemu_cpu: QEMU's -cpu. cpuinfo: what the guest reads in /proc/cpuinfo: one that claims more
    than qemu_cpu has ends in SIGILL. oldest_qemu: the first release that knows it, empty for any.
    """

    name: str
    description: str
    qemu_cpu: str
    cpuinfo: str
    oldest_qemu: str = ""
    path: Path | None = None

    @property
    def features(self) -> tuple[str, ...]:
        """Of the CPU, as Linux names them, sorted."""
        return tuple(sorted(cpu_flags(self.cpuinfo)))


def profile_files() -> dict[str, Path]:
    """The shipped profiles: name -> file, by name."""
    return datafile.shipped(__package__, "profiles")


def names() -> tuple[str, ...]:
    """The shipped profiles' names."""
    return tuple(profile_files())


def load(name_or_file: str) -> Profile:
    """Loads a shipped profile by name, or a TOML file of the user's own: what holds a slash or ends in ``.toml``.

    Raises:
        UnsupportedError: An unknown name, with the nearest; or ``max``.
        UsageError: The file isn't there, isn't TOML, or lacks something.
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
            "int8 results, and no processor is like it",
            hint=f"take one of {', '.join(known)}",
        )
    if name_or_file not in known:
        raise UnsupportedError(f"unknown CPU profile '{name_or_file}': {nearest(name_or_file, known)}", hint=_HINT)
    return known[name_or_file]


def emulator() -> str | None:
    """QEMU's user-mode emulator for arm64; None where there is none."""
    return next((found for found in map(shutil.which, EMULATORS) if found), None)


@cache
def qemu_version(program: str) -> str:
    """Of an emulator, such as ``7.2.22``; empty where it doesn't say."""
    found = re.search(r"version (\d+(?:\.\d+)+)", _say(program, "--version"))
    return found[1] if found else ""


@cache
def knows(program: str, cpu: str) -> bool:
    """Whether an emulator has a CPU, as ``-cpu`` takes it, with what may follow a comma."""
    return cpu.partition(",")[0] in _say(program, "-cpu", "help").split()


def _say(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30).stdout
