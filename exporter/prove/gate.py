"""The gate: whether a bundle's figures keep the limits of its recipe."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from ..quantize.recipe import Gate
from .behaviour import Behaviour
from .fidelity import Fidelity, Place, PromptFidelity


@dataclass(frozen=True)
class Violation:
    """One figure past its limit.

    Attributes:
        figure: The figure's name.
        measured: What was measured.
        limit: The recipe's limit.
        prompt: The prompt where it was worst.
        position: The position where it was worst; None for behaviour.
        detail: What went wrong there.
    """

    figure: str
    measured: float
    limit: float
    prompt: str
    position: int | None
    detail: str = ""

    def __str__(self) -> str:
        where = f"prompt {self.prompt!r}" + (f", position {self.position}" if self.position is not None else "")
        said = f"{self.figure} {self.measured:.4g}, limit {self.limit:.4g} (worst: {where})"
        return f"{said}: {self.detail}" if self.detail else said


@dataclass(frozen=True)
class Row:
    """A row of the table of the worst prompts.

    Attributes:
        prompt: The prompt's id.
        position: Its worst position.
        kl: The KL divergence there, in nats.
        logprob_diff: The largest difference of a log-probability there, in nats.
        mean_kl: The prompt's mean KL divergence, in nats.
        top1: The share of its positions where both models' likeliest token is the same, 0..1.
        failed: The names of the figures that failed on it.
    """

    prompt: str
    position: int
    kl: float
    logprob_diff: float
    mean_kl: float
    top1: float
    failed: str


@dataclass(frozen=True)
class Verdict:
    """What the gate says.

    Attributes:
        violations: The figures past their limits.
        fidelity: The figures of fidelity.
        reason: Why the recipe's limits are what they are.
        unmeasured: The recipe's limits on figures that can't be measured, and so hold nothing back: raw logits by the
            goldens alone, tool calls if the float model makes none.
    """

    violations: tuple[Violation, ...]
    fidelity: Fidelity
    reason: str
    unmeasured: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every limit is kept."""
        return not self.violations

    def reasons(self) -> tuple[str, ...]:
        """Return the violations as sentences, for the manifest of a bundle that is published all the same."""
        return tuple(str(violation) for violation in self.violations)

    def rows(self, most: int = 10) -> list[Row]:
        """Return the worst prompts, each at its worst position; those that failed a check come first."""
        failed: dict[str, list[str]] = {}
        for violation in self.violations:
            failed.setdefault(violation.prompt, []).append(violation.figure)
        by_kl = sorted(self.fidelity.by_prompt, key=lambda p: (p.prompt not in failed, -p.worst.kl))
        return [
            Row(
                prompt=p.prompt,
                position=p.worst.position,
                kl=p.worst.kl,
                logprob_diff=p.worst.logprob_diff,
                mean_kl=p.mean_kl,
                top1=p.top1,
                failed=", ".join(failed.get(p.prompt, ())),
            )
            for p in by_kl[:most]
        ]


def _above(value: float, limit: float) -> bool:
    return not value <= limit  # So that not-a-number is above every limit.


def _below(value: float, limit: float) -> bool:
    return not value >= limit


def _most_disagreeing(fidelity: Fidelity) -> Place:
    worst: PromptFidelity = min(fidelity.by_prompt, key=lambda p: p.top1)
    inside = [place for place in fidelity.worst if place.prompt == worst.prompt and not place.agrees]
    return inside[0] if inside else worst.worst


def judge(gate: Gate, fidelity: Fidelity, behaviour: Behaviour) -> Verdict:
    """Compare the figures with the limits. Logits that aren't numbers fail whatever the limits are.

    Args:
        gate: The recipe's limits; a limit of None holds nothing back.
        fidelity: Fidelity in either form; the raw logits' difference is only in the full form.
        behaviour: The behaviour, whose checks have limits of their own.
    """
    worst, unmeasured = fidelity.worst[0], []
    limits: list[tuple[str, float | None, float | None, Callable[[float, float], bool], Place]] = [
        ("mean_kl", fidelity.mean_kl, gate.mean_kl, _above, worst),
        ("p99_kl", fidelity.p99_kl, gate.p99_kl, _above, worst),
        ("top1", fidelity.top1, gate.top1, _below, _most_disagreeing(fidelity)),
        ("perplexity_ratio", fidelity.perplexity_ratio, gate.perplexity_ratio, _above, worst),
        ("max_logit_diff", fidelity.max_logit_diff, gate.max_logit_diff, _above, fidelity.worst_logit or worst),
    ]
    violations = []
    for name, value, limit, past, place in limits:
        if limit is not None and value is None:
            unmeasured.append(name)
        elif limit is not None and value is not None and past(value, limit):
            violations.append(Violation(name, value, limit, place.prompt, place.position))
    if not fidelity.finite and not violations:
        violations.append(
            Violation("finite", math.inf, 0.0, worst.prompt, worst.position, "logits that aren't numbers")
        )
    for check in behaviour.checks:
        if not check.passed and check.rate is not None:
            miss = check.misses[0]
            violations.append(Violation(check.name, check.rate, check.limit, miss.prompt, None, miss.detail))
    if gate.tool_calls is not None and behaviour.tool_calls is None:
        unmeasured.append("tool_calls")
    elif gate.tool_calls is not None and behaviour.tool_calls is not None and behaviour.tool_calls < gate.tool_calls:
        miss = behaviour.tool_call_misses[0]
        violations.append(
            Violation("tool_calls", behaviour.tool_calls, gate.tool_calls, miss.prompt, None, miss.detail)
        )
    return Verdict(tuple(violations), fidelity, gate.reason, tuple(unmeasured))
