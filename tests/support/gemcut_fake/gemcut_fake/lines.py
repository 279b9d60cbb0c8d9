"""A third party's report format: a line for each finding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gemcut.report.formats.base import ReportFormat
from gemcut.report.outcome import Outcome


class Lines(ReportFormat):
    name = "lines"
    suffix = ".txt"
    help = "a line for each finding."

    def render(self, outcomes: Sequence[Outcome], environ: Mapping[str, str]) -> bytes:
        found = [f"{finding.rule} {finding.passed}" for outcome in outcomes for finding in outcome.findings]
        return ("\n".join(found) + "\n").encode()


FORMAT = Lines()
