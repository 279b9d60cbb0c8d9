"""What every command shares: ``--json`` and ``--verbose``, and where results go."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..util.native_output import quiet, streams

if TYPE_CHECKING:
    from ..bundle.manifest import Manifest
    from ..bundle.reader import Bundle
    from ..devices import Options
    from ..report.console import ConsoleProgress
    from ..util.progress import Progress

Function = TypeVar("Function", bound=Callable[..., Any])


class Command(click.Command):
    """A command within which nothing but Gemcut speaks to the user."""

    def invoke(self, ctx: click.Context) -> Any:
        ctx.meta["verbose"] = bool(ctx.params.pop("verbose", False))
        with quiet(verbose=ctx.meta["verbose"]):
            return super().invoke(ctx)


class Group(click.Group):
    """``list`` and ``show`` of one kind of thing; ``list`` where neither is named."""

    command_class = Command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        helped = any(word in ctx.help_option_names for word in args[:1])
        if not helped and (not args or args[0].startswith("-")):
            args = ["list", *args]
        return super().parse_args(ctx, args)


def json_option(function: Function) -> Function:
    """``--json``, handed to the command as ``as_json``, and ``--verbose``, which :class:`Command` consumes."""
    click.option("--verbose", is_flag=True, help="Show what the libraries say, and tracebacks.")(function)
    click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")(function)
    return function


def device_options(function: Function) -> Function:
    """``--timeout`` and ``--memory``, which ``parse_devices`` takes."""
    click.option("--memory", metavar="SIZE", help="Of arm64-vm, such as 2G.")(function)
    click.option("--timeout", type=click.FloatRange(min=1), metavar="SECONDS",
                 help="For the goldens on each device; 600 unless said.")(function)  # fmt: skip
    return function


def parse_devices(flag: str, specs: Sequence[str], values: Mapping[str, Any]) -> Options:
    """The devices' options; refuses those that no device takes.

    Raises:
        UnsupportedError: A device that isn't known.
        UsageError: One named twice, or an option that none of them takes.
    """
    from ..devices import Options, kind_of
    from ..errors import UsageError

    kinds = [kind_of(spec) for spec in specs]
    for spec in specs:
        if specs.count(spec) > 1:
            raise UsageError(f"{flag} {spec} is there twice")
    if values["timeout"] is not None and not any(not kind.is_host for kind in kinds):
        raise UsageError(f"--timeout is for devices: name one with {flag}", hint="gemcut devices lists them.")
    if values["memory"] is not None and not any(kind.takes_memory for kind in kinds):
        raise UsageError(f"--memory is for arm64-vm: name it with {flag}", hint="gemcut devices lists them.")
    return Options(values["timeout"], values["memory"])


def console_progress() -> ConsoleProgress:
    """Progress on stderr; plain lines with ``--verbose``, which the libraries' own would tear a bar apart."""
    from ..report.console import ConsoleProgress

    return ConsoleProgress(plain=click.get_current_context().meta["verbose"])


def say(text: str = "") -> None:
    """A line of the result, to stdout."""
    click.echo(text, file=streams().out)


def warn(text: str) -> None:
    """A line beside the result, to stderr."""
    click.echo(text, file=streams().err)


def emit(document: Any) -> None:
    """The result as one JSON document, to stdout. ``document``: one of :data:`..report.documents.DOCUMENTS`."""
    from .documents import to_json

    say(to_json(document))


def warn_unproven(manifest: Manifest, bundle: Path) -> None:
    """Says loudly, on stderr, that a bundle was published without its proof."""
    if manifest.proven:
        return
    warn(f"UNPROVEN: {bundle} was published although it failed its gate. Don't ship it.")
    for reason in manifest.unproven:
        warn(f"  {reason}")


@contextmanager
def open_checked(bundle: Path, progress: Progress) -> Iterator[Bundle]:
    """A bundle of which every byte has been checked: a runtime verifies no program itself.

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
