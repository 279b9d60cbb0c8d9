"""What was found out, in the one form that every report is made from: JUnit, SARIF, HTML, summary and annotations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..errors import EXIT_BUDGET, EXIT_CONFORMANCE, EXIT_GATE
from ..words.grade import Grade
from ..words.grades import grade_of, words_of

if TYPE_CHECKING:
    from ..devices.replay import DeviceVerdict
    from ..pipeline.evidence import Evidence
    from ..pipeline.request import Published, Validated
    from ..prove.conformance import Conformance

Action = Literal["export", "validate", "diff", "check"]
State = Literal["published", "up to date", "proven", "done", "failed"]


@dataclass(frozen=True)
class Place:
    """A line of one of the user's files.

    Attributes:
        path: The file, relative to the working directory if it is below it.
        line: The line, from 1.
    """

    path: str
    line: int = 1


@dataclass(frozen=True)
class Finding:
    """One thing that was checked.

    Attributes:
        rule: A stable name, ``area.figure``; the areas are fidelity, behaviour, conformance, budget, runtime, template,
            lock, diff and error.
        passed: Whether it passed.
        message: What was found.
        exit_code: The exit code of a run that fails only because of this; 0 if it passed.
        measured: The figure that was measured, if there is one.
        limit: The figure's limit, if there is one.
        prompt: The prompt where it was worst.
        position: The position where it was worst.
        hint: What to do.
        place: The line of the user's files that it is about.
    """

    rule: str
    passed: bool
    message: str
    exit_code: int = 0
    measured: float | None = None
    limit: float | None = None
    prompt: str | None = None
    position: int | None = None
    hint: str | None = None
    place: Place | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of one bundle.

    Attributes:
        action: The command.
        name: The bundle's name in ``gemcut.toml``, or its own.
        state: What became of it.
        findings: What was checked.
        runtime: The runtime's name.
        target: The target's name.
        place: Where the user's files name the bundle; a finding may have a nearer place.
        bundle: The bundle itself.
        seconds: The time by stage.
        memory: The most bytes that no file backs, by stage.
        evidence: What was measured; None if no bundle was run.
        notes: What else there is to say.
    """

    action: Action
    name: str
    state: State
    findings: tuple[Finding, ...] = ()
    runtime: str = ""
    target: str = ""
    place: Place | None = None
    bundle: Path | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    memory: dict[str, int] = field(default_factory=dict)
    evidence: Evidence | None = None
    notes: tuple[str, ...] = ()

    @property
    def command_memory(self) -> int:
        """The most bytes of Gemcut's own process that no file backs, in any stage; 0 if it wasn't measured."""
        return max(self.memory.values(), default=0)

    @property
    def tool_calls(self) -> float | None:
        """The share of the float model's tool calls that the bundle makes exactly, 0..1; None if that isn't known."""
        behaviour = self.evidence.behaviour if self.evidence else None
        return behaviour.tool_calls if behaviour else None

    @property
    def grade(self) -> Grade | None:
        """What users notice of the bundle; None if its fidelity wasn't measured."""
        verdict = self.evidence.verdict if self.evidence else None
        return grade_of(verdict.fidelity, self.tool_calls) if verdict else None

    @property
    def failures(self) -> tuple[Finding, ...]:
        """The findings that didn't pass."""
        return tuple(one for one in self.findings if not one.passed)

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return self.state != "failed" and not self.failures


def findings_of(evidence: Evidence) -> tuple[Finding, ...]:
    """Return everything that was checked of a bundle, passed or not: gate, behaviour, devices and budgets."""
    return (
        *_gate(evidence),
        *_behaviour(evidence),
        *(_conformance("host", evidence.conformance) if evidence.conformance else ()),
        *(finding for verdict in evidence.devices for finding in _device(verdict)),
        *_budgets(evidence),
    )


def _gate(evidence: Evidence) -> Iterator[Finding]:
    verdict = evidence.verdict
    if verdict is None:
        return
    broken = {one.figure: one for one in verdict.violations}
    limits = evidence.manifest.gate.limits
    figures = verdict.fidelity.figures()
    for name in dict.fromkeys((*figures, *broken)):
        limit, value, violation = limits.get(name), figures.get(name), broken.get(name)
        if violation is not None and name in (*figures, "finite"):
            yield Finding(
                f"fidelity.{name}",
                False,
                _with_words(str(violation), name, violation.measured),
                EXIT_GATE,
                violation.measured,
                violation.limit,
                violation.prompt,
                violation.position,
                _advice(verdict.reason),
            )
        elif violation is None and limit is not None and value is not None:
            message = _with_words(f"{name} {value:.4g}, limit {limit:.4g}", name, value)
            yield Finding(f"fidelity.{name}", True, message, measured=value, limit=limit)


def _with_words(message: str, name: str, value: float) -> str:
    """Return what was found, and what users notice of a figure alone."""
    words = words_of(name, value)
    return f"{message}: {words}" if words else message


def _advice(reason: str) -> str:
    why = f" The reason for the limit: {reason}" if reason else ""
    return f"Try a finer recipe (gemcut recipes lists them).{why}"


