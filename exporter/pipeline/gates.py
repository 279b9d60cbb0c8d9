"""What holds an export back before anything is published: the gate, devices, and budgets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from .failures import BudgetFailed, DeviceFailed, GateFailed
from .request import ExportRequest

if TYPE_CHECKING:
    from ..prove.proof import Proof
    from ..util.progress import Progress
    from ..util.stage_clock import Clock
    from .bundle_job import Draft
    from .evidence import Evidence


def evidence_of(drafts: Sequence[Draft], clock: Clock) -> tuple[Evidence, ...]:
    """What was found out so far, of each bundle that has been run."""
    found = (draft.evidence for draft in drafts if draft.evidence is not None)
    return tuple(replace(one, seconds=dict(clock.seconds), memory=dict(clock.memory)) for one in found)


def hold_gate(drafts: Sequence[Draft], proof: Proof, request: ExportRequest, clock: Clock) -> None:
    """Raises GateFailed where the last proof failed and the gate is enforced."""
    if proof.verdict.passed or request.gate != "enforce":
        return
    found = evidence_of(drafts, clock)
    raise GateFailed(proof.verdict, found[-1].manifest.runtime.name, found)


def hold_devices(drafts: Sequence[Draft], clock: Clock) -> None:
    """Raises DeviceFailed where a device does not what this machine did; else the manifest takes what they did."""
    found = evidence_of(drafts, clock)
    for verdict in found[-1].devices:
        if not verdict.passed:
            raise DeviceFailed(verdict, found)
    drafts[len(found) - 1].proven_on()


def hold_budgets(drafts: Sequence[Draft], request: ExportRequest, clock: Clock, progress: Progress) -> None:
    """Holds every finished bundle against the budgets, and shows the sealed manifests to whoever asked to see them.

    Raises:
        BudgetFailed: any bundle is over any of them; all of it is told at once.
    """
    from . import budgets

    if request.budgets is not None:
        for draft in drafts:
            with clock.stage("budgets", f"Holding the {draft.runtime.name} bundle against its budgets"):
                assert draft.evidence is not None, "every draft has been proven"
                with draft.opened() as bundle:
                    lines = budgets.hold(bundle, draft.evidence, request.budgets, draft.staging.work, progress)
                draft.found(budgets=tuple(lines))
        found = evidence_of(drafts, clock)
        if budgets.failed(found):
            raise BudgetFailed(found)
    if request.sealed is not None:
        for draft in drafts:
            request.sealed(draft.manifest)
