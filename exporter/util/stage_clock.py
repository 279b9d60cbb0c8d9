"""How long each stage took, and how much memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from .process_memory import anonymous_memory, peak_memory
from .progress import Progress

# Seconds.
_EVERY = 0.02


class StageClock:
    """Seconds by stage, and most bytes of memory in each; tells ``progress`` of each.

    Memory is what no file backs: pages of mapped files (weights, scratch) are dropped when others need room. It is
    looked at every 20 ms. If the system doesn't say (not Linux), it is the most bytes resident up to a stage's end.

    Args:
        progress: Told of each stage.
        titles: What each stage is called for the user, by its name; may hold fields of ``str.format``.

    Attributes:
        seconds: By stage.
        memory: Bytes by stage.
        resumed: Stages, or parts of them, that a former run did; their figures are that run's.
        progress: As given.
    """

    def __init__(self, progress: Progress, titles: Mapping[str, str]) -> None:
        self.seconds: dict[str, float] = {}
        self.memory: dict[str, int] = {}
        self.resumed: list[str] = []
        self.progress = progress
        self._titles = dict(titles)

    def extended(self, titles: Mapping[str, str]) -> StageClock:
        """Return a clock that knows these stages too, and counts with this one."""
        clock = StageClock(self.progress, {**self._titles, **titles})
        clock.seconds, clock.memory, clock.resumed = self.seconds, self.memory, self.resumed
        return clock

    @contextmanager
    def stage(self, name: str, label: str = "", **words: str) -> Iterator[None]:
        """Time a block, and show its stage's title.

        Args:
            name: The stage's.
            label: What it is counted under; the name if empty.
            words: Fill the title in.

        Raises:
            KeyError: There is no such stage.
        """
        self.progress.stage(self._titles[name].format(**words))
        label = label or name
        watch = _Watch()
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[label] = self.seconds.get(label, 0.0) + time.perf_counter() - began
            self.memory[label] = max(self.memory.get(label, 0), watch.stop())

    def resume(self, seconds: Mapping[str, float], memory: Mapping[str, int]) -> None:
        """Take what stages cost the run that did them."""
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
