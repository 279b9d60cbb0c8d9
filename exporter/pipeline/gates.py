"""What can hold an export back before anything is published: the gate, devices, and budgets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from .failures import BudgetFailed, DeviceFailed, GateFailed

if TYPE_CHECKING:
    from ..prove.proof import Proof
    from ..util.stage_clock import StageClock
    from .evidence import Evidence
    from .job import BundleJob
    from .products import Sealed
    from .request import ExportRequest


def _with_costs(evidence: Sequence[Evidence], clock: StageClock) -> tuple[Evidence, ...]:
    """The evidence of each bundle that has been run, with the seconds and memory of the stages until now."""
    return tuple(replace(one, seconds=dict(clock.seconds), memory=dict(clock.memory)) for one in evidence)


def enforce_gate(proof: Proof, evidence: Sequence[Evidence], request: ExportRequest, clock: StageClock) -> None:
    """Raise GateFailed if the last bundle's proof failed and the gate is enforced."""
    if proof.verdict.passed or request.gate != "enforce":
        return
    raise GateFailed(proof.verdict, evidence[-1].manifest.runtime.name, _with_costs(evidence, clock))


def enforce_devices(evidence: Sequence[Evidence], clock: StageClock) -> None:
    """Raise DeviceFailed if the last bundle behaves differently on a device."""
    for verdict in evidence[-1].devices:
        if not verdict.passed:
            raise DeviceFailed(verdict, _with_costs(evidence, clock))


def enforce_budgets(
    jobs: Sequence[BundleJob], sealed: Sequence[Sealed], request: ExportRequest, clock: StageClock
) -> list[Sealed]:
    """Check every finished bundle against the budgets, and pass each sealed manifest to ``request.sealed``.

    Args:
        jobs: The bundles' jobs.
        sealed: The finished bundles, in the same order.
        request: Holds the budgets, if any are set.
        clock: Times the stage.

    Returns:
        The bundles, with what was measured in their evidence.

    Raises:
        BudgetFailed: A bundle is over a budget; the message lists every one at once.
    """
    found = list(sealed)
    if request.budgets is not None:
        from . import budgets

        found = []
        for job, one in zip(jobs, sealed, strict=True):
            with (
                clock.stage("budgets", runtime=job.plan.runtime.name),
                job.staging.draft(one.manifest) as bundle,
            ):
                lines = budgets.check_budgets(bundle, one.evidence, request.budgets, job.staging.work, clock.progress)
            found.append(replace(one, evidence=replace(one.evidence, budgets=tuple(lines))))
        evidence = _with_costs([one.evidence for one in found], clock)
        if budgets.any_over(evidence):
            raise BudgetFailed(evidence)
    if request.sealed is not None:
        for one in found:
            request.sealed(one.manifest)
    return found
