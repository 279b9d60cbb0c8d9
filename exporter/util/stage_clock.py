"""The time and the memory that each stage took."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from .process_memory import anonymous_memory, peak_memory
from .progress import Progress

# Seconds.
_EVERY = 0.02


class Clock:
    """A clock that times stages and watches their memory.

    Memory is what no file backs: pages of mapped files (weights, scratch) are dropped when others need room. It is
    sampled every 20 ms. If the system doesn't say (not Linux), it is the most bytes resident up to a stage's end.

    Args:
        progress: Told of each stage.

    Attributes:
        seconds: By stage.
        memory: Most bytes in each stage.
        resumed: Stages, or parts of them, that a former run did; their figures are that run's.
        progress: As passed in.
    """

    def __init__(self, progress: Progress) -> None:
        self.seconds: dict[str, float] = {}
        self.memory: dict[str, int] = {}
        self.resumed: list[str] = []
        self.progress = progress

    @contextmanager
    def stage(self, name: str, title: str) -> Iterator[None]:
        """Time a block under ``name``, and show ``title`` as the stage's title."""
        self.progress.stage(title)
        watch = _Watch()
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began
            self.memory[name] = max(self.memory.get(name, 0), watch.stop())

    def resume(self, seconds: Mapping[str, float], memory: Mapping[str, int]) -> None:
        """Add what stages cost a former run that did them.

        Args:
            seconds: By stage.
            memory: Most bytes in each of these stages.
        """
        for name, taken in seconds.items():
            self.seconds[name] = self.seconds.get(name, 0.0) + taken
            self.memory[name] = max(self.memory.get(name, 0), memory[name])
            if name not in self.resumed:
                self.resumed.append(name)


class _Watch:
    """Looks at this process's memory from now until ``stop``."""

    def __init__(self) -> None:
        self._most = anonymous_memory() or 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, name="gemcut-memory", daemon=True)
        if self._most:
            self._thread.start()

    def _look(self) -> None:
        while not self._done.wait(_EVERY):
            self._most = max(self._most, anonymous_memory() or 0)

    def stop(self) -> int:
        """Most bytes seen."""
        if not self._most:
            return peak_memory()
        self._done.set()
        self._thread.join()
        return max(self._most, anonymous_memory() or 0)
