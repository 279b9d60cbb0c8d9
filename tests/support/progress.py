"""Progress that tests look at."""

from __future__ import annotations

from collections.abc import Callable

from gemcut.util.progress import Silent


class Watched(Silent):
    """Progress that remembers, and calls ``at`` at the beginning of each stage."""

    def __init__(self, at: Callable[[str], None] | None = None) -> None:
        self.titles: list[str] = []
        self.notes: list[str] = []
        self._at = at

    def stage(self, name: str) -> None:
        self.titles.append(name)
        if self._at is not None:
            self._at(name)

    def note(self, text: str) -> None:
        self.notes.append(text)
