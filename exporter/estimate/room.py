"""Whether this machine has what an export takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import LackingError
from .constants import constants
from .machine import Machine, this_machine

if TYPE_CHECKING:
    from ..planning import ExportPlan


@dataclass(frozen=True)
class Room:
    """Bytes that an export takes of memory and disk, estimated, and what there is."""

    memory: int
    disk: int
    machine: Machine

    @property
    def least_memory(self) -> int:
        """Bytes that it takes even where the estimate is as far too high as it may be."""
        return int(self.memory / (1 + constants().error.memory))

    @property
    def least_disk(self) -> int:
        """Bytes that it takes even where the estimate is as far too high as it may be."""
        return int(self.disk / (1 + constants().error.disk))

    @property
    def fits(self) -> bool | None:
        """True and False where that is sure; None where it is closer than the estimate is exact."""
        if self.machine.memory < self.least_memory or self.machine.disk < self.least_disk:
            return False
        memory, disk = (1 + error for error in (constants().error.memory, constants().error.disk))
        sure = self.machine.memory >= memory * self.memory and self.machine.disk >= disk * self.disk
        return True if sure else None


def refuse_lacking(plan: ExportPlan, form: str) -> None:
    """Refuses an export that this machine can't do, before anything slow; nothing where that isn't sure.

    Raises:
        LackingError: memory or disk; says how much is needed, what there is, and what to do.
    """
    from .files import files_of
    from .memory import export_memory
    from .shapes import shapes_of

    if plan.runtime.name != "executorch":
        return  # estimates are of ExecuTorch's lowering
    checkpoint = plan.checkpoint
    shapes = shapes_of(checkpoint.text_config, plan.recipe, plan.shape.context, plan.shape.prefill[-1])
    files = files_of(shapes, checkpoint.path)
    room = Room(max(export_memory(shapes).values()), files.disk(form), this_machine(plan.output.parent))
    _refuse(room, plan.output)


def _refuse(room: Room, output: Path) -> None:
    machine = room.machine
    error = constants().error
    if machine.memory < room.least_memory:
        raise LackingError(
            f"this export takes about {_text(room.memory)} of memory (give or take {error.memory:.0%}), and no more "
            f"than {_text(machine.memory)} can be had here: {machine.limit}",
            hint="Close other programs, raise the limit, or take a recipe of fewer bits, a shorter --context or "
            "another machine: gemcut plan says what each takes.",
        )
    held = _held(output)
    if machine.disk + held < room.least_disk:
        raise LackingError(
            f"this export takes about {_text(room.disk)} of disk beside {output} (give or take {error.disk:.0%}), and "
            f"{_text(machine.disk)} are free there",
            hint="Free some, or name a place on another disk with -o; gemcut plan says what other recipes take.",
        )


def _held(output: Path) -> int:
    """Bytes that a killed run of this export left there: it is resumed, or they are freed."""
    partials = output.parent.glob(f".{output.name}.partial*")
    return sum(file.stat().st_size for partial in partials for file in partial.rglob("*") if file.is_file())


def _text(size: int) -> str:
    from ..report.console import size_text

    return size_text(size)
