"""Failures as GitHub's workflow commands, which become annotations of the lines that they name.

They are escaped as the actions' own toolkit does it (packages/core/src/command.ts): %, CR and LF everywhere, colon and
comma in properties too, so that no text from a model can begin a command of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from . import wording as shown

if TYPE_CHECKING:
    from .outcome import Outcome

MOST = 10  # GitHub shows as many errors, and as many warnings, of a step


def workflow_commands(outcomes: Sequence[Outcome], environ: Mapping[str, str]) -> list[str]:
    """Return workflow commands, one a line; none if ``GITHUB_ACTIONS`` isn't ``true``.

    If there are more than ten of a kind, the last one says how many aren't shown.

    Args:
        outcomes: What the annotations are about.
        environ: The environment, for the CI service's variables.
    """
    if environ.get("GITHUB_ACTIONS") != "true":
        return []
    by_kind: dict[str, list[str]] = {"error": [], "warning": []}
    for outcome in outcomes:
        for finding in outcome.failures:
            path, line = shown.place_of(finding, outcome)
            kind = shown.level(outcome)
            title = f"{shown.label(outcome)}: {shown.rule_title(finding.rule)}"
            hint = f"\n{finding.hint}" if finding.hint else ""
            at = {"file": shown.from_root(path, environ), "line": str(line)} if finding.place or outcome.place else {}
            by_kind[kind].append(_command(kind, {**at, "title": title}, finding.message + hint))
    return [line for kind, lines in by_kind.items() for line in _most(kind, lines)]


def _most(kind: str, lines: list[str]) -> list[str]:
    if len(lines) <= MOST:
        return lines
    more = f"{len(lines) - MOST + 1} more; the other reports have all of them"
    return [*lines[: MOST - 1], _command(kind, {"title": "Gemcut"}, more)]


def _command(kind: str, properties: Mapping[str, str], message: str) -> str:
    pairs = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    return f"::{kind} {pairs}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
