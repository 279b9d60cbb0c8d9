"""The command line. Commands are imported only when they run, so that ``gemcut --help`` answers at once."""

from __future__ import annotations

import contextlib
import errno
import importlib
import io
import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

from ..errors import EXIT_BUG, EXIT_INTERRUPTED, EXIT_USAGE, GemcutError, LackingError, UsageError, nearest
from ..util.interrupts import ignore_signals, take_signals
from ..util.native_output import noise
from ..util.torch_folders import torch_folders

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

EXIT_BROKEN_PIPE = 141  # as in shells: 128 + SIGPIPE
NOISE_LINES = 20

COMMANDS = {
    "init": "Write a gemcut.toml that lists an app's bundles.",
    "export": "Cut MODEL to a proven bundle for a target, or build what gemcut.toml lists.",
    "validate": "Prove a bundle again from its own goldens, here or on a device.",
    "inspect": "Show what is in a bundle.",
    "diff": "Show what changed between two bundles, and whether it matters.",
    "check": "Say whether an app's runtime will run a bundle.",
    "bench": "Measure speed and memory of bundles, here or on a phone.",
    "eval": "Run benchmarks of language models on a bundle.",
    "chat": "Talk to a bundle.",
    "list": "List the bundles below a folder.",
    "rm": "Remove bundles.",
    "cache": "Show or prune what is kept between runs.",
    "plan": "Estimate size, memory and speed of MODEL on a target, without its weights.",
    "targets": "List targets, or explain one.",
    "recipes": "List quantization recipes, explain one, or search for one.",
    "devices": "List the devices that bundles can be proven on, or set one up.",
    "doctor": "Show what this machine can and can't do.",
    "completion": "Print the script with which a shell completes gemcut's words.",
}
# A module of this name would hide Python's own list from this package.
_MODULES = {"list": "list_bundles"}


class LazyGroup(click.Group):
    """A group whose commands are modules of this package, imported when they run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands, without importing them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None if there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f".{_MODULES.get(cmd_name, cmd_name)}", __name__).command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve a command line's command.

        Raises:
            UsageError: There is no such command; the message has the nearest.
        """
        if args and not args[0].startswith("-") and args[0] not in COMMANDS and not ctx.resilient_parsing:
            raise UsageError(
                f"unknown command '{args[0]}': {nearest(args[0], COMMANDS)}",
                hint="See gemcut --help for what each command does.",
            )
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete a command's name, without importing any of them, or a flag."""
        from click.shell_completion import CompletionItem

        found = [CompletionItem(name, help=text) for name, text in COMMANDS.items() if name.startswith(incomplete)]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands in ``--help``, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 proven, 1 a bug in gemcut, 2 usage, 3 checkpoint, 4 not supported, 5 gate failed, "
    "6 conformance failed, 7 over a budget, 8 the environment lacks something, 130 interrupted.",
)
@click.version_option(package_name="gemcut", prog_name="gemcut")
def cli() -> None:
    """Cut open models to fit the device. No bundle leaves without proof."""


def _take_any_text() -> None:
    """Have bytes that the locale's encoding lacks read as U+FFFD, and characters that it lacks written as a '?'."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            with contextlib.suppress(OSError, ValueError):  # closed, or in use already
                stream.reconfigure(errors="replace")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; whatever goes wrong becomes a message and an exit code.

    Args:
        argv: The words after ``gemcut``; None for those of ``sys.argv``.

    Returns:
        The exit code, one of those in :mod:`gemcut.errors`.
    """
    words = _as_flags(list(sys.argv[1:] if argv is None else argv))
    restore: Callable[[], None] | None = take_signals()
    _take_any_text()
    try:
        with torch_folders():
            result = cli.main(args=words, prog_name="gemcut", standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except (KeyboardInterrupt, click.Abort):
        if argv is None:  # the process's own command line: it is about to end
            ignore_signals()
            restore = None
        nothing = ", nothing was published" if words[:1] == ["export"] else ""
        return _report(words, "Interrupted", f"interrupted{nothing}", None, EXIT_INTERRUPTED)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return EXIT_USAGE
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        hint = f"See {context.command_path} --help." if context else "See gemcut --help."
        return _report(words, "UsageError", error.format_message(), hint, EXIT_USAGE)
    except BrokenPipeError:
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), 1
        )  # the reader is gone, so Python must not write to it at exit either
        return EXIT_BROKEN_PIPE
    except Exception as error:
        known = as_known(error)
        if "--verbose" in words:
            traceback.print_exception(error)
        if known is not None:
            return _report(words, type(known).__name__, known.message, known.hint, known.exit_code)
        return _report_bug(words, error)
    finally:
        if restore is not None:
            restore()


def _as_flags(words: list[str]) -> list[str]:
    """``gemcut help``, ``gemcut help export`` and ``gemcut version``, which people type, as what they mean."""
    if words[:1] == ["help"]:
        return [*words[1:], "--help"]
    return ["--version"] if words == ["version"] else words


def as_known(error: Exception) -> GemcutError | None:
    """Return the error as one that a user can act on; None if it is a bug."""
    if isinstance(error, GemcutError):
        return error
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        where = f" ({error.filename})" if error.filename else ""
        return LackingError(f"the disk is full{where}", hint="Free some space and try again.")
    if isinstance(error, MemoryError):
        return LackingError(
            "this machine doesn't have enough memory", hint="See gemcut plan for how much a model needs."
        )
    if isinstance(error, ModuleNotFoundError) and error.name:
        root = error.name.partition(".")[0]
        from ..runtimes import RUNTIMES

        for runtime in RUNTIMES:
            if root in runtime.modules:
                return LackingError(f"the package '{root}' is not installed", hint=runtime.install)
    return None


def _report(words: list[str], kind: str, message: str, hint: str | None, code: int) -> int:
    if "--json" in words:
        error = {"kind": kind, "message": message, "hint": hint, "exit_code": code}
        click.echo(json.dumps({"error": error}, indent=2))
    click.echo(f"error: {message}", err=True)
    if hint:
        click.echo(f"hint: {hint}", err=True)
    return code


def _report_bug(words: list[str], error: Exception) -> int:
    said = noise().splitlines()[-NOISE_LINES:]
    if said and "--verbose" not in words:
        click.echo("\n".join(["the libraries said:", *(f"  {line}" for line in said)]), err=True)
    hint = None if "--verbose" in words else "Run the command again with --verbose for the traceback."
    text = str(error).strip() or "no message"
    return _report(words, "Bug", f"this is a bug in gemcut: {type(error).__name__}: {text}", hint, EXIT_BUG)
