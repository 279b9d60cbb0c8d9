"""Running ``.pte`` programs in ExecuTorch's Python runtime, which is the runtime that apps call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import UnsupportedError
from ..base import Engine

if TYPE_CHECKING:
    from .runner import ExecuTorchProgram, ExecuTorchRunner


class ExecuTorchEngine(Engine):
    """See ``Engine``."""

    def preload(self) -> None:
        """See ``Engine``: loads the operator libraries and the Python runtime."""
        from .runner import load_kernels

        load_kernels()

    def load(self, program: Path, threads: int | None = None) -> ExecuTorchProgram:
        """See ``Engine``; ``threads`` sets the size of the process-wide pool."""
        from .runner import ExecuTorchProgram

        return ExecuTorchProgram(program, threads)

    def open(self, program: Path, threads: int | None = None, adapters: Sequence[Path] = ()) -> ExecuTorchRunner:
        """See ``Engine``; ``threads`` sets the size of the process-wide pool."""
        from .runner import ExecuTorchRunner

        if adapters:
            raise UnsupportedError(
                "an ExecuTorch bundle can't apply adapters at run time",
                hint="Merge the adapter when you export: --adapter DIR.",
            )
        return ExecuTorchRunner(program, threads)
