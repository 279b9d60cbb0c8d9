"""The words of a reply while it comes, with its tool calls held back until they can be read."""

from __future__ import annotations


class WordsAlone:
    """Lets the words of a reply through up to its first tool call; what follows is held.

    Args:
        marker: What a call begins with; empty if replies have none.

    Attributes:
        shown: What was let through.
        held: What was held, from the first call on.
    """

    def __init__(self, marker: str) -> None:
        self._marker = marker
        self.shown = ""
        self.held = ""

    def add(self, text: str) -> str:
        """Take the next piece, and return what of it, and of what was waited for, is no call."""
        self.held += text
        at = self.held.find(self._marker) if self._marker else -1
        free = len(self.held) - self._begun() if at < 0 else at
        let, self.held = self.held[:free], self.held[free:]
        self.shown += let
        return let

    def _begun(self) -> int:
        """How many of the last characters may be the beginning of a marker."""
        longest = min(len(self._marker) - 1, len(self.held))
        return next((n for n in range(longest, 0, -1) if self._marker.startswith(self.held[-n:])), 0)
