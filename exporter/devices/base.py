"""What every device offers: one module a kind, behind this Protocol.

A device is a place where a bundle's program can be run: it has a folder of its own for one proof, takes files, runs
commands in that folder, and gives files back. What runs there is a *golden runner*, one for each runtime, that the
device puts in place itself (``Device.runner``); see ``orders`` for what it reads and writes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

from ..runtimes.golden_runner import Need
from ..util.processes import Finished
from ..util.progress import Progress
from .options import Options

if TYPE_CHECKING:
    from ..bundle.reader import Bundle
    from ..prove.behaviour import Check
    from ..prove.golden import Golden, Recorded


@dataclass(frozen=True)
class Library:
    """The runtime's library under proof, as it ships. name: the file's. version: of the runtime, as far as known."""

    name: str
    version: str
    sha256: str


@dataclass(frozen=True)
class Facts:
    """What a device is.

    system: operating system and its version. cpu: its name, or the emulated one's. features: of the CPU, as Linux
    names them in /proc/cpuinfo. memory: bytes. emulated: its speed says nothing of a device's. runtimes: versions by
    name. kernels, backends: those that the runtime has registered, empty where it has no such registry.
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


class Device(Protocol):
    """A place where bundles can be run. Used as a context manager: leaving it stops and removes all it started.

    spec: as the user wrote it, defaults filled in (``arm64-user:cortex-a76``). runtimes: those it can run. seconds:
    the time limit of a whole run of a bundle's goldens.
    """

    spec: str
    runtimes: tuple[str, ...]
    seconds: float

    def needs(self, runtime: str) -> tuple[Need, ...]:
        """What this machine lacks for it; looks, fetches and starts nothing."""

    def refuse(self, runtime: str, version: str) -> None:
        """Raises UnsupportedError, from its description alone, where it can't run that runtime."""

    def prepare(self, runtime: str, work: Path, progress: Progress) -> None:
        """Fetches, builds and starts what it takes, into its cache or below ``work``.

        Raises LackingError with the command that gets what is missing.
        """

    def push(self, source: Path, name: str) -> None:
        """Copies (or links) a file into the device's folder."""

    def run(self, command: Sequence[str], seconds: float) -> Finished:
        """Runs a command in the device's folder, and ends it and its children after so many seconds.

        Raises:
            ConformanceError: it took longer, or the device was lost.
        """

    def pull(self, name: str, target: Path) -> None:
        """Copies a file from the device's folder.

        Raises:
            ConformanceError: there is none.
        """

    def runner(self, runtime: str) -> tuple[str, ...]:
        """The command that the golden runner's arguments follow."""

    def facts(self, runtime: str) -> Facts:
        """What it is; runs the golden runner's ``facts`` where that knows."""

    def more(
        self, bundle: Bundle, goldens: Sequence[Golden], host: Sequence[Recorded], work: Path, progress: Progress
    ) -> tuple[Check, ...]:
        """Checks that this kind of device alone can make, such as the Java classes of an Android library."""

    def close(self) -> None:
        """Stops and removes all that it started."""


class DeviceKind(ABC):
    """A kind of device: one module each, and one row in the package's registry.

    Attributes:
        name: What ``--on`` and ``--prove-on`` take.
        argument: What may follow its name and a colon; empty for nothing.
        proves: What it proves, in one line.
        leaves_out: What it doesn't prove, in one line.
        takes_memory: The user may set its memory.
        here: All of it is on this machine, and can be made ready before it is used.
        is_host: It is this machine itself.
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
            text: As the user wrote it.
            options: What the user set.

        Raises:
            UnsupportedError: There is none of that argument.
            UsageError: It can't take that argument or option.
        """


__all__ = ["Device", "DeviceKind", "Facts", "Library", "Need"]
