"""One message of ``gemcut chat`` and all that follows from it: the reply, calls, their results, and the next reply."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .common import say, warn

if TYPE_CHECKING:
    from ..chat.conversation import Chat
    from ..chat.turns import ToolResult, Turn
    from ..prompt.thoughts import Piece
    from ..prompt.toolcalls import ToolCall

    Pieces = Iterator[tuple[Piece, float]]
    Results = Callable[[Sequence[ToolCall]], Sequence[ToolResult] | None]
    Show = Callable[[Chat, Pieces], None]

MOST_ROUNDS = 8
ENDED = {
    "stop": "",
    "length": ", cut at --max-new-tokens",
    "context": ", cut: the context is full",
    "interrupted": ", stopped",
}


def converse(chat: Chat, message: str, results: Results, show: Show | None) -> Iterator[Turn]:
    """Say one message, and give the results of what the model calls until it calls nothing more.

    Args:
        chat: The conversation.
        message: What is said.
        results: Returns the results of calls; None leaves them unanswered.
        show: Shows a reply as it comes; if None, nothing is shown.

    Yields:
        Each turn, as soon as it is complete.

    Raises:
        UsageError: The conversation is longer than the context, a result is missing, or the template takes none.
    """
    pieces = chat.reply(message)
    for round_ in range(MOST_ROUNDS + 1):
        (show or _through)(chat, pieces)
        assert chat.last is not None
        yield chat.last
        if not chat.last.calls or chat.last.ended == "interrupted":
            return
        if round_ == MOST_ROUNDS:
            warn(f"The model has had {MOST_ROUNDS} results in a row, so its last calls are left without one.")
            return
        answers = results(chat.last.calls)
        if answers is None:
            return
        pieces = chat.answer(answers)


def given(results: Mapping[str, Any] | None) -> Results:
    """Return what answers calls from ``--tool-results``; without it, calls aren't answered."""
    from ..chat.tool_files import given_results

    return lambda calls: None if results is None else given_results(calls, results)


def show(chat: Chat, pieces: Pieces) -> None:
    """Write a reply as it comes, its calls as functions are called, then its figures."""
    write_reply(chat, pieces)
    turn = chat.last
    assert turn is not None
    warn(
        f"[{turn.tokens} tokens, {turn.rate:.1f} tok/s; prompt: {turn.fed} fed, {turn.reused} kept, "
        f"{turn.prefill_seconds:.2f} s{ENDED[turn.ended]}]"
    )


def write_reply(chat: Chat, pieces: Pieces) -> None:
    """Write a reply as it comes, and its calls as functions are called: ``set_alarm(time="06:30")``."""
    from ..chat.calls import WordsAlone
    from .views.chat_stream import LiveText

    text, words = LiveText(), WordsAlone(chat.call_marker)
    for piece, rate in pieces:
        text.write(piece.text if piece.thought else words.add(piece.text), f"{rate:.0f} tok/s", aside=piece.thought)
    calls = chat.last.calls if chat.last is not None else ()
    if not calls:
        text.write(words.held, "")
    if not calls or words.shown.strip():
        text.end()
    for call in calls:
        say(str(call))
    after = chat.words_of(chat.last.reply).removeprefix(words.shown.strip()).strip() if calls and chat.last else ""
    if after:
        say(after)


def _through(chat: Chat, pieces: Pieces) -> None:
    for _ in pieces:
        pass
