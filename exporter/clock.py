"""How long each stage took, and how much memory the process had."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from .stages import Progress


class Clock:
    """Seconds by stage; tells ``progress`` of each."""

    def __init__(self, progress: Progress) -> None:
        self.seconds: dict[str, float] = {}
        self.progress = progress

    @contextmanager
    def stage(self, name: str, title: str) -> Iterator[None]:
        """Times a block under ``name``; shows ``title``."""
        self.progress.stage(title)
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began


def peak_memory() -> int:
    """The largest resident set that this process had, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
