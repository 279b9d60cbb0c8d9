"""What callers ask of the pipeline, and what they get back."""

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
    from ..prove.prompts import BuiltIn
    from .budget_limits import Budgets
    from .evidence import Evidence


@dataclass(frozen=True)
class ExportRequest:
    """The command line of ``gemcut export``, parsed but not yet checked.

    Attributes:
        model: A directory, or a hub id with an optional ``@revision``; None for the packaged sample.
        adapter: The folder of a PEFT adapter to merge in; 'sample' for the packaged one.
        target: The name of a shipped target, or a TOML file.
        runtimes: The runtimes to make a bundle for, in this order.
        recipe: The name of a shipped recipe, or a TOML file; None for the target's.
        finer: How many times to go on from the target's recipe to the finer one that it names.
        max_size: Most bytes of each bundle, for which mixed bits are searched; None for a recipe's.
        max_kl: Most mean KL divergence, in nats, for which mixed bits are searched; None for a recipe's.
        calibration: A text file; 'none' to quantize without calibration; 'quick' for less of the text that ships and
            methods without Hessians; None for the text that ships.
        golden_prompts: The prompts to prove the bundle with; None for those beside the adapter or the checkpoint.
        built_in_prompts: Which of Gemcut's own prompts may be taken as well: all, those in English, or none.
        context: Tokens of prompt and reply together; None for the target's.
        prefill_lengths: Tokens that each prefill takes; empty for the target's.
        options: The runtimes' own options, by name; the target decides those that are missing.
        format: 'dir' for a folder, 'zip' for one file.
        output: Where the bundle goes, or with several runtimes the folder that holds a bundle for each; None for a
            place under ``bundles/``.
        force: Whether an existing bundle may be replaced.
        fresh: Whether to reuse nothing of a run that was killed, nor a program that another export built.
        chat_template: A file; 'none' for a base model; None for the checkpoint's own.
        gate: 'report' publishes a bundle that failed the gate, marked as unproven.
        prove_on: Devices, besides this machine, to prove each bundle on if they can run it.
        device_options: The options of those devices.
        budgets: What each bundle must keep besides the recipe's gate.
        sealed: Called with each finished manifest before anything is published; it may raise.
    """

    model: str | None = None
    adapter: str | None = None
    target: str = "android-arm64"
    runtimes: tuple[str, ...] = (DEFAULT,)
    recipe: str | None = None
    finer: int = 0
    max_size: int | None = None
    max_kl: float | None = None
    calibration: str | None = None
    golden_prompts: str | None = None
    built_in_prompts: BuiltIn = "all"
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
    """A published bundle.

    Attributes:
        bundle: Where it is.
        size: Its bytes.
        manifest: Its manifest.
        evidence: Everything that was found out about it.
        seconds: Seconds of the export, by stage.
        memory: The most bytes of the exporting process that no file backs, by stage.
        resumed: Stages that were reused from an earlier run: one that was killed, or one that built the same program.
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
        """The most bytes that the exporting process had resident in any stage."""
        return max(self.memory.values(), default=0)

    @property
    def speed(self) -> dict[str, float]:
        """Figures on this host in tokens per second, such as ``decode`` and ``prefill``."""
        return self.evidence.speed

    @property
    def run_memory(self) -> dict[str, int]:
        """Bytes that the program adds to a process on this host: at most, its own, and mapped from files."""
        return self.evidence.run_memory

    @property
    def devices(self) -> tuple[DeviceVerdict, ...]:
        """What the bundle did on each device that it was proven on."""
        return self.evidence.devices


@dataclass(frozen=True)
class ProvenHere:
    """What a bundle did on this machine.

    Attributes:
        verdict: This machine's fidelity against the manifest's limits.
        behaviour: What was checked of its behaviour.
        conformance: This machine against the exporting one.
    """

    verdict: Verdict
    behaviour: Behaviour
    conformance: Conformance


@dataclass(frozen=True)
class Validated:
    """A bundle that was proven again: every byte unchanged, and run on its own goldens.

    Attributes:
        bundle: Where it is.
        manifest: Its manifest.
        here: What it did on this machine; None if only devices were asked for.
        devices: What it did on each device.
        seconds: Seconds of the validation, by stage.
        evidence: Everything that was found out.
    """

    bundle: Path
    manifest: Manifest
    here: ProvenHere | None
    devices: tuple[DeviceVerdict, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    evidence: Evidence | None = None

    @property
    def conforms(self) -> bool:
        """Whether every machine that ran it does what the exporting one did."""
        return all(one.passed for one in self.devices) and (self.here is None or self.here.conformance.passed)

    @property
    def passed(self) -> bool:
        """Whether it conforms, and keeps the gate's limits here."""
        return self.conforms and (self.here is None or self.here.verdict.passed)
