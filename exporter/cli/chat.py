"""``gemcut chat``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError
from ..util.native_output import streams
from ..util.text import readable
from .common import Command, console_progress, emit, json_option, open_checked, warn

if TYPE_CHECKING:
    from ..bundle.reader import Bundle
    from ..chat import Chat, Turn
    from ..prove.runner import Runner
    from ..report.console import ConsoleProgress

ENDED = {"stop": "", "length": ", cut at --max-new-tokens", "context": ", cut: the context is full"}


@click.command(cls=Command)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--prompt",
    metavar="TEXT",
    help="Send this message and exit. Default: ask for messages, or read one per line of stdin.",
)
@click.option("--system", metavar="TEXT", help="A system message before all others.")
@click.option(
    "--tools",
    type=click.Path(path_type=Path),
    metavar="FILE.json",
    help="A list of declarations of the tools that the model may call.",
)
@click.option(
    "--thinking/--no-thinking",
    default=None,
    help="Whether the model thinks before it answers. Default: what its chat template does.",
)
@click.option(
    "--max-new-tokens", type=click.IntRange(min=1), default=512, show_default=True, help="The most tokens of one reply."
)
@click.option("--threads", type=click.IntRange(min=1), help="Number of threads. Default: the runtime's own choice.")
@json_option
def command(
    bundle: Path,
    prompt: str | None,
    system: str | None,
    tools: Path | None,
    thinking: bool | None,
    max_new_tokens: int,
    threads: int | None,
    as_json: bool,
) -> None:
    """Talk to BUNDLE through its own chat template and tokenizer."""
    from ..chat import ChatLog, open_chat

    if as_json and prompt is None and sys.stdin.isatty():
        raise UsageError("--json needs --prompt TEXT, or messages on stdin")
    prompt, system = (None if text is None else readable(text) for text in (prompt, system))
    declared = _read_tools(tools)
    with ExitStack() as stack:
        with console_progress() as progress:
            opened = stack.enter_context(open_checked(bundle, progress))
            runner = _load(opened, threads, progress)
        stack.callback(runner.close)
        chat = open_chat(opened, runner, max_new_tokens, system, declared, thinking)
        if thinking and not chat.tells_thoughts:
            warn(
                "This bundle's prompt.json doesn't say how thoughts are marked, so they are shown as part of the reply."
            )
        turns = [_say(chat, message, show=not as_json) for message in _messages(prompt)]
        if as_json:
            emit(ChatLog(str(bundle), opened.manifest.proven, tuple(turns)))


def _load(opened: Bundle, threads: int | None, progress: ConsoleProgress) -> Runner:
    from ..runtimes import get_runtime

    progress.stage("Loading the program")
    return get_runtime(opened.manifest.runtime.name).engine.open(opened.program, threads)


def _read_tools(path: Path | None) -> list[dict[str, Any]]:
    if path is None:
        return []
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise UsageError(f"--tools {path} can't be read: {error}") from error
    if not isinstance(found, list) or not all(isinstance(tool, dict) for tool in found):
        raise UsageError(f"--tools {path} is not a JSON list of tool declarations")
    return found


def _messages(prompt: str | None) -> Iterator[str]:
    """The given prompt alone, or the lines of stdin, one message each; a terminal gets a prompt."""
    if prompt is not None:
        yield prompt
        return
    asking = sys.stdin.isatty()
    if asking:
        warn("Enter one message per line; Ctrl-D ends the chat.")
    while True:
        if asking:
            streams().err.write("> ")
            streams().err.flush()
        line = sys.stdin.readline()
        if not line:
            return
        if line.strip():
            yield line.strip()


def _say(chat: Chat, message: str, show: bool) -> Turn:
    from .views.chat_stream import LiveText

    text = LiveText() if show else None
    for piece, rate in chat.reply(message):
        if text:
            text.write(piece.text, f"{rate:.0f} tok/s", aside=piece.thought)
    turn = chat.last
    assert turn is not None
    if text:
        text.end()
        for call in turn.calls:
            warn(f"call: {call}")
        warn(
            f"[{turn.tokens} tokens, {turn.rate:.1f} tok/s; prompt: {turn.fed} fed, {turn.reused} kept, "
            f"{turn.prefill_seconds:.2f} s{ENDED[turn.ended]}]"
        )
    return turn
