"""What every device offers: each kind is a module behind this Protocol.

A device is a place where a bundle's program can be run: it has its own folder for one proof, takes files, runs commands
in that folder, and gives files back. What runs there is a *golden runner*, one for each runtime, which the device puts
in place itself (``Device.runner``); see ``prove.wire`` for what it reads and writes.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

from ..runtimes.golden_runner import Need
from ..util.processes import Finished
from ..util.progress import Progress
from .options import Options

if TYPE_CHECKING:
    from ..bench.results import Condition
    from ..bundle.reader import Bundle
    from ..prove.behaviour import Check
    from ..prove.golden import Golden, Recorded

_MOST_THREADS = 4


@dataclass(frozen=True)
class Library:
    """The runtime's library under proof, as it ships.

    Attributes:
        name: The file's name.
        version: The runtime's version, as far as it is known.
        sha256: SHA-256 of the file.
    """

    name: str
    version: str
    sha256: str


@dataclass(frozen=True)
class Facts:
    """What a device is.

    Attributes:
        system: The operating system and its version.
        architecture: The instruction set.
        cpu: The processor's name; of an emulated device, the emulated processor's.
        features: The processor's features, as Linux names them in /proc/cpuinfo.
        cores: The number of cores that a program may use; where this machine is the device, ``host_threads``.
        memory: Bytes of memory.
        emulated: Whether it is emulated, so that its speed says nothing about a real device's.
        runtimes: Version of each runtime, by name.
        library: The library under proof; None if the device runs none that an app ships.
        kernels: The kernels that the runtime has registered; empty if it has no such registry.
        backends: The backends that the runtime has registered; empty if it has no such registry.
    """

    system: str
    architecture: str
    cpu: str
    features: tuple[str, ...]
    cores: int
    memory: int
    emulated: bool
    runtimes: Mapping[str, str] = field(default_factory=dict)
    library: Library | None = None
    kernels: tuple[str, ...] = ()
    backends: tuple[str, ...] = ()

    @property
    def threads(self) -> int:
        """How many threads a program runs with there unless more is said: a phone's fast cores, one under emulation."""
        return 1 if self.emulated else min(_MOST_THREADS, self.cores or os.cpu_count() or 1)


@runtime_checkable
class Conditioned(Protocol):
    """A device that knows its condition."""

    def condition(self) -> Condition | None:
        """Return the device's condition now; None if it tells nothing of it."""


class Device(Protocol):
    """A place where bundles can be run; ``close`` stops and removes everything that it started.

    Attributes:
        spec: The device as the user wrote it, with defaults filled in (``arm64-user:cortex-a76``).
        runtimes: The runtimes whose bundles it can run.
        seconds: The time limit of a whole run of a bundle's goldens.
    """

    spec: str
    runtimes: tuple[str, ...]
    seconds: float

    def needs(self, runtime: str) -> tuple[Need, ...]:
        """Return what this machine lacks for it; nothing is fetched or started."""

    def refuse(self, runtime: str, version: str) -> None:
        """Check, from the device's description alone, that it can run a version of a runtime.

        Raises:
            UnsupportedError: It can't.
        """

    def prepare(self, runtime: str, work: Path, progress: Progress) -> None:
        """Fetch, build and start whatever it takes, in the cache or below ``work``.

        Raises:
            LackingError: Something is missing; the hint is the command that gets it.
        """

    def push(self, source: Path, name: str) -> None:
        """Copy or link a file into the device's folder; ``name`` may have folders in it, which are made."""

    def run(self, command: Sequence[str], seconds: float) -> Finished:
        """Run a command in the device's folder, and stop it and its children at the time limit.

        Raises:
            ConformanceError: It took longer, or the device was lost.
        """

    def pull(self, name: str, target: Path) -> None:
        """Copy a file from the device's folder.

        Raises:
            ConformanceError: There is no such file.
        """

    def runner(self, runtime: str) -> tuple[str, ...]:
        """Return the command that the golden runner's arguments are appended to."""

    def facts(self, runtime: str) -> Facts:
        """Return what the device is; the golden runner's ``facts`` is run for what only that knows."""

    def more(
        self, bundle: Bundle, goldens: Sequence[Golden], host: Sequence[Recorded], work: Path, progress: Progress
    ) -> tuple[Check, ...]:
        """Return checks that only this kind of device can make, such as of an Android library's Java classes."""

    def close(self) -> None:
        """Stop and remove everything that it started."""


class DeviceKind(ABC):
    """A kind of device: a module, and a row in the package's registry.

    Attributes:
        name: Its name, as ``--on`` and ``--prove-on`` take it.
        argument: What may follow its name and a colon; empty if nothing may.
        proves: What it proves, in one line.
        leaves_out: What it doesn't prove, in one line.
        takes_memory: Whether the user may set its memory.
        here: Whether all of it is on this machine, so that it can be made ready before it is used.
        is_host: Whether it is this machine itself.
    """

    name: ClassVar[str]
    argument: ClassVar[str] = ""
    proves: ClassVar[str]
    leaves_out: ClassVar[str]
    takes_memory: ClassVar[bool] = False
    here: ClassVar[bool] = True
    is_host: ClassVar[bool] = False

    @abstractmethod
    def make(self, text: str, options: Options) -> Device:
        """Return the device that ``text`` names; nothing is fetched or started.

        Args:
            text: The device, as the user wrote it.
            options: What the user set.

        Raises:
            UnsupportedError: The argument names nothing that is known.
            UsageError: The kind can't take that argument or option.
        """


__all__ = ["Conditioned", "Device", "DeviceKind", "Facts", "Library", "Need"]
