"""``gemcut check``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import EXIT_CONFORMANCE, EXIT_PROVEN, EXIT_UNSUPPORTED
from . import completed_values as complete
from .common import Command, console_progress, emit, json_option, say, warn
from .reporting import report_options, reporting
from .shared_options import bundle_argument

if TYPE_CHECKING:
    from ..check import CheckResult, RuntimeCheck
    from ..compat.verdict import Lack, Verdict

_ANSWERS: dict[Verdict, str] = {
    "runs": "it runs",
    "may": "it may run: nothing is missing, as far as can be told",
    "fails": "it does NOT run",
    "unpublished": "no such release is known",
    "unknown": "it isn't known whether it runs",
}
_WAYS = {
    "release": "from what is known about the release",
    "library": "from the library itself, loaded and asked",
    "strings": "from the library's strings, which may name more than it has",
}


# click keeps the lines of a paragraph that begins with a backspace.
_HELP = """Say whether an app's runtime will run BUNDLE, and if not, what it lacks.

\b
R is one of
  a version     executorch-android==1.1.0, litertlm-android==0.11.0,
                react-native-executorch==0.8.4, org.pytorch:executorch-android:1.1.0
  a file        build.gradle, build.gradle.kts, libs.versions.toml, package.json
  a folder      the app's folder: all such files in it
  a library     app-release.apk, .aab, .aar, libexecutorch.so, npm:PACKAGE@VERSION

A version is compared with what is known about that release. A library is loaded and asked; if this machine
can't load it, its strings are read, and the verdict is only that it may run. The bundle itself isn't run:
gemcut validate --on android-lib:LIBRARY does that.

The first line is the answer. Exit codes: 0 it runs or may run, 6 it doesn't run, 4 it can't be known, or no such
release is known.
"""


@click.command(cls=Command, help=_HELP)
@bundle_argument
@click.option(
    "--runtime",
    "asked",
    required=True,
    metavar="R",
    shell_complete=complete.RELEASES,
    help="The runtime that the app ships; see above.",
)
@report_options
@json_option
def command(bundle: Path, asked: str, as_json: bool, **reports: Any) -> int:
    """Run ``gemcut check``, whose help is ``_HELP``."""
    from ..check import check
    from ..check.outcome import outcome

    with reporting(reports, "check", bundle.name) as report:
        with console_progress() as progress:
            found = check(bundle, asked, progress)
        report.add(outcome(found))
    if as_json:
        emit(found)
    else:
        _show(found)
    for one in found.runtimes:
        for said, lacks in (("lacks", one.missing), ("isn't known to have", one.unknown)):
            if lacks and one.verdict != "unpublished":
                warn(f"failed: {one.title} {said} {', '.join(lack.name for lack in lacks)}")
        if one.verdict == "unpublished":
            warn(f"failed: {one.title}: {one.unknown[0].why}")
    codes = {"fails": EXIT_CONFORMANCE, "unpublished": EXIT_UNSUPPORTED, "unknown": EXIT_UNSUPPORTED}
    return codes.get(found.verdict, EXIT_PROVEN)


def _show(found: CheckResult) -> None:
    say(_answer(found))
    for one in found.runtimes:
        if len(found.runtimes) > 1:
            say(f"\n{_named(one)}: {_ANSWERS[one.verdict]}")
        _show_reasons(one)


def _answer(found: CheckResult) -> str:
    """The answer in one line: the worst verdict, and the runtimes that it is about."""
    worst = [one for one in found.runtimes if one.verdict == found.verdict]
    named = ", ".join(map(_named, worst))
    if found.verdict == "unpublished":
        return f"{_ANSWERS[found.verdict]}: {named} ({worst[0].unknown[0].why.partition('; ')[2]})"
    others = f" ({len(worst)} of the {len(found.runtimes)} that were found)" if len(found.runtimes) > 1 else ""
    return f"{_ANSWERS[found.verdict]}: {Path(found.bundle).name} on {named}{others}"


def _named(one: RuntimeCheck) -> str:
    from ..util.text import path_text

    return f"{one.title} ({path_text(Path(one.file))}:{one.line})" if one.file else one.title


def _show_reasons(one: RuntimeCheck) -> None:
    from ..compat.verdict import WORDS
    from .views.table import table

    lacks = [_row(lack, "missing") for lack in one.missing] + [_row(lack, "not known") for lack in one.unknown]
    if lacks and one.verdict != "unpublished":
        table(lacks, ("what", "name", "", "why", "since"))
    looked = ", ".join(f"{number} {WORDS[kind][number != 1]}" for kind, number in one.checked.items())
    rows = [("told", _WAYS[one.way]), ("looked for", looked)] if one.verdict != "unpublished" else []
    rows += [("to avoid it" if one.missing else "to settle it", each) for each in one.advice]
    rows += [("note", each) for each in one.notes]
    rows += [("source", each) for each in one.sources]
    table(rows)


def _row(lack: Lack, state: str) -> tuple[str, str, str, str, str]:
    return lack.kind, lack.name, state, lack.why, lack.newer or ""
