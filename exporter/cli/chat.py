"""``gemcut chat``."""

from __future__ import annotations

import math
import sys
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError
from ..util.text import readable
from . import completed_values as complete
from .common import Command, console_progress, emit, json_option, open_checked, warn
from .shared_options import bundle_argument

if TYPE_CHECKING:
    from ..bundle.reader import Bundle
    from ..chat.conversation import Chat
    from ..chat.options import ChatOptions
    from ..chat.sampling import Sampling
    from ..prove.runner import Runner


@click.command(cls=Command)
@bundle_argument
@click.option(
    "--prompt",
    metavar="TEXT",
    help="Send this message and exit. Default: a chat, or one message per line of stdin if that is no terminal.",
)
@click.option("--system", metavar="TEXT", help="A system message before all others.")
@click.option(
    "--tools",
    metavar="FILE|sample",
    shell_complete=complete.words_or("file", "sample"),
    help="The tools that the model may call: a JSON list of declarations, or the sample model's own.",
)
@click.option(
    "--tool-results",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help='What each tool gives back: a JSON object such as {"set_alarm": {"status": "ok"}}. '
    "Default: a chat asks for it.",
)
@click.option(
    "--thinking/--no-thinking",
    default=None,
    help="Whether the model thinks before it answers. Default: what its chat template does.",
)
@click.option(
    "--max-new-tokens", type=click.IntRange(min=1), default=512, show_default=True, help="The most tokens of one reply."
)
@click.option(
    "--temperature",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="Draw each token by its probability; larger is more varied. 0 always takes the likeliest (greedy).",
)
@click.option("--top-k", type=click.IntRange(min=1), help="Draw from this many of the likeliest tokens.")
@click.option(
    "--top-p",
    type=click.FloatRange(min=0, min_open=True, max=1),
    help="Draw from the likeliest tokens that together have this probability.",
)
@click.option("--seed", type=click.IntRange(min=0), help="Draw the same tokens again. Default: another seed each time.")
@click.option("--threads", type=click.IntRange(min=1), help="Number of threads. Default: the runtime's own choice.")
@json_option
def command(bundle: Path, prompt: str | None, threads: int | None, as_json: bool, **values: Any) -> None:
    """Talk to BUNDLE through its own chat template and tokenizer.

    On a terminal, /help lists what can be asked of the chat itself. Ctrl-C stops an answer, Ctrl-D ends the chat.
    """
    from ..chat.open_bundle import open_chat
    from ..chat.tool_files import read_results, read_tools

    talks = prompt is None and sys.stdin.isatty()
    if as_json and talks:
        raise UsageError("--json needs --prompt TEXT, or messages on stdin")
    tools = read_tools(values["tools"]) if values["tools"] is not None else []
    if values["tool_results"] is not None and values["tools"] is None:
        raise UsageError("--tool-results is for --tools, which isn't given", hint="add --tools FILE, or --tools sample")
    results = read_results(values["tool_results"], tools) if values["tool_results"] else None
    options = _options(values, tools, results is not None)
    with ExitStack() as stack:
        with console_progress() as progress:
            opened = stack.enter_context(open_checked(bundle, progress))
            runner = _open_runner(opened, threads, progress.stage, later=talks)
            stack.callback(runner.close)
            chat = open_chat(opened, runner, options)
        if options.thinking and not chat.tells_thoughts:
            warn(
                "This bundle's prompt.json doesn't say how thoughts are marked, so they are shown as part of the reply."
            )
        if talks:
            from .chat_terminal import talk

            talk(chat, opened.manifest, results)
        else:
            _answer(chat, bundle, opened.manifest.proven, prompt, results, as_json)


def _options(values: dict[str, Any], tools: list[dict[str, Any]], results: bool) -> ChatOptions:
    from ..chat.options import ChatOptions

    system = readable(values["system"]) if values["system"] else ""
    return ChatOptions(values["max_new_tokens"], system, tools, values["thinking"], _sampling(values), results)


def _sampling(values: dict[str, Any]) -> Sampling:
    from ..chat.sampling import Sampling, random_seed

    for name in ("temperature", "top_p"):
        if values[name] is not None and not math.isfinite(values[name]):
            raise UsageError(f"--{name.replace('_', '-')} {values[name]} is not a number")
    if not values["temperature"]:
        given = next((name for name in ("top_k", "top_p", "seed") if values[name] is not None), None)
        if given is not None:
            flag = "--" + given.replace("_", "-")
            raise UsageError(
                f"{flag} has no effect without --temperature: the likeliest token is always taken",
                hint=f"add --temperature 1, or leave out {flag}",
            )
        return Sampling()
    seed = random_seed() if values["seed"] is None else values["seed"]
    found = Sampling(values["temperature"], seed=seed)
    return replace(found, **{name: values[name] for name in ("top_k", "top_p") if values[name] is not None})


def _open_runner(opened: Bundle, threads: int | None, tell: Any, later: bool) -> Runner:
    from ..runtimes import get_runtime

    load = partial(get_runtime(opened.manifest.runtime.name).engine.open, opened.program, threads)
    if later:
        from ..chat.loading import LoadingRunner

        return LoadingRunner(load)
    tell("Loading the program")
    return load()


def _answer(
    chat: Chat, bundle: Path, proven: bool, prompt: str | None, results: dict[str, Any] | None, as_json: bool
) -> None:
    """Answer the given prompt, or each line of stdin."""
    from ..chat.turns import ChatLog
    from .chat_turns import converse, given, show

    sampling = chat.options.sampling
    if sampling.temperature and not as_json:
        warn(f"Sampling: {sampling}")
    messages = [readable(prompt)] if prompt is not None else (line.strip() for line in sys.stdin)
    turns = [
        turn
        for message in messages
        if message or prompt is not None
        for turn in converse(chat, message, given(results), None if as_json else show)
    ]
    if as_json:
        emit(ChatLog(str(bundle), proven, sampling, tuple(turns)))
