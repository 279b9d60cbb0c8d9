"""Where bundles can be run, by name."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..errors import UnsupportedError, UsageError, nearest

if TYPE_CHECKING:
    from .base import Device

HOST = "host"
TIMEOUT = 600.0  # seconds that the goldens may take on a device, unless the user says otherwise


@dataclass(frozen=True)
class Options:
    """What the user may set for any device. seconds: time limit of a run; None for ``TIMEOUT``. memory: of a virtual
    machine, as QEMU writes it (``2G``); None for its default."""

    seconds: float | None = None
    memory: str | None = None

    @property
    def limit(self) -> float:
        """The time limit in seconds."""
        return TIMEOUT if self.seconds is None else self.seconds


@dataclass(frozen=True)
class Kind:
    """A kind of device. argument: what may follow its name and a colon; empty for nothing. proves, leaves_out: in one
    line each. module: has ``make(text: str, options: Options) -> Device``; empty for this machine itself. here: all
    of it is on this machine, and can be made ready before it is used."""

    name: str
    argument: str
    proves: str
    leaves_out: str
    module: str = ""
    takes_memory: bool = False
    here: bool = True


KINDS = (
    Kind(
        HOST,
        "",
        "the packed program in the runtimes of PyPI, on this processor",
        "the app's library; another processor's kernels",
    ),
    Kind(
        "android-lib",
        "LIB",
        "the very libexecutorch.so that apps ship, byte for byte, and its Java classes where a JDK is here",
        "arm64 kernels; Android's own C library and kernel",
        "android",
    ),
    Kind(
        "arm64-user",
        "PROFILE",
        "arm64 code of the PyPI runtimes, with the kernels that a given processor chooses",
        "the app's library; speed; a real processor's arithmetic beyond what QEMU computes",
        "arm64",
    ),
    Kind(
        "android-lib-arm64",
        "LIB",
        "the arm64 library that apps ship, byte for byte, under emulation",
        "Java; Android's own C library and kernel; speed",
        "android",
    ),
    Kind(
        "arm64-vm",
        "",
        "a whole arm64 Linux machine with a memory limit, reached over adb alone",
        "Android itself; the app's library; speed",
        "vm",
        takes_memory=True,
    ),
    Kind(
        "adb",
        "SERIAL",
        "a phone's or an Android emulator's processor and kernel, through the PyPI runtimes for Linux",
        "the app's library and its sandbox",
        "adb",
        here=False,
    ),
)


def kind_of(text: str) -> Kind:
    """The kind that ``NAME[:ARGUMENT]`` names.

    Raises:
        UnsupportedError: There is none of that name; the message has the nearest.
        UsageError: An argument where there is none to take, or an empty one.
    """
    name, colon, argument = text.partition(":")
    kinds = {kind.name: kind for kind in KINDS}
    if name not in kinds:
        raise UnsupportedError(f"unknown device '{name}': {nearest(name, kinds)}", hint="gemcut devices lists them.")
    if colon and not kinds[name].argument:
        raise UsageError(f"--on {text}: {name} takes nothing after its name")
    if colon and not argument:
        raise UsageError(f"--on {text}: {kinds[name].argument} is missing after the colon")
    return kinds[name]


def make_device(text: str, options: Options | None = None) -> Device:
    """The device that ``NAME[:ARGUMENT]`` names; nothing is fetched or started.

    Raises:
        UnsupportedError: There is none of that name.
        UsageError: It can't take that argument or option.
    """
    kind, options = kind_of(text), options or Options()
    if not kind.module:
        raise UsageError(f"{text} is this machine itself: gemcut validate without --on runs there")
    module = importlib.import_module(f".{kind.module}", __name__)
    if not kind.takes_memory:
        options = replace(options, memory=None)
    device: Device = module.make(text, options)
    return device
