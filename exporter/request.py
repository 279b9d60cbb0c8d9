"""What the pipeline is asked for, and what it hands back to whoever asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from .devices import Options
from .errors import ConformanceError, GateError, GemcutError, UnsupportedError, UsageError, nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .bundle.manifest import Manifest
    from .devices.proof import DeviceVerdict
    from .evidence import Evidence
    from .project.limits import Budgets
    from .prove.behaviour import Behaviour
    from .prove.conformance import Conformance
    from .prove.gate import Verdict


@dataclass(frozen=True)
class ExportRequest:
    """The command line of ``gemcut export``, parsed but not yet looked at.

    model: directory or hub id with an optional ``@revision``; None for the packaged sample.
    adapter: folder of a PEFT adapter to merge in, or 'sample' for the packaged one.
    target, recipe: a shipped name or a TOML file; recipe None takes the target's.
    runtimes: in the order given, a bundle each. context: tokens of prompt and reply together, None takes the target's.
    prefill_lengths: tokens that a prefill takes, none takes the target's. dynamic_shape: a prefill takes any number
    up to the longest; None takes the target's. plain_tflite: the ``.tflite`` beside the ``.litertlm``.
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
    runtimes: tuple[str, ...] = ("executorch",)
    recipe: str | None = None
    context: int | None = None
    prefill_lengths: tuple[int, ...] = ()
    dynamic_shape: bool | None = None
    plain_tflite: bool = False
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


class HeldBack(GemcutError):
    """An export that was proven wanting: nothing was published. ``evidence``: of each bundle that was run, in order."""

    evidence: tuple[Evidence, ...]


class GateFailed(HeldBack, GateError):
    """An export that its gate held back: nothing was published.

    ``verdict``, of the last bundle of the evidence, says where it was worst.
    """

    def __init__(self, verdict: Verdict, runtime: str, evidence: Sequence[Evidence]) -> None:
        super().__init__(
            f"the {runtime} bundle failed its gate, nothing was published: " + "; ".join(verdict.reasons()),
            hint="Try a finer recipe (gemcut recipes), or publish it marked as unproven with --gate report.",
        )
        self.verdict = verdict
        self.evidence = tuple(evidence)


class DeviceFailed(HeldBack, ConformanceError):
    """An export that a device held back: nothing was published."""

    def __init__(self, verdict: DeviceVerdict, evidence: Sequence[Evidence]) -> None:
        super().__init__(
            f"on {verdict.device} the {verdict.runtime} bundle does not what it did here: "
            + "; ".join(verdict.failures),
            hint="docs/devices.md says what each device proves; gemcut validate --on shows every prompt.",
        )
        self.evidence = tuple(evidence)


def parse_runtimes(text: str) -> tuple[str, ...]:
    """``--runtime``'s names, in order.

    Raises:
        UnsupportedError: A name that isn't a runtime's; the message has the nearest.
        UsageError: No name, or one twice.
    """
    from .runtimes import runtime_names

    known = runtime_names()
    names = tuple(part.strip() for part in text.split(","))
    for name in names:
        if not name or names.count(name) > 1:
            raise UsageError(f"--runtime '{text}': each runtime once, with a comma between two")
        if name not in known:
            raise UnsupportedError(f"unknown runtime '{name}': {nearest(name, known)}", hint="See --runtime in --help.")
    return names


def parse_lengths(text: str | None) -> tuple[int, ...]:
    """``--prefill-lengths``' numbers, ascending; none where the flag isn't given.

    Raises:
        UsageError: Not numbers with commas between, or one twice.
    """
    if text is None:
        return ()
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts) or len(set(parts)) < len(parts):
        raise UsageError(
            f"--prefill-lengths '{text}': numbers of tokens, each once, with commas between",
            hint="For example --prefill-lengths 16,128",
        )
    return tuple(sorted(map(int, parts)))
