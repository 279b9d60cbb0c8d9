"""How long each stage took, and how much memory."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .devices.bench import peak_memory
from .stages import Progress

# Linux: 5 sets the mark of most bytes resident (VmHWM) back to what is resident now; proc(5).
_RESET = ("/proc/self/clear_refs", "5")


class Clock:
    """Seconds by stage, and most bytes resident in each; tells ``progress`` of each.

    Where the system can't set its mark back, a stage's memory is the most up to its end.
    """

    def __init__(self, progress: Progress) -> None:
        self.seconds: dict[str, float] = {}
        self.memory: dict[str, int] = {}
        self.progress = progress

    @contextmanager
    def stage(self, name: str, title: str) -> Iterator[None]:
        """Times a block under ``name``; shows ``title``."""
        self.progress.stage(title)
        with suppress(OSError):
            Path(_RESET[0]).write_text(_RESET[1])
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began
            self.memory[name] = max(self.memory.get(name, 0), peak_memory())
