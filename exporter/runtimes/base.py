"""What every runtime offers: one module per runtime behind this Protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from ..stages import Lowered, Progress, Runner


class Runtime(Protocol):
    """A runtime that bundles can be made for."""

    name: str
    program_name: str

    def version(self) -> str:
        """The installed version; raises LackingError with the command that installs it."""

    def lower(self, traced: Any, out: Path, constants: dict[str, Any], progress: Progress) -> Lowered:
        """Writes the program of a traced module to ``out``."""

    def preload(self) -> None:
        """Imports what ``open`` needs, so that opening can be timed on its own."""

    def open(self, program: Path, threads: int | None = None) -> Runner:
        """Loads a program from disk in the runtime itself."""
