"""What runs a runtime's goldens on a device: a native program, or a module of Python. The device does the rest.

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
        package: Debian's package, if that is what lacks.
        optional: Without it a device proves less.
    """

    what: str
    command: str
    package: str = ""
    optional: bool = False


class NativeGoldenRunner(ABC):
    """A golden runner that is compiled for each processor.

    Attributes:
        executable: Name of the program in the folder that ``build`` returns.
    """

    executable: ClassVar[str]

    @abstractmethod
    def needs(self, machine: str) -> tuple[Need, ...]:
        """Return what building it lacks here; ``machine`` is 'aarch64' or 'x86_64'."""

    @abstractmethod
    def compiler(self, machine: str) -> str:
        """Return the command of the C++ compiler that builds it.

        Raises:
            UnsupportedError: It isn't built for that machine.
        """

    @abstractmethod
    def build(self, machine: str, progress: Progress) -> Path:
        """Build it unless it is kept from before; return the folder with the program and its libraries.

        Raises:
            LackingError: A compiler or a library is missing.
        """


@dataclass(frozen=True)
class PythonGoldenRunner:
    """A golden runner in Python, which a device runs with Gemcut's own modules and wheels for its processor.

    Attributes:
        module: Its module. It goes to the device with every module that it imports of its own package.
        late: Modules that it imports only when they are needed, which go there too.
        wheels: Distributions that it needs there, with their versions.
    """

    module: str
    wheels: tuple[tuple[str, str], ...]
    late: tuple[str, ...] = ()


GoldenRunner = NativeGoldenRunner | PythonGoldenRunner
