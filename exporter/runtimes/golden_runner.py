"""What runs a runtime's goldens on a device: a native program or a Python module; the device does the rest.

A device knows how to carry files and start programs; a runtime knows what to start. ``prove.wire`` says which words a
golden runner takes and what it prints.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from ..util.progress import Progress


@dataclass(frozen=True)
class Need:
    """Something that this machine lacks.

    Attributes:
        what: What it is.
        command: The command that gets it.
        package: The Debian package that provides it; empty if no package does.
        optional: Whether the device works without it, but proves less.
    """

    what: str
    command: str
    package: str = ""
    optional: bool = False


class NativeGoldenRunner(ABC):
    """A golden runner that is compiled for each processor.

    Attributes:
        executable: Name of the program in the folder that ``build`` returns.
        speed_note: How its speed differs from an app's; empty if it doesn't.
    """

    executable: ClassVar[str]
    speed_note: ClassVar[str] = ""

    @abstractmethod
    def needs(self, machine: str) -> tuple[Need, ...]:
        """Return what this machine lacks for building it; ``machine`` is 'aarch64' or 'x86_64'."""

    @abstractmethod
    def compiler(self, machine: str) -> str:
        """Return the command of the C++ compiler that builds it.

        Raises:
            UnsupportedError: It isn't built for that machine.
        """

    @abstractmethod
    def build(self, machine: str, progress: Progress) -> Path:
        """Build it unless an earlier build is kept; return the folder with the program and its libraries.

        Raises:
            LackingError: A compiler or a library is missing.
        """


@dataclass(frozen=True)
class PythonGoldenRunner:
    """A golden runner in Python, which a device runs with Gemcut's own modules and wheels for its processor.

    Attributes:
        module: Its module, which goes to the device with every module of its own package that it imports.
        wheels: Distributions that it needs on the device, with their versions.
        late: Modules that it imports only when they are needed, which go to the device too.
        speed_note: How its speed differs from an app's; empty if it doesn't.
    """

    module: str
    wheels: tuple[tuple[str, str], ...]
    late: tuple[str, ...] = ()
    speed_note: str = ""


GoldenRunner = NativeGoldenRunner | PythonGoldenRunner
