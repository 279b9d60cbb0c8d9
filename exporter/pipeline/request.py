"""What the pipeline is asked for, and what it hands back to whoever asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..devices import Options
from ..runtimes import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..bundle.manifest import Manifest
    from ..devices.replay import DeviceVerdict
    from ..prove.behaviour import Behaviour
    from ..prove.conformance import Conformance
    from ..prove.gate import Verdict
    from .budget_limits import Budgets
    from .evidence import Evidence


@dataclass(frozen=True)
class ExportRequest:
    """The command line of ``gemcut export``, parsed but not yet looked at.

    model: directory or hub id with an optional ``@revision``; None for the packaged sample.
    adapter: folder of a PEFT adapter to merge in, or 'sample' for the packaged one.
    target, recipe: a shipped name or a TOML file; recipe None takes the target's.
    runtimes: in the order given, a bundle each. context: tokens of prompt and reply together, None takes the target's.
    prefill_lengths: tokens that a prefill takes, none takes the target's. options: of runtimes alone, by name; one that
    is missing takes the target's.
    output: None puts the bundle under ``bundles/``; with several runtimes, the folder that holds a bundle each.
    force: may replace a bundle that is there. fresh: takes nothing over from a run of this export that was killed.
    chat_template: a file, 'none' for a base model, None for the checkpoint's own.
    gate: 'report' publishes a bundle that failed the gate, marked as unproven.
    prove_on: devices to prove each bundle on that they can run, besides this machine, and their options.
    budgets: what each bundle must keep, besides the recipe's gate. sealed: told of each finished manifest before
    anything is published; it may raise.
    """

    model: str | None = None
    adapter: str | None = None
    target: str = "android-arm64"
    runtimes: tuple[str, ...] = (DEFAULT,)
    recipe: str | None = None
    context: int | None = None
    prefill_lengths: tuple[int, ...] = ()
    options: Mapping[str, bool] = field(default_factory=dict)
    format: Literal["dir", "zip"] = "dir"
    output: Path | None = None
    force: bool = False
    fresh: bool = False
    chat_template: str | None = None
    gate: Literal["enforce", "report"] = "enforce"
    prove_on: tuple[str, ...] = ()
    device_options: Options = field(default_factory=Options)
    budgets: Budgets | None = None
    sealed: Callable[[Manifest], None] | None = None


@dataclass(frozen=True)
class Published:
    """A bundle in its place.

    size: bytes. seconds, memory (most bytes of the exporting process that no file backs): by stage.
    evidence: all that was found out about it. resumed: stages that a former run did, which was killed.
    """

    bundle: Path
    size: int
    manifest: Manifest
    evidence: Evidence
    seconds: dict[str, float] = field(default_factory=dict)
    memory: dict[str, int] = field(default_factory=dict)
    resumed: tuple[str, ...] = ()

    @property
    def peak_memory(self) -> int:
        """Most bytes that the exporting process had resident in any stage."""
        return max(self.memory.values(), default=0)

    @property
    def speed(self) -> dict[str, float]:
        """Figures on this host in tokens per second, such as ``decode`` and ``prefill``."""
        return self.evidence.speed

    @property
    def devices(self) -> tuple[DeviceVerdict, ...]:
        """What it did on each device that it was proven on."""
        return self.evidence.devices


@dataclass(frozen=True)
class ProvenHere:
    """What a bundle did on this machine.

    verdict: this machine's fidelity against the limits that the manifest holds. conformance: this machine
    against the exporting one.
    """

    verdict: Verdict
    behaviour: Behaviour
    conformance: Conformance


@dataclass(frozen=True)
class Validated:
    """A bundle proven again: every byte as it was, and run on its own goldens.

    here: on this machine; None where only devices were asked for. devices: on each of those. seconds: by stage.
    evidence: all that was found out.
    """

    bundle: Path
    manifest: Manifest
    here: ProvenHere | None
    devices: tuple[DeviceVerdict, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    evidence: Evidence | None = None

    @property
    def conforms(self) -> bool:
        """Whether every machine that was asked does what the exporting one did."""
        return all(one.passed for one in self.devices) and (self.here is None or self.here.conformance.passed)

    @property
    def passed(self) -> bool:
        """Whether it conforms, and keeps the limits here."""
        return self.conforms and (self.here is None or self.here.verdict.passed)
