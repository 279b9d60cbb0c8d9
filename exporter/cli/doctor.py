"""``gemcut doctor``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..errors import EXIT_ENVIRONMENT, EXIT_PROVEN
from .common import Command, emit, json_option, say

if TYPE_CHECKING:
    from ..doctor import Diagnosis

MARKS = {"ok": "ok", "lacking": "LACKING", "note": "note"}
YES_NO = {True: "yes", False: "no"}


@click.command(cls=Command)
@json_option
def command(as_json: bool) -> int:
    """Show what this machine can and can't do, and the commands that fix it.

    Exit codes: 0 an export to at least one runtime can run here, 8 none can.
    """
    from ..doctor import examine
    from .views.table import table

    diagnosis = examine()
    if as_json:
        emit(diagnosis)
    else:
        table(
            ((r.name, YES_NO[r.can_export], YES_NO[r.can_run], r.found, r.fix) for r in diagnosis.runtimes),
            ("runtime", "exports", "runs", "found", "what to do"),
        )
        table(
            ((MARKS[c.state], c.name, c.found, c.fix) for c in diagnosis.checks),
            ("", "", "found", "what to do"),
        )
        say(_verdict(diagnosis))
    return EXIT_PROVEN if diagnosis.can_export else EXIT_ENVIRONMENT


def _verdict(diagnosis: Diagnosis) -> str:
    if diagnosis.can_export:
        names = [runtime.name for runtime in diagnosis.runtimes if runtime.can_export]
        return f"This machine can export: {', '.join(names)}."
    if any(runtime.can_run for runtime in diagnosis.runtimes):
        return "This machine can run bundles, but it lacks something that an export needs."
    return "This machine lacks something that an export needs."
