"""Whether this machine has the memory and disk that an export takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import LackingError
from .constants import constants
from .resources import Machine

if TYPE_CHECKING:
    from .disk import Files
    from .shapes import Shapes


@dataclass(frozen=True)
class Room:
    """The estimated bytes of memory and disk that an export takes, and what the machine has.

    Attributes:
        memory: Bytes of memory.
        least_memory: Bytes of memory if what was never measured takes nothing (see ``export_memory``).
        disk: Bytes of disk.
        least_disk: Bytes of disk if every reply of the float model is as short as possible.
        machine: What the machine has.
    """

    memory: int
    least_memory: int
    disk: int
    least_disk: int
    machine: Machine

    @property
    def lacks_memory(self) -> bool:
        """Whether the memory can't suffice, even if the estimate is as much too high as it may be."""
        return self.machine.memory < _surely_needed(self.least_memory, constants().error.memory)

    @property
    def lacks_disk(self) -> bool:
        """Whether the disk can't suffice, even if the estimate is as much too high as it may be."""
        return self.machine.disk < _surely_needed(self.least_disk, constants().error.disk)

    @property
    def fits(self) -> bool | None:
        """Whether both surely suffice or surely don't; None if it is too close for the estimate's accuracy."""
        if self.lacks_memory or self.lacks_disk:
            return False
        error = constants().error
        memory, disk = (1 + error.memory) * self.memory, (1 + error.disk) * self.disk
        return True if self.machine.memory >= memory and self.machine.disk >= disk else None


def _surely_needed(size: int, error: float) -> float:
    """Bytes that are needed if the estimate is too high by that share; a small export fails soon by itself."""
    return size / (1 + error) - constants().error.small


def room_for(shapes: Shapes, files: Files, machine: Machine, form: str = "dir") -> Room:
    """Return what an export takes, with what the machine has."""
    from .memory import export_memory

    most, least = (max(export_memory(shapes, least=low).values()) for low in (False, True))
    return Room(most, least, files.disk(form), files.disk(form, least=True), machine)


def refuse(room: Room, output: Path) -> None:
    """Refuse an export that surely doesn't fit.

    Args:
        room: What it takes, and what the machine has.
        output: Where the bundle would go.

    Raises:
        LackingError: A bundle can't be made at ``output``.
    """
    machine, error = room.machine, constants().error
    if room.lacks_memory:
        raise LackingError(
            f"this export takes about {_size(room.memory)} of memory (give or take {error.memory:.0%}), and only "
            f"{_size(machine.memory)} is available here: {machine.limit}",
            hint="Close other programs, raise the limit, or choose a recipe of fewer bits, a shorter --context or "
            "another machine; gemcut plan says what each takes.",
        )
    if room.lacks_disk:
        raise LackingError(
            f"this export takes about {_size(room.disk)} of disk at {output.parent} (give or take {error.disk:.0%}), "
            f"and only {_size(machine.disk)} is free there",
            hint="Free some space, or name a place on another disk with -o; gemcut plan says what other recipes take.",
        )


def _size(size: int) -> str:
    from ..util.text import size_text

    return size_text(size)
