"""A chat on a terminal: who types, and what was said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from .common import warn

if TYPE_CHECKING:
    from ..bundle.manifest import Manifest
    from ..chat.conversation import Chat
    from ..chat.turns import ToolResult, Turn
    from ..prompt.toolcalls import ToolCall

RESULT = "    result: "


class Dropped(Exception):
    """Ctrl-C on a line: nothing of it is meant."""


class Asker(Protocol):
    """Whoever types."""

    def ask(self, prompt: str) -> str | None:
        """Return a line; None at the end (Ctrl-D).

        Raises:
            Dropped: Ctrl-C was pressed instead.
        """


@dataclass
class Session:
    """A chat on a terminal.

    Attributes:
        chat: The conversation.
        manifest: The bundle's.
        asker: Who types.
        results: What tools give back, from ``--tool-results``; if None, whoever types is asked.
        turns: What was said, whether or not it was forgotten since.
    """

    chat: Chat
    manifest: Manifest
    asker: Asker
    results: Mapping[str, Any] | None
    turns: list[Turn]

    def answers(self, calls: Sequence[ToolCall]) -> Sequence[ToolResult] | None:
        """Return the calls' results; None if whoever types gives one of them none.

        Raises:
            UsageError: ``--tool-results`` has none for one of them.
            Dropped: Ctrl-C was pressed instead.
        """
        from ..chat.tool_files import given_results, typed_result
        from ..chat.turns import ToolResult

        if self.results is not None:
            return given_results(calls, self.results)
        found = []
        for call in calls:
            warn(f"  {call} gave back what? (text or JSON; nothing goes on without it)")
            typed = self.asker.ask(RESULT)
            if not typed:
                return None
            found.append(ToolResult(call.name, typed_result(typed)))
        return found
