"""Proofs as tables: fidelity with its limits, behaviour, devices, budgets, and what held back an export."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ...report.wording import FIGURES, figure_text, grade_text
from ...util.native_output import streams
from ...util.text import size_text
from ...words.grades import AT_LEAST, grade_of, words_of
from .table import table

if TYPE_CHECKING:
    from ...bundle.manifest import BehaviourRecord, FidelityRecord
    from ...devices.replay import DeviceVerdict
    from ...pipeline.evidence import Evidence
    from ...pipeline.failures import HeldBack
    from ...prove.behaviour import Behaviour
    from ...prove.conformance import Conformance
    from ...prove.fidelity import Fidelity
    from ...prove.gate import Verdict

_EMULATED = "emulated: its speed says nothing about a real device's"


def fidelity_text(
    fidelity: FidelityRecord | Fidelity, behaviour: BehaviourRecord | Behaviour | None, brief: bool = False
) -> str:
    """Return what users notice of a bundle in one line, with the figures that decide it; see ``grade_text``."""
    calls = behaviour.tool_calls if behaviour is not None else None
    figures = {name: getattr(fidelity, name) for name in FIGURES}
    return grade_text(grade_of(fidelity, calls), {**figures, "tool_calls": calls}, brief)


def show_fidelity(
    fidelity: FidelityRecord | Fidelity,
    limits: Mapping[str, float],
    behaviour: BehaviourRecord | Behaviour | None,
) -> None:
    """Show the bundle's fidelity to the float model: what users notice of it, and each figure with its limit.

    Args:
        fidelity: The figures.
        limits: The limit of each figure that has one.
        behaviour: The behaviour, whose tool calls the verdict counts too.
    """
    print(f"fidelity: {fidelity_text(fidelity, behaviour)}", file=streams().out)
    rows = []
    for name, title in FIGURES.items():
        value = getattr(fidelity, name)
        limit = limits.get(name)
        if value is None and limit is None:
            continue
        sign = ">=" if name in AT_LEAST else "<="
        held = "" if limit is None else f"{sign} {figure_text(name, limit)}"
        rows.append((title, figure_text(name, value), held, words_of(name, value)))
    over = f"{fidelity.prompts} prompts, {fidelity.positions} positions"
    table(rows, (f"fidelity, {fidelity.form} ({over})", "", "limit", "in words"))


def show_behaviour(behaviour: BehaviourRecord | Behaviour) -> None:
    """Show what a user would see: the share of prompts on which each check held."""
    rates = behaviour.rates if isinstance(behaviour.rates, dict) else behaviour.rates()
    rows = [(name.replace("_", " "), _rate(rate), "") for name, rate in rates.items()]
    if (calls := behaviour.tool_calls) is not None:
        rows.append(("tool calls like the float model's", _rate(calls), words_of("tool_calls", calls)))
    if behaviour.expected is not None:
        own = f" (the float model: {_rate(behaviour.expected_float)})"
        rows.append(("expected answers", _rate(behaviour.expected) + own, ""))
    if rows:
        table(rows, ("behaviour", "held on", "in words"))


def _rate(rate: float | None) -> str:
    return "-" if rate is None else f"{rate:.1%}"


def show_device(verdict: DeviceVerdict) -> None:
    """Show what a device is, and how far it is from the exporting machine."""
    facts = verdict.facts
    if facts is not None:
        library = facts.library
        rows = [
            ("device", verdict.device),
            ("system", f"{facts.system}, {facts.architecture}"),
            ("processor", f"{facts.cpu} ({_EMULATED if facts.emulated else 'real'})"),
            ("runtime", ", ".join(f"{name} {version}" for name, version in facts.runtimes.items())),
            ("library", f"{library.name} {library.version}, sha256 {library.sha256}" if library else ""),
            ("kernels and backends", f"{len(facts.kernels)}; {', '.join(facts.backends)}" if facts.kernels else ""),
            ("peak memory of the program", size_text(verdict.peak_memory) if verdict.peak_memory else ""),
        ]
        table([row for row in rows if row[1]])
    if verdict.conformance is not None:
        show_conformance(verdict.conformance)
    checks = [(check.name.replace("_", " "), _rate(check.rate)) for check in verdict.checks]
    if checks:
        table(checks, ("on the device", "held on"))


def show_conformance(conformance: Conformance, most: int = 10, to_stderr: bool = False) -> None:
    """Show how far a machine is from the exporting one: both figures, and the prompts that differ most."""
    tolerance = conformance.tolerance
    table(
        (
            (
                "largest log-probability difference",
                f"{conformance.max_logprob_diff:.3g}",
                f"<= {tolerance.logprob:.3g}",
            ),
            ("mean KL divergence (nats)", f"{conformance.mean_kl:.3g}", f"<= {tolerance.kl:.3g}"),
        ),
        (f"conformance ({len(conformance.differences)} prompts)", "", "tolerance"),
        to_stderr=to_stderr,
    )
    differing = [
        d for d in conformance.differences if d.max_logprob_diff > tolerance.logprob or d.first_step is not None
    ]
    rows = (
        (d.prompt, f"{d.max_logprob_diff:.3g}", str(d.position), f"{d.kl:.3g}", _parting(d.first_step, d.tie))
        for d in sorted(differing, key=lambda d: -d.max_logprob_diff)[:most]
    )
    if differing:
        table(rows, ("prompt", "log-probability", "position", "KL", "reply"), to_stderr=to_stderr)


def _parting(step: int | None, tie: bool) -> str:
    if step is None:
        return "same"
    return f"differs from token {step} on" + (" (a tie)" if tie else "")


def show_worst(verdict: Verdict, to_stderr: bool = False) -> None:
    """Show which prompts were worst, and at which position: those that failed a check first."""
    table(
        (
            (
                r.prompt,
                str(r.position),
                f"{r.kl:.3g}",
                f"{r.logprob_diff:.3g}",
                f"{r.mean_kl:.3g}",
                f"{r.top1:.1%}",
                r.failed,
            )
            for r in verdict.rows()
        ),
        ("prompt", "worst position", "KL there", "log-probability difference", "mean KL", "top-1", "failed"),
        to_stderr=to_stderr,
    )


def show_budgets(evidence: Sequence[Evidence], to_stderr: bool = False) -> None:
    """Show every budget of every bundle in one table."""
    from ...pipeline.budgets import rows

    found = [(one.manifest.runtime.name, *row) for one in evidence for row in rows(one.budgets)]
    if found:
        table(found, ("runtime", "budget", "measured", "limit", ""), to_stderr=to_stderr)


def show_held_back(error: HeldBack) -> None:
    """Show on stderr what held back an export: the worst prompts, what a device did, the budgets."""
    for one in error.evidence:
        if one.verdict is not None and not one.verdict.passed:
            show_worst(one.verdict, to_stderr=True)
        for device in one.devices:
            if device.conformance is not None and not device.passed:
                show_conformance(device.conformance, to_stderr=True)
    show_budgets(error.evidence, to_stderr=True)
