"""Progress of a part of a stage."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Where stages say how far they are."""

    def stage(self, name: str) -> None:
        """A new stage begins."""

    def update(self, done: float, total: float, what: str = "") -> None:
        """``done`` of ``total`` units of the present stage."""

    def note(self, text: str) -> None:
        """Something the user should know; not an error."""


class Silent:
    """Progress that nobody watches."""

    def stage(self, name: str) -> None:
        """A new stage begins."""

    def update(self, done: float, total: float, what: str = "") -> None:
        """``done`` of ``total`` units of the present stage."""

    def note(self, text: str) -> None:
        """Something the user should know; not an error."""


class SubProgress:
    """A ``Progress`` whose whole is a portion of another's stage.

    Args:
        progress: of the stage; None for nobody's.
        first, last: where in it the portion begins and ends, 0..1.
    """

    def __init__(self, progress: Progress | None, first: float, last: float) -> None:
        self._progress = progress
        self._first, self._last = first, last

    def stage(self, name: str) -> None:
        """Nothing: it is a part of one."""

    def update(self, done: float, total: float, what: str = "") -> None:
        """``done`` of ``total`` units of the portion."""
        if self._progress is not None and total:
            self._progress.update(self._first + (self._last - self._first) * done / total, 1.0, what)

    def note(self, text: str) -> None:
        """See ``util.progress.Progress``."""
        if self._progress is not None:
            self._progress.note(text)
