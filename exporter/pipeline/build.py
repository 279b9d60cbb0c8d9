"""The stage that makes a program: the part of it that is the same for every runtime."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..util.process_memory import give_back
from .products import Built

if TYPE_CHECKING:
    from ..util.stage_clock import StageClock
    from .calibration import Calibrated
    from .plan import ExportPlan


def build(plan: ExportPlan, model: Any, calibrated: Calibrated, work: Path, clock: StageClock) -> Built:
    """Make a program.

    Args:
        plan: What to make.
        model: The float model, which is used up.
        calibrated: What calibration has chosen.
        work: A scratch folder, which holds the program afterwards.
        clock: Times the runtime's own steps.
    """
    parameters = sum(p.numel() for p in model.parameters())
    exporter = plan.runtime.exporter
    program = exporter.build(
        replace(plan.spec, weights=calibrated.weights), model, work, clock.extended(exporter.steps)
    )
    give_back()
    return Built(program, parameters, calibrated.record)
