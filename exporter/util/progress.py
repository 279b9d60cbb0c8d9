"""How stages report their progress."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """What stages report their progress to."""

    def stage(self, name: str) -> None:
        """Begin a new stage."""

    def update(self, done: float, total: float, what: str = "") -> None:
        """Report that ``done`` of ``total`` units of the present stage are done, ``what`` being worked on."""

    def note(self, text: str) -> None:
        """Tell the user something that isn't an error."""


class Silent:
    """A ``Progress`` that nobody watches."""

    def stage(self, name: str) -> None:
        """Begin a new stage."""

    def update(self, done: float, total: float, what: str = "") -> None:
        """Report that ``done`` of ``total`` units of the present stage are done, ``what`` being worked on."""

    def note(self, text: str) -> None:
        """Tell the user something that isn't an error."""


class SubProgress:
    """A ``Progress`` whose whole is a portion of another's stage.

    Args:
        progress: What the whole stage reports to; None if nobody watches.
        first: Where in the stage the portion begins, 0..1.
        last: Where it ends, 0..1.
    """

    def __init__(self, progress: Progress | None, first: float, last: float) -> None:
        self._progress = progress
        self._first, self._last = first, last

    def stage(self, name: str) -> None:
        """Do nothing: a portion is a part of a stage."""

    def update(self, done: float, total: float, what: str = "") -> None:
        """Report that ``done`` of ``total`` units of the portion are done."""
        if self._progress is not None and total:
            self._progress.update(self._first + (self._last - self._first) * done / total, 1.0, what)

    def note(self, text: str) -> None:
        """Tell the user something that isn't an error, through the stage's progress."""
        if self._progress is not None:
            self._progress.note(text)


def portions(progress: Progress, count: int) -> list[SubProgress]:
    """Return ``count`` equal portions of a stage, one after the other."""
    return [SubProgress(progress, at / count, (at + 1) / count) for at in range(count)]
