"""ExecuTorch: a ``.pte`` with the contract of its own LLM runners."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...stages import Lowered, Progress, Runner


class ExecuTorch:
    """The ``executorch`` runtime (see ``runtimes.base.Runtime``)."""

    name = "executorch"
    program_name = "model.pte"

    def version(self) -> str:
        """The installed version; LackingError where it is missing or another release."""
        from .patches import require_version

        return require_version()

    def lower(self, traced: Any, out: Path, constants: dict[str, Any], progress: Progress) -> Lowered:
        """Lowers a ``graph.decoder.Traced`` to ``out``."""
        from .lower import lower

        return lower(traced, out, constants, progress)

    def preload(self) -> None:
        """Loads the operator libraries and the Python runtime."""
        from .runner import load_kernels

        load_kernels()

    def open(self, program: Path, threads: int | None = None) -> Runner:
        """Loads a ``.pte`` into ExecuTorch's Python runtime."""
        return open_runner(program, threads)


def open_runner(program: Path, threads: int | None = None) -> Runner:
    """Loads a ``.pte``; ``threads`` sets the size of the process-wide pool, None leaves it.

    Raises:
        ConformanceError: the runtime refuses the file; the message holds the runtime's own words.
    """
    from .runner import ExecuTorchRunner

    return ExecuTorchRunner(program, threads)


RUNTIME = ExecuTorch()
