"""Lines typed on a terminal, with editing, history and completion of slash commands (prompt_toolkit)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..util.native_output import streams
from .chat_session import Dropped


def history_file() -> Path:
    """Return the file that messages are kept in, for the arrow keys of the next chat."""
    from platformdirs import user_state_path

    return Path(user_state_path("gemcut", appauthor=False)) / "chat_history"


class TerminalInput:
    """Asks on the terminal (see ``chat_session.Asker``). Alt-Enter begins another line of the same message.

    Args:
        words: What Tab completes at a line's beginning.
    """

    def __init__(self, words: Sequence[str]) -> None:
        from prompt_toolkit import PromptSession
        from prompt_toolkit.completion import WordCompleter
        from prompt_toolkit.history import FileHistory, History, InMemoryHistory
        from prompt_toolkit.key_binding import KeyBindings
        from prompt_toolkit.key_binding.key_processor import KeyPressEvent
        from prompt_toolkit.output import create_output

        bindings = KeyBindings()

        @bindings.add("escape", "enter")
        def _(event: KeyPressEvent) -> None:
            event.current_buffer.insert_text("\n")

        @bindings.add("c-c")
        def _(event: KeyPressEvent) -> None:
            event.app.exit(exception=Dropped())

        history: History = InMemoryHistory()
        try:
            history_file().parent.mkdir(parents=True, exist_ok=True)
            history_file().touch(mode=0o600)
            history = FileHistory(history_file())
        except OSError:  # a chat without history is better than none
            pass
        self._session: PromptSession[str] = PromptSession(
            history=history,
            output=create_output(streams().out if streams().out.isatty() else streams().err),
            completer=WordCompleter(list(words), sentence=True),
            complete_while_typing=False,
            key_bindings=bindings,
            prompt_continuation="... ",
        )

    def ask(self, prompt: str) -> str | None:
        """Return a line; see ``Asker``."""
        try:
            return self._session.prompt(prompt)
        except EOFError:
            return None
