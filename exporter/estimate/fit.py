"""Whether this machine has what an export takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import LackingError
from .constants import constants
from .host import Machine

if TYPE_CHECKING:
    from .disk import Files
    from .shapes import Shapes


@dataclass(frozen=True)
class Room:
    """Bytes that an export takes of memory and disk, estimated, and what there is.

    least_memory: where what was never measured takes nothing (see ``export_memory``). least_disk: where every reply of
    the float model is as short as can be.
    """

    memory: int
    least_memory: int
    disk: int
    least_disk: int
    machine: Machine

    @property
    def lacks_memory(self) -> bool:
        """Whether it can't be enough, even where the estimate is as far too high as it may be."""
        return self.machine.memory < _least(self.least_memory, constants().error.memory)

    @property
    def lacks_disk(self) -> bool:
        """Whether it can't be enough, even where the estimate is as far too high as it may be."""
        return self.machine.disk < _least(self.least_disk, constants().error.disk)

    @property
    def fits(self) -> bool | None:
        """True and False where that is sure; None where it is closer than the estimate is exact."""
        if self.lacks_memory or self.lacks_disk:
            return False
        error = constants().error
        memory, disk = (1 + error.memory) * self.memory, (1 + error.disk) * self.disk
        return True if self.machine.memory >= memory and self.machine.disk >= disk else None


def _least(size: int, error: float) -> float:
    """Bytes that are needed where the estimate is that share too high; a small export fails soon by itself."""
    return size / (1 + error) - constants().error.small


def room_for(shapes: Shapes, files: Files, machine: Machine, form: str = "dir") -> Room:
    """What an export takes, beside what there is."""
    from .memory import export_memory

    most, least = (max(export_memory(shapes, least=low).values()) for low in (False, True))
    return Room(most, least, files.disk(form), files.disk(form, least=True), machine)


def refuse(room: Room, output: Path) -> None:
    """Raises LackingError where a bundle can't be made at ``output``."""
    machine, error = room.machine, constants().error
    if room.lacks_memory:
        raise LackingError(
            f"this export takes about {_text(room.memory)} of memory (give or take {error.memory:.0%}), and no more "
            f"than {_text(machine.memory)} can be had here: {machine.limit}",
            hint="Close other programs, raise the limit, or take a recipe of fewer bits, a shorter --context or "
            "another machine; gemcut plan says what each takes.",
        )
    if room.lacks_disk:
        raise LackingError(
            f"this export takes about {_text(room.disk)} of disk at {output.parent} (give or take {error.disk:.0%}), "
            f"and {_text(machine.disk)} are free there",
            hint="Free some, or name a place on another disk with -o; gemcut plan says what other recipes take.",
        )


def _text(size: int) -> str:
    from ..util.text import size_text

    return size_text(size)
