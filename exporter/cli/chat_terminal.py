"""``gemcut chat`` on a terminal: line editing, history, slash commands, and answers that Ctrl-C stops."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

from ..errors import GemcutError
from ..util.text import readable
from .chat_commands import COMMANDS, run_command
from .chat_session import Asker, Dropped, Session
from .chat_turns import ENDED, converse, write_reply
from .common import console_progress, warn

if TYPE_CHECKING:
    from ..bundle.manifest import Manifest
    from ..chat.conversation import Chat
    from .chat_turns import Pieces

PROMPT, MORE = ">>> ", "... "
QUOTES = '"""'


def talk(chat: Chat, manifest: Manifest, results: Mapping[str, Any] | None) -> None:
    """Talk until whoever types ends it.

    Args:
        chat: The conversation.
        manifest: The bundle's manifest.
        results: What tools give back, from ``--tool-results``.
    """
    from .terminal_input import TerminalInput

    warn(f"{manifest.model.name}, {chat.options.sampling}. /help lists commands; /bye or Ctrl-D ends the chat.")
    run(Session(chat, manifest, TerminalInput([f"/{command.name}" for command in COMMANDS]), results, []))


def run(session: Session) -> None:
    """Answer what is typed, message by message; a mistake in one is told, and the next is asked for.

    Raises:
        GemcutError: The program can't be loaded.
    """
    while True:
        try:
            typed = session.asker.ask(PROMPT)
            if typed is None:
                return
            if typed.startswith("/"):
                if not run_command(session, typed):
                    return
            elif message := _whole(typed.strip(), session.asker):
                session.turns += converse(session.chat, readable(message), session.answers, show_stoppable)
        except Dropped:
            continue
        except GemcutError as error:
            if session.chat.is_lost:
                raise
            warn(str(error) + (f"\n{error.hint}" if error.hint else ""))


def _whole(typed: str, asker: Asker) -> str:
    """Return a message; one that begins with three quotes goes on until the next three."""
    if not typed.startswith(QUOTES):
        return typed
    lines = [typed.removeprefix(QUOTES)]
    while not lines[-1].rstrip().endswith(QUOTES):
        more = asker.ask(MORE)
        if more is None:
            return ""
        lines.append(more)
    lines[-1] = lines[-1].rstrip().removesuffix(QUOTES)
    return "\n".join(lines).strip("\n")


def show_stoppable(chat: Chat, pieces: Pieces) -> None:
    """Write a reply as it comes, and its calls; Ctrl-C stops it."""
    with stopping(chat):
        write_reply(chat, _first(chat, pieces))
    turn = chat.last
    assert turn is not None
    if ENDED[turn.ended]:
        warn(f"[{ENDED[turn.ended].lstrip(', ')}]")


def _first(chat: Chat, pieces: Pieces) -> Pieces:
    """Return the pieces once the first is there; a program that is still being loaded is waited for visibly."""
    from itertools import chain

    if chat.is_ready:
        return pieces
    with console_progress() as progress:
        progress.stage("Loading the program")
        head = next(pieces, None)
    return chain(() if head is None else (head,), pieces)


@contextmanager
def stopping(chat: Chat) -> Iterator[None]:
    """Have Ctrl-C end the answer, and nothing else."""

    def stop(number: int, frame: FrameType | None) -> None:
        chat.interrupt()

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
