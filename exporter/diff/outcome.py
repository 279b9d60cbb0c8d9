"""A comparison in the one form that all reports are made from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import EXIT_BUDGET
from ..report.outcome import Finding, Outcome

if TYPE_CHECKING:
    from .document import Change, DiffResult, ThresholdLine


def outcome(found: DiffResult, seconds: dict[str, float] | None = None) -> Outcome:
    """Return the comparison as findings: each limit as ``diff.NAME``, and each area without a limit.

    Only a limit that isn't kept fails, with exit code 7; a change that matters is reported, but doesn't fail by itself.

    Args:
        found: The comparison, from ``diff_bundles``.
        seconds: The time by stage.
    """
    held = {line.name for line in found.thresholds}
    findings = [
        *(_limit(line, found) for line in found.thresholds),
        *(_area(change, found) for change in found.changes if change.area not in held),
    ]
    return Outcome(
        action="diff",
        name=Path(found.b.bundle).name,
        state="done" if found.passed else "failed",
        findings=tuple(findings),
        runtime=found.b.runtime.split()[0],
        target=found.b.target,
        bundle=Path(found.b.bundle),
        seconds=dict(seconds or {}),
        notes=(
            f"compared with {found.a.bundle}",
            *filter(None, [found.float_models]),
            *(f"not compared: {note}" for note in found.uncompared),
        ),
    )


def _limit(line: ThresholdLine, found: DiffResult) -> Finding:
    return Finding(
        rule=f"diff.{line.name}",
        passed=line.passed,
        message=f"--fail-on {line.threshold}: {line.message}",
        exit_code=0 if line.passed else EXIT_BUDGET,
        measured=line.measured,
        limit=line.limit,
        prompt=_prompt(line.name, found),
    )


def _area(change: Change, found: DiffResult) -> Finding:
    message = "no change" if change.severity == "same" else f"{change.severity}: {change.what} ({change.reason})"
    return Finding(f"diff.{change.area}", True, message, prompt=_prompt(change.area, found))


def _prompt(name: str, found: DiffResult) -> str | None:
    """Return the prompt where it shows first."""
    behaviour = found.behaviour
    if name == "texts" and behaviour.texts:
        return behaviour.texts[0].prompt
    if name == "tool_calls":
        return next((one.prompt for one in behaviour.tool_calls if one.a and not one.b), None)
    if name == "template" and found.template and found.template.rendered:
        return found.template.rendered[0].chat
    return None
