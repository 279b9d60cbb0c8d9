"""What an export or a validation found out about one bundle, kept for reports also where nothing was published."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .budgets import BudgetLine
    from .bundle.manifest import Manifest
    from .devices.proof import DeviceVerdict
    from .prove.behaviour import Behaviour
    from .prove.conformance import Conformance
    from .prove.gate import Verdict
    from .prove.records import Golden, Recorded


@dataclass(frozen=True, eq=False)
class Evidence:
    """One bundle, whether it passed or not.

    manifest: as far as it was known. goldens, recorded: the float model's and the bundle's outputs, prompt by prompt.
    verdict: of the gate, with the fidelity. conformance: this machine against the exporting one; None at an export.
    devices: where else it was run. budgets: each limit of ``gemcut.toml`` and what was measured.
    speed: figures on this host in tokens per second. size: bytes of the bundle, 0 where it was not finished. seconds,
    memory (most bytes that no file backs): by stage, so far.
    """

    manifest: Manifest
    goldens: tuple[Golden, ...] = ()
    recorded: tuple[Recorded, ...] = ()
    verdict: Verdict | None = None
    behaviour: Behaviour | None = None
    conformance: Conformance | None = None
    devices: tuple[DeviceVerdict, ...] = ()
    budgets: tuple[BudgetLine, ...] = ()
    speed: dict[str, float] = field(default_factory=dict)
    size: int = 0
    bundle: Path | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    memory: dict[str, int] = field(default_factory=dict)
