"""``gemcut validate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import EXIT_CONFORMANCE, EXIT_GATE, EXIT_PROVEN
from .common import Command, console_progress, emit, json_option, say, warn, warn_unproven

if TYPE_CHECKING:
    from ..request import Validated


@click.command(cls=Command)
@click.argument("bundle", type=click.Path(path_type=Path))
@json_option
def command(bundle: Path, as_json: bool) -> int:
    """Prove BUNDLE again on this machine, from its own goldens; its checkpoint isn't needed.

    Checks every byte, runs the program through the bundle's own tokenizer and template, and holds the
    results against the float model's and against what the exporting machine recorded.
    """
    from ..pipeline import validate

    with console_progress() as progress:
        found = validate(bundle, progress)
    warn_unproven(found.manifest, bundle)
    if as_json:
        emit(_result(found))
    else:
        _show(found)
    for failure in (*found.conformance.failures, *found.verdict.reasons()):
        warn(f"failed: {failure}")
    if not found.conformance.passed:
        return EXIT_CONFORMANCE
    return EXIT_PROVEN if found.verdict.passed else EXIT_GATE


def _result(found: Validated) -> object:
    from ..report.documents import ValidateResult

    conformance, verdict = found.conformance, found.verdict
    return ValidateResult(
        bundle=str(found.bundle),
        passed=conformance.passed and verdict.passed,
        proven=found.manifest.proven,
        fidelity=verdict.fidelity.figures(),
        positions=verdict.fidelity.positions,
        violations=verdict.reasons(),
        unmeasured=verdict.unmeasured,
        behaviour=found.behaviour.rates(),
        tool_calls=found.behaviour.tool_calls,
        tolerance=conformance.tolerance,
        max_logprob_diff=conformance.max_logprob_diff,
        mean_kl=conformance.mean_kl,
        failures=conformance.failures,
        differences=conformance.differences,
        seconds=found.seconds,
    )


def _show(found: Validated) -> None:
    from ..report.proof import show_behaviour, show_conformance, show_fidelity, show_worst

    say(f"{found.bundle}: every byte is as it was exported")
    show_fidelity(found.verdict.fidelity, found.manifest.gate.limits)
    for name in found.verdict.unmeasured:
        say(f"{name} was measured at the export alone: the goldens hold no raw logits")
    show_behaviour(found.behaviour)
    show_conformance(found.conformance)
    if not found.verdict.passed:
        show_worst(found.verdict)
    passed = found.verdict.passed and found.conformance.passed
    say("proven on this machine" if passed else "NOT proven on this machine")
