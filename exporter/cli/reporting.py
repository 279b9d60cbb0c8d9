"""``--junit``, ``--sarif``, ``--html`` and ``--summary``, for every command that checks something.

A command that has them takes :func:`report_options` and does its work within :func:`reporting`::

    with reporting(flags, "export", "chat") as report:
        report.add(outcome)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..errors import EXIT_INTERRUPTED, GemcutError, UsageError
from ..report.formats import FORMATS
from .common import warn

if TYPE_CHECKING:
    from ..report.outcome import Action, Outcome, Place

Function = TypeVar("Function", bound=Callable[..., Any])


def report_options(function: Function) -> Function:
    """Add a flag for each report format (``--junit`` and so on), passed to the command as a path or None."""
    for each in reversed(list(FORMATS)):
        kind = click.Path(path_type=Path, dir_okay=True)
        click.option(f"--{each.name}", metavar="FILE", type=kind, help=f"Also write {each.help}")(function)
    return function


class Bug(GemcutError):
    """A bug in Gemcut, in the command line's words."""


class Interrupted(GemcutError):
    """Ctrl-C, or a CI service that cancels the job."""

    exit_code = EXIT_INTERRUPTED


@dataclass
class Report:
    """What a command has found out so far.

    Attributes:
        action: The command.
        name: The name of what it works on.
        place: Where the user's files name that.
        outcomes: What became of each bundle.
    """

    action: Action
    name: str
    place: Place | None = None
    outcomes: list[Outcome] = field(default_factory=list)

    def add(self, *outcomes: Outcome) -> None:
        """Add what became of one or more bundles to the reports."""
        self.outcomes += outcomes

    def failed_by(self, error: GemcutError) -> None:
        """Add an error as a finding, unless a finding with the same exit code is there already and says more."""
        from ..report.outcome import Finding, Outcome

        if any(finding.exit_code == error.exit_code for one in self.outcomes for finding in one.failures):
            return
        rule = f"error.{type(error).__name__}"
        finding = Finding(rule, False, error.message, error.exit_code, hint=error.hint)
        self.add(Outcome(self.action, self.name, "failed", (finding,), place=self.place))


@contextmanager
def reporting(
    flags: Mapping[str, Any],
    action: Action,
    name: str,
    place: Place | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Iterator[Report]:
    """Write the reports at the end, however the command ends.

    An error becomes a finding with the class's name, message, hint and exit code. An interrupted command leaves reports
    of what it had found. If ``GITHUB_ACTIONS`` is ``true``, what failed is also annotated, on stderr: GitHub reads both
    streams, and stdout only holds results.

    Args:
        flags: The command's parameters, of which those of the report formats are read.
        action: The command.
        name: The name of what it works on, for an error that belongs to no bundle.
        place: Where the user's files name that.
        environ: The environment.

    Yields:
        The report to add outcomes to.

    Raises:
        UsageError: A report can't be written: before any work if that can be known, else after it.
        LackingError: ``--html`` is given, and the package that draws isn't installed.
    """
    from ..report.writer import ReportFiles, check_files

    asked = {name: flags.get(name.replace("-", "_")) for name in FORMATS.names()}
    files = ReportFiles(**{name: path for name, path in asked.items() if path is not None})
    check_files(files)
    report = Report(action, name, place)
    try:
        yield report
    except (KeyboardInterrupt, click.Abort):
        report.failed_by(Interrupted("interrupted before everything was done"))
        _write(report, files, environ, mask=True)
        raise
    except Exception as error:
        report.failed_by(_known(error))
        _write(report, files, environ, mask=True)
        raise
    _write(report, files, environ, mask=False)


def _write(report: Report, files: Any, environ: Mapping[str, str], mask: bool) -> None:
    """Write all reports; with ``mask`` another error is being raised, which an error here must not hide."""
    from ..report.annotations import workflow_commands
    from ..report.writer import write_reports

    for line in workflow_commands(report.outcomes, environ):
        warn(line)
    try:
        for sentence in write_reports(report.outcomes, files, environ):
            warn(f"warning: {sentence}")
    except Exception as error:
        if not mask:
            raise
        warn(f"warning: {error}")


def _known(error: Exception) -> GemcutError:
    """The error as the command line shows it."""
    from . import as_known

    if isinstance(error, click.ClickException):
        return UsageError(error.format_message())
    known = as_known(error)
    if known is not None:
        return known
    return Bug(f"this is a bug in gemcut: {type(error).__name__}: {str(error).strip() or 'no message'}")