def _behaviour(evidence: Evidence) -> Iterator[Finding]:
    behaviour = evidence.behaviour
    if behaviour is None:
        return
    for check in behaviour.checks:
        if check.rate is None:
            continue
        miss = check.misses[0] if check.misses else None
        message = f"{check.name.replace('_', ' ')} held on {check.rate:.1%} of {check.applies} prompts"
        if miss is not None:
            message += f" (prompt {miss.prompt!r}: {miss.detail})"
        yield Finding(
            f"behaviour.{check.name}",
            check.passed,
            message,
            0 if check.passed else EXIT_GATE,
            check.rate,
            check.limit or None,
            miss.prompt if miss else None,
        )
    limit, rate = evidence.manifest.gate.limits.get("tool_calls"), behaviour.tool_calls
    if rate is not None:
        passed = limit is None or rate >= limit
        miss = behaviour.tool_call_misses[0] if behaviour.tool_call_misses else None
        message = f"tool calls are the same as the float model's on {rate:.1%} of the prompts"
        if miss is not None:
            message += f" (prompt {miss.prompt!r}: {miss.detail})"
        yield Finding(
            "behaviour.tool_calls",
            passed,
            message,
            0 if passed else EXIT_GATE,
            rate,
            limit,
            miss.prompt if miss else None,
        )
    if behaviour.expected is not None:
        missed = behaviour.expected_misses[0] if behaviour.expected_misses else None
        message = f"{behaviour.expected:.1%} of the expected answers are given"
        if behaviour.expected_float is not None:
            message += f" (the float model: {behaviour.expected_float:.1%})"
        if missed is not None:
            message += f"; prompt {missed.prompt!r}: {missed.detail}"
        yield Finding(
            "behaviour.expected", True, message, 0, behaviour.expected, None, missed.prompt if missed else None
        )


def _conformance(device: str, conformance: Conformance) -> Iterator[Finding]:
    tolerance = conformance.tolerance
    said = (
        f"on {device}: largest log-probability difference {conformance.max_logprob_diff:.3g} (tolerance "
        f"{tolerance.logprob:.3g}), mean KL {conformance.mean_kl:.3g} (tolerance {tolerance.kl:.3g})"
    )
    message = f"on {device}: {'; '.join(conformance.failures)}" if conformance.failures else said
    worst = max(conformance.differences, key=lambda one: one.max_logprob_diff)
    yield Finding(
        f"conformance.{device.partition(':')[0]}",
        conformance.passed,
        message,
        0 if conformance.passed else EXIT_CONFORMANCE,
        conformance.max_logprob_diff,
        tolerance.logprob,
        worst.prompt,
        worst.position,
    )


def _device(verdict: DeviceVerdict) -> Iterator[Finding]:
    rule = f"conformance.{verdict.device.partition(':')[0]}"
    if verdict.conformance is None or (verdict.failures and verdict.conformance.passed):
        message = f"on {verdict.device}: {'; '.join(verdict.failures)}"
        yield Finding(rule, verdict.passed, message, 0 if verdict.passed else EXIT_CONFORMANCE)
    else:
        yield from _conformance(verdict.device, verdict.conformance)


def _budgets(evidence: Evidence) -> Iterator[Finding]:
    for line in evidence.budgets:
        code = 0 if line.passed else EXIT_BUDGET
        yield Finding(f"budget.{line.name}", line.passed, str(line), code, line.measured, line.limit)


def published(one: Published, name: str | None = None, place: Place | None = None) -> Outcome:
    """Return the outcome of a bundle that was published.

    Args:
        one: What was published.
        name: The bundle's name in ``gemcut.toml``; if None, the bundle's own.
        place: Where ``gemcut.toml`` names it.
    """
    return _of(one.evidence, "export", "published", name or one.bundle.name, place, one.seconds, one.memory)


def held_back(evidence: Sequence[Evidence], name: str | None = None, place: Place | None = None) -> tuple[Outcome, ...]:
    """Return the outcomes of the bundles of an export that published nothing, since one of them failed.

    Args:
        evidence: What was measured, bundle by bundle.
        name: The bundle's name in ``gemcut.toml``; if None, the model's name.
        place: Where ``gemcut.toml`` names it.
    """
    found = [_of(one, "export", "done", name or one.manifest.model.name, place) for one in evidence]
    note = "not published: another bundle of the same export failed"
    return tuple(
        replace(one, state="failed") if one.failures else replace(one, notes=(*one.notes, note)) for one in found
    )


def validated(one: Validated) -> Outcome:
    """Return the outcome of a bundle that was proven again."""
    assert one.evidence is not None, "a validation has found something out"
    return _of(one.evidence, "validate", "proven", one.bundle.name, None, one.seconds)


def _of(
    evidence: Evidence,
    action: Action,
    state: State,
    name: str,
    place: Place | None,
    seconds: dict[str, float] | None = None,
    memory: dict[str, int] | None = None,
) -> Outcome:
    manifest, findings = evidence.manifest, findings_of(evidence)
    return Outcome(
        action=action,
        name=name,
        state="failed" if any(not one.passed for one in findings) and state == "proven" else state,
        findings=findings,
        runtime=manifest.runtime.name,
        target=manifest.target,
        place=place,
        bundle=evidence.bundle,
        seconds=evidence.seconds if seconds is None else seconds,
        memory=evidence.memory if memory is None else memory,
        evidence=evidence,
        notes=manifest.notes,
    )
