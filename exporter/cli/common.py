"""What all commands share: ``--json`` and ``--verbose``, and where results go."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..util.native_output import quiet, streams
from ..util.platform import host_threads

if TYPE_CHECKING:
    from ..bundle.manifest import Manifest
    from ..bundle.reader import Bundle
    from ..devices import Options
    from ..report.console import ConsoleProgress
    from ..util.progress import Progress

Function = TypeVar("Function", bound=Callable[..., Any])


class Command(click.Command):
    """A command during which only Gemcut writes to the terminal."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the command line; an option that takes one value is given once.

        Raises:
            UsageError: It is given twice, of which click would take the last in silence.
        """
        from ..errors import UsageError

        if ctx.resilient_parsing:  # a shell asks what completes the words so far
            return super().parse_args(ctx, args)
        _, _, given = self.make_parser(ctx).parse_args(args=list(args))
        for param in given:
            if isinstance(param, click.Option) and not param.multiple and not param.is_flag and given.count(param) > 1:
                raise UsageError(
                    f"{param.opts[0]} is given twice", hint=f"Give it once; see {ctx.command_path} --help."
                )
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, with the libraries' output held back unless ``--verbose`` is given."""
        host_threads()  # a wrong variable is told before any work
        ctx.meta["verbose"] = bool(ctx.params.pop("verbose", False))
        with quiet(verbose=ctx.meta["verbose"]):
            return super().invoke(ctx)


class CommandGroup(click.Group):
    """Commands of one kind of thing."""

    command_class = Command


class Group(CommandGroup):
    """``list`` and ``show`` of one kind of thing; ``list`` if neither is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the command line, with ``list`` added if no command is named."""
        helped = any(word in ctx.help_option_names for word in args[:1])
        if not helped and not ctx.resilient_parsing and (not args or args[0].startswith("-")):
            args = ["list", *args]
        return super().parse_args(ctx, args)


def json_option(function: Function) -> Function:
    """Add ``--json``, passed to the command as ``as_json``, and ``--verbose``, which :class:`Command` consumes."""
    click.option("--verbose", is_flag=True, help="Show what the libraries print, and tracebacks.")(function)
    click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")(function)
    return function


def device_options(function: Function) -> Function:
    """Add ``--timeout`` and ``--device-memory``, which ``parse_devices`` takes."""
    click.option("--device-memory", metavar="SIZE", help="The memory of arm64-vm, such as 2G.")(function)
    click.option(
        "--timeout",
        type=click.FloatRange(min=1),
        metavar="SECONDS",
        help="Time limit of a run on each device. Default: 600.",
    )(function)
    return function


def parse_devices(flag: str, specs: Sequence[str], values: Mapping[str, Any]) -> Options:
    """Return the devices' options, if a device takes each that is set.

    Args:
        flag: The flag that names devices, for messages.
        specs: The devices, as the user wrote them.
        values: The command's parameters, of which ``timeout`` and ``device_memory`` are read.

    Raises:
        UnsupportedError: A device is unknown.
        UsageError: A device is named twice, or none of them takes an option.
    """
    from ..devices import Options, kind_of
    from ..errors import UsageError

    kinds = [kind_of(spec) for spec in specs]
    for spec in specs:
        if specs.count(spec) > 1:
            raise UsageError(f"{flag} {spec} is given twice")
    if values["timeout"] is not None and not any(not kind.is_host for kind in kinds):
        raise UsageError(f"--timeout is for devices, and {flag} names none", hint="See gemcut devices for a list.")
    if values["device_memory"] is not None and not any(kind.takes_memory for kind in kinds):
        raise UsageError(f"--device-memory is for arm64-vm, which {flag} doesn't name", hint=f"Add {flag} arm64-vm.")
    return Options(values["timeout"], values["device_memory"])


def console_progress() -> ConsoleProgress:
    """Return progress on stderr; plain lines with ``--verbose``, since the libraries' lines would break up a bar."""
    from ..report.console import ConsoleProgress

    return ConsoleProgress(plain=click.get_current_context().meta["verbose"])


def say(text: str = "") -> None:
    """Write a line of the result to stdout."""
    click.echo(text, file=streams().out)


def warn(text: str) -> None:
    """Write a line that isn't part of the result to stderr."""
    click.echo(text, file=streams().err)


def emit(document: Any) -> None:
    """Write the result to stdout as one JSON document, an instance of one of ``documents.DOCUMENTS``."""
    from .documents import to_json

    say(to_json(document))


def warn_unproven(manifest: Manifest, bundle: Path) -> None:
    """Warn on stderr if a bundle was published without its proof."""
    if manifest.proven:
        return
    warn(f"UNPROVEN: {bundle} was published although it failed its gate. Don't ship it.")
    for reason in manifest.unproven:
        warn(f"  {reason}")


@contextmanager
def open_checked(bundle: Path, progress: Progress) -> Iterator[Bundle]:
    """Open a bundle and check every byte of it, since a runtime itself verifies no program.

    Yields:
        The bundle.

    Raises:
        ConformanceError: Something in it was changed or is missing.
        UsageError: There is no bundle there.
    """
    from ..bundle.reader import open_bundle

    progress.stage("Checking every byte")
    with open_bundle(bundle) as opened:
        opened.verify()
        warn_unproven(opened.manifest, bundle)
        yield opened
