"""``gemcut doctor``."""

from __future__ import annotations

import click

from ..errors import EXIT_ENVIRONMENT, EXIT_PROVEN
from .common import Command, emit, json_option, say

MARKS = {"ok": "ok", "lacking": "LACKING", "note": "note"}


@click.command(cls=Command)
@json_option
def command(as_json: bool) -> int:
    """Show what this machine can and can't do, and the command that mends it.

    Ends with 0 where an export can run here, else with 8.
    """
    from ..doctor import examine
    from ..report.console import table

    diagnosis = examine()
    if as_json:
        emit(diagnosis)
    else:
        table(
            ((MARKS[c.state], c.name, c.found, c.fix) for c in diagnosis.checks),
            ("", "", "found", "what to do"),
        )
        say("This machine can export." if diagnosis.can_export else "Something that an export needs is lacking.")
    return EXIT_PROVEN if diagnosis.can_export else EXIT_ENVIRONMENT
