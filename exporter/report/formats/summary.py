"""Outcomes as a Markdown summary, such as GitHub shows below a job (``$GITHUB_STEP_SUMMARY``).

GitHub takes 1 MiB from a step and shows nothing if it wrote more, so what doesn't fit is left out with a note.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from .. import wording as shown
from .base import ReportFormat

if TYPE_CHECKING:
    from ...prove.gate import Verdict
    from ..outcome import Finding, Outcome

LIMIT = 1024 * 1024  # bytes; "Adding a job summary" in GitHub's documentation of workflow commands
# Characters that have a meaning in GitHub's Markdown: CommonMark's marks, tables, math, mentions, and, before a word,
# emoji and addresses. At the start of a line also what begins a list, a heading or a rule.
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|~&@$#!])|(:)(?=\S)|(?<=www)(\.)", re.IGNORECASE)
_START = re.compile(r"^(?:([-+=])|(\d+)([.)])(?=\s|$))")
_MOST_TEXT = 2000  # characters of a message in a table's cell
_LEFT_OUT = "\n*More was found than fits here; the other reports have all of it.*\n"
_WORST = 5
_ROWS = 100  # of a table: a longer one is split, so that at least a part fits
_HEADS = ("check", "measured", "limit", "what was found")


def markdown(text: str) -> str:
    """Return Markdown that shows a text as it is, on one line, in a table's cell too."""
    line = shown.one_line("".join(c if c.isprintable() else " " for c in text))
    cut = line if len(line) <= _MOST_TEXT else line[:_MOST_TEXT] + " ..."
    return _START.sub(lambda at: f"{at[2] or ''}\\{at[1] or at[3]}", _SPECIAL.sub(r"\\\g<0>", cut))


def summary(outcomes: Sequence[Outcome], limit: int = LIMIT) -> str:
    """Return the summary, of at most ``limit`` bytes of UTF-8; empty if not even its heading fits.

    Args:
        outcomes: The outcomes in the order that they are to have; the details of those that failed come first.
        limit: How many bytes the file may still take.
    """
    blocks = [f"## {markdown(shown.heading(outcomes))}\n", *_table_of(outcomes)]
    blocks += [part for one in outcomes if not one.passed for part in _failed(one)]
    blocks += [part for one in outcomes for part in _details(one)]
    return _fitting(blocks, limit)


def _fitting(blocks: Iterable[str], limit: int) -> str:
    """Return as many whole blocks as fit, and a note on the rest."""
    out: list[str] = []
    size = 0
    spare = len(_LEFT_OUT.encode())
    for block in blocks:
        encoded = len(block.encode("utf-8", "replace")) + 1
        if size + encoded + spare > limit:
            return "\n".join([*out, _LEFT_OUT]) if out else ""
        out.append(block)
        size += encoded
    return "\n".join(out)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _table_of(outcomes: Sequence[Outcome]) -> Iterator[str]:
    if not outcomes:
        return
    rows = [
        (
            f"{'✅' if one.passed else '❌'} {markdown(one.name)}",
            markdown(one.runtime) or "-",
            markdown(one.target) or "-",
            markdown(one.state),
            f"{len(one.failures)} of {len(one.findings)}",
            markdown(_fidelity(one)),
            markdown(_size(one)),
            f"{sum(one.seconds.values()):.1f}",
        )
        for one in outcomes
    ]
    yield _table(("bundle", "runtime", "target", "state", "failed checks", "fidelity", "size", "seconds"), rows)


def _fidelity(outcome: Outcome) -> str:
    grade, verdict = outcome.grade, outcome.evidence.verdict if outcome.evidence else None
    return f"{grade.words} ({verdict.fidelity.mean_kl:.3g} nats)" if grade and verdict else "-"


def _size(outcome: Outcome) -> str:
    from ...util.text import size_text

    return size_text(outcome.evidence.size) if outcome.evidence and outcome.evidence.size else "-"


def _rows(findings: Iterable[Finding]) -> Iterator[tuple[str, ...]]:
    """Yield a row for each finding; a hint that several share stands with the first of them."""
    said: set[str | None] = {None, ""}
    for finding in findings:
        hint = "" if finding.hint in said else f" ({finding.hint})"
        said.add(finding.hint)
        yield (
            markdown(shown.rule_title(finding.rule)),
            markdown(shown.number(finding.rule, finding.measured)),
            markdown(shown.number(finding.rule, finding.limit)),
            markdown(finding.message + hint),
        )


def _failed(outcome: Outcome) -> Iterator[str]:
    yield f"### ❌ {markdown(shown.label(outcome))}: {markdown(outcome.state)}\n"
    for at in range(0, len(outcome.failures), _ROWS):
        yield _table(_HEADS, _rows(outcome.failures[at : at + _ROWS]))
    if outcome.notes:
        yield "".join(f"- {markdown(note)}\n" for note in outcome.notes)
    if outcome.evidence is not None and outcome.evidence.verdict is not None and not outcome.evidence.verdict.passed:
        yield _worst(outcome.evidence.verdict)


def _worst(verdict: Verdict) -> str:
    rows = [
        (markdown(row.prompt), str(row.position), f"{row.kl:.4g}", f"{row.top1:.1%}", markdown(row.failed) or "-")
        for row in verdict.rows(_WORST)
    ]
    return "The worst prompts:\n\n" + _table(("prompt", "worst position", "KL (nats)", "top-1", "failed"), rows)


def _details(outcome: Outcome) -> Iterator[str]:
    """Yield what passed, folded away."""
    passed = [finding for finding in outcome.findings if finding.passed]
    if passed:
        title = f"{_html(shown.label(outcome))}: {len(passed)} checks passed"
        yield f"<details><summary>{title}</summary>\n\n{_table(_HEADS, _rows(passed))}\n</details>\n"
    if outcome.passed and outcome.notes:
        yield "".join(f"- {markdown(shown.label(outcome))}: {markdown(note)}\n" for note in outcome.notes)


def _html(text: str) -> str:
    import html

    return html.escape(shown.one_line(text))


class Summary(ReportFormat):
    """See ``ReportFormat``."""

    name = "summary"
    suffix = ".md"
    help = "a summary in Markdown; it also goes to $GITHUB_STEP_SUMMARY if that is set."

    def render(self, outcomes: Sequence[Outcome], environ: Mapping[str, str]) -> bytes:
        """See ``ReportFormat``."""
        return summary(outcomes).encode("utf-8", "replace")


FORMAT = Summary()
