"""``gemcut diff``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..errors import EXIT_BUDGET, EXIT_PROVEN
from . import completed_values as complete
from .common import Command, console_progress, emit, json_option, warn
from .reporting import report_options, reporting


class _DiffCommand(Command):
    """Lists the names that ``--fail-on`` takes, from the modules that define them."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from ..diff.document import AREAS
        from ..diff.thresholds import FIGURES

        with formatter.section("Figures, as NAME>LIMIT or NAME<LIMIT"):
            formatter.write_dl(list(FIGURES.items()))
        with formatter.section("Areas, alone: any change in"):
            formatter.write_dl(list(AREAS.items()))


@click.command(cls=_DiffCommand)
@click.argument("a", type=click.Path(path_type=Path), shell_complete=complete.BUNDLES)
@click.argument("b", type=click.Path(path_type=Path), shell_complete=complete.BUNDLES)
@click.option(
    "--fail-on",
    "limits",
    multiple=True,
    metavar="LIMIT[,LIMIT...]",
    shell_complete=complete.LIMITS,
    help="Exit with 7 if a limit is exceeded, such as size>+5%; may be repeated.",
)
@report_options
@json_option
def command(a: Path, b: Path, limits: tuple[str, ...], as_json: bool, **options: Any) -> int:
    """Show what changed from bundle A to bundle B, and whether it matters.

    Checks every byte of both, then compares size, recipe, operators, versions, template, tokenizer, and what the two
    do: fidelity, replies and tool calls, from the records inside them. Nothing is run. Each area is the same, has a
    harmless change, or has a change that matters, and the reason is given.

    --fail-on is for CI. LIMIT is an area, which means any change in it, or a figure with a limit. With a sign
    (size>+5%, mean_kl>+0.001, top1<-0.01) the limit is on the change from A to B, without one (size>10MB,
    mean_kl>0.01) on B alone. Sizes take B, kB, MB and GB. Quote them, since a shell interprets >.

    Exit codes: 0 no limit was exceeded, 6 a bundle was changed or is damaged, 7 a limit was exceeded.
    """
    from ..diff.compare import diff_bundles
    from ..diff.outcome import outcome
    from ..diff.thresholds import parse_thresholds
    from .views.diff import show

    with reporting(options, "diff", b.name) as report:
        parsed = parse_thresholds(limits)
        with console_progress() as progress:
            found = diff_bundles(a, b, parsed, progress)
        report.add(outcome(found, progress.seconds))
    if as_json:
        emit(found)
    else:
        show(found)
    for line in found.thresholds:
        if not line.passed:
            warn(f"failed: {line.threshold}: {line.message}")
    return EXIT_PROVEN if found.passed else EXIT_BUDGET
