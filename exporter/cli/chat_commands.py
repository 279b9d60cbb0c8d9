"""The slash commands of ``gemcut chat``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..errors import UsageError, nearest
from .common import say

if TYPE_CHECKING:
    from .chat_session import Session

NONE = "none"


@dataclass(frozen=True)
class SlashCommand:
    """What can be asked of the chat itself.

    Attributes:
        name: Its name without the slash.
        argument: What may follow it, as help shows it; empty for nothing.
        help: What it does.
        run: Does it; takes the session and what followed the name.
    """

    name: str
    argument: str
    help: str
    run: Callable[[Session, str], None]


def _help(session: Session, argument: str) -> None:
    for command in COMMANDS:
        say(f"{f'/{command.name} {command.argument}':22}{command.help}")
    say(f'{"Alt-Enter":22}Begin another line of the same message. A message may also begin and end with """.')
    say(f"{'Ctrl-C':22}Stop the answer.")


def _clear(session: Session, argument: str) -> None:
    session.chat.clear()
    say("Forgotten. The system message and the tools stay.")


def _system(session: Session, argument: str) -> None:
    options = session.chat.options
    if argument:
        session.chat.change(replace(options, system="" if argument == NONE else argument))
    say(session.chat.options.system or "There is no system message.")


def _tools(session: Session, argument: str) -> None:
    from ..chat.tool_files import read_tools

    if argument:
        tools = [] if argument == NONE else read_tools(argument)
        session.chat.change(replace(session.chat.options, tools=tools))
    for tool in session.chat.options.tools:
        function = tool["function"]
        parameters = function.get("parameters", {}).get("properties", {})
        say(f"{function['name']}({', '.join(parameters)})".ljust(40) + f" {function.get('description', '')}".rstrip())
    if not session.chat.options.tools:
        say("The model may call no tools. /tools FILE declares some, /tools sample those of the sample model.")


def _stats(session: Session, argument: str) -> None:
    chat, turns = session.chat, session.turns
    tokens, seconds = sum(turn.tokens for turn in turns), sum(turn.decode_seconds for turn in turns)
    fed, prefill = sum(turn.fed for turn in turns), sum(turn.prefill_seconds for turn in turns)
    manifest = session.manifest
    say(f"bundle    {manifest.model.name}, {manifest.recipe.name}, {manifest.runtime.name} {manifest.runtime.version}")
    say(f"sampling  {chat.options.sampling}")
    say(f"context   {chat.held} of {manifest.context} tokens")
    say(f"prompts   {fed} tokens fed" + (f", {fed / prefill:.0f} tok/s" if prefill else ""))
    say(f"replies   {tokens} tokens" + (f", {tokens / seconds:.1f} tok/s" if seconds else ""))
    if turns and turns[-1].tokens:
        say(f"last      {turns[-1].tokens} tokens, {turns[-1].rate:.1f} tok/s")


def _bye(session: Session, argument: str) -> None:
    raise EOFError


COMMANDS = (
    SlashCommand("help", "", "List these commands.", _help),
    SlashCommand("clear", "", "Forget what was said.", _clear),
    SlashCommand("system", "[TEXT|none]", "Show or set the system message.", _system),
    SlashCommand("tools", "[FILE|sample|none]", "Show or set the tools that the model may call.", _tools),
    SlashCommand("stats", "", "Show tokens, speed, context and sampling.", _stats),
    SlashCommand("bye", "", "End the chat.", _bye),
)


def run_command(session: Session, typed: str) -> bool:
    """Run a command, and return whether the chat goes on.

    Args:
        session: The chat.
        typed: What was typed, slash included.

    Raises:
        UsageError: There is no such command, or it takes nothing after its name.
    """
    name, _, argument = typed.removeprefix("/").partition(" ")
    command = next((one for one in COMMANDS if one.name == name.lower()), None)
    if command is None:
        near = nearest(name, [one.name for one in COMMANDS])
        raise UsageError(f"there is no command /{name}", hint=f"{near} To send text that begins so, put a space first.")
    if argument.strip() and not command.argument:
        raise UsageError(f"/{command.name} takes nothing after it")
    try:
        command.run(session, argument.strip())
    except EOFError:
        return False
    return True
