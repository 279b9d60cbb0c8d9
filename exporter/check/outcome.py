"""A check's result in the form that all reports are made from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..compat.verdict import Lack
from ..errors import EXIT_CONFORMANCE, EXIT_UNSUPPORTED
from ..report.outcome import Finding, Outcome, Place
from . import CheckResult, RuntimeCheck


def outcome(result: CheckResult) -> Outcome:
    """Return the outcome of a check.

    It has one finding for each thing that is missing (``runtime.operator``, ``runtime.backend``, ``runtime.node``,
    ``runtime.schema``, ``runtime.section``, ``runtime.metadata``, ``runtime.runtime``), one for each that isn't known
    (``runtime.unknown``), and one for each kind of which nothing is missing.
    """
    worst = result.runtimes[0]
    return Outcome(
        action="check",
        name=Path(result.bundle).name,
        state="failed" if result.verdict in ("fails", "unpublished", "unknown") else "done",
        findings=tuple(finding for one in result.runtimes for finding in _findings(one)),
        runtime=result.runtime,
        place=_place(worst),
        bundle=Path(result.bundle),
        notes=tuple(dict.fromkeys(note for one in result.runtimes for note in one.notes)),
    )


def _place(result: RuntimeCheck) -> Place | None:
    return Place(result.file, result.line) if result.file else None


def _findings(result: RuntimeCheck) -> Iterator[Finding]:
    place = _place(result)
    hint = "; ".join(result.advice) or None
    bad: set[str] = set()

    def one(lack: Lack, rule: str, code: int) -> Finding:
        bad.add(lack.kind)
        verb = "lacks" if code == EXIT_CONFORMANCE else "may lack"
        said = f"{result.title}: {lack.why}" if result.verdict == "unpublished" else f"{result.title} {verb} the {lack}"
        return Finding(rule, False, said, code, hint=hint, place=place)

    for lack in result.missing:
        yield one(lack, f"runtime.{lack.kind}", EXIT_CONFORMANCE)
    for lack in result.unknown:
        yield one(lack, "runtime.unknown", EXIT_UNSUPPORTED)
    may = "may have" if result.verdict == "may" else "has"
    for kind, number in result.checked.items():
        if kind not in bad:
            yield Finding(f"runtime.{kind}", True, f"{result.title} {may} all that is needed ({number})", place=place)
