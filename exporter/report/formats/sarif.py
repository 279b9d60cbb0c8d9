"""Outcomes as SARIF 2.1.0 (OASIS), which GitHub's code scanning and other services show beside the code.

Only failures are results: services show every result as an alert, whatever its kind, and consider one that is no longer
there as fixed. What passed is in the other reports.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from .. import wording as shown
from .base import ReportFormat

if TYPE_CHECKING:
    from ..outcome import Finding, Outcome

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"  # the name that the standard's readers know it by
_ROOT = "%SRCROOT%"


def sarif_json(outcomes: Sequence[Outcome], environ: Mapping[str, str] = os.environ) -> bytes:
    """Return the SARIF log in UTF-8: one run with the rules of all that failed. The same outcomes give the same bytes.

    Args:
        outcomes: The outcomes, in the order that their results are to have.
        environ: The environment; the CI service's variables name the repository's root (``wording.from_root``).
    """
    from ... import __version__

    failed = [(outcome, finding) for outcome in outcomes for finding in outcome.failures]
    names = sorted({finding.rule for _, finding in failed})
    results: list[dict[str, Any]] = []
    seen: dict[str, int] = {}
    for outcome, finding in failed:
        key = _fingerprint(outcome, finding)
        seen[key] = seen.get(key, 0) + 1
        results.append(_result(outcome, finding, names, f"{key}:{seen[key]}", environ))
    driver = {
        "name": "Gemcut",
        "version": __version__,
        "rules": [_rule(name) for name in names],
    }
    broken = any(finding.rule.startswith("error.") for _, finding in failed)
    run = {
        "tool": {"driver": driver},
        "automationDetails": {"id": f"gemcut/{_actions(outcomes)}/"},
        "columnKind": "unicodeCodePoints",
        "invocations": [{"executionSuccessful": not broken}],
        "results": results,
    }
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return (json.dumps(log, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8", "replace")


def _actions(outcomes: Sequence[Outcome]) -> str:
    return "+".join(dict.fromkeys(one.action for one in outcomes)) or "none"


def _rule(name: str) -> dict[str, Any]:
    area = shown.area_of(name)
    words = "".join(part[:1].upper() + part[1:] for part in name.replace(".", "_").replace("-", "_").split("_"))
    return {
        "id": name,
        "name": words,
        "shortDescription": {"text": f"{area.title} ({shown.rule_title(name)})"},
        "fullDescription": {"text": area.help},
        "help": {"text": f"{area.help}\n\n{area.next}", "markdown": f"{area.help}\n\n**What to do:** {area.next}"},
        "defaultConfiguration": {"level": "error"},
        "properties": {"tags": ["gemcut", name.partition(".")[0]]},
    }


def _fingerprint(outcome: Outcome, finding: Finding) -> str:
    """Return what stays the same for a check of a bundle from run to run, whatever the figures and the line are."""
    parts = [outcome.action, outcome.name, outcome.runtime, outcome.target, finding.rule]
    if sum(one.rule == finding.rule for one in outcome.findings) > 1:
        parts.append(finding.message.partition(": ")[0])  # what it is about: a device, a missing operator
    return hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()[:16]


def _result(
    outcome: Outcome, finding: Finding, names: Sequence[str], fingerprint: str, environ: Mapping[str, str]
) -> dict[str, Any]:
    path, line = shown.place_of(finding, outcome)
    at = shown.from_root(path, environ)
    if at.startswith("/") and not (finding.place or outcome.place):
        at = outcome.name  # a bundle elsewhere, which no service could show
    hint = f"\n{finding.hint}" if finding.hint else ""
    return {
        "ruleId": finding.rule,
        "ruleIndex": names.index(finding.rule),
        "level": shown.level(outcome),
        "message": {"text": f"{shown.label(outcome)}: {finding.message}{hint}"},
        "locations": [_location(at, line, outcome)],
        # GitHub tells alerts apart by the first; without it, it would make its own from the line's text, which all
        # findings of one bundle share.
        "partialFingerprints": {"primaryLocationLineHash": fingerprint, "gemcutFinding/v1": fingerprint},
        "properties": _properties(outcome, finding),
    }


def _location(at: str, line: int, outcome: Outcome) -> dict[str, Any]:
    uri = quote(at, errors="replace")
    artifact = {"uri": f"file://{uri}"} if at.startswith("/") else {"uri": uri, "uriBaseId": _ROOT}
    return {
        "physicalLocation": {"artifactLocation": artifact, "region": {"startLine": line}},
        "logicalLocations": [{"fullyQualifiedName": f"{outcome.action}/{shown.label(outcome)}", "kind": "module"}],
    }


def _properties(outcome: Outcome, finding: Finding) -> dict[str, Any]:
    known = {
        "bundle": outcome.name,
        "runtime": outcome.runtime or None,
        "target": outcome.target or None,
        "state": outcome.state,
        "exitCode": finding.exit_code,
        "measured": _finite(finding.measured),
        "limit": _finite(finding.limit),
        "prompt": finding.prompt,
        "position": finding.position,
    }
    return {name: value for name, value in known.items() if value is not None}


def _finite(value: float | None) -> float | str | None:
    """Return a figure, or its word if it isn't finite: JSON has no infinity."""
    return value if value is None or math.isfinite(value) else shown.number("", value)


class Sarif(ReportFormat):
    """See ``ReportFormat``."""

    name = "sarif"
    suffix = ".sarif"
    help = "SARIF 2.1.0, with what failed, at the line that names it."

    def render(self, outcomes: Sequence[Outcome], environ: Mapping[str, str]) -> bytes:
        """See ``ReportFormat``."""
        return sarif_json(outcomes, environ)


FORMAT = Sarif()
