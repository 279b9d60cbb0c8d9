"""What an export or a validation found out about one bundle; reports show it even if nothing was published."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from .budget_limits import RATIOS

if TYPE_CHECKING:
    from ..bundle.manifest import Manifest
    from ..devices.replay import DeviceVerdict
    from ..prove.behaviour import Behaviour
    from ..prove.conformance import Conformance
    from ..prove.gate import Verdict
    from ..prove.golden import Golden, Recorded

AT_LEAST = frozenset(("prefill", "decode", "top1", "tool_calls", "expected"))
BYTES = frozenset(("download_size", "device_size", "peak_memory"))
RUN_MEMORY = ("peak_memory", "own_memory", "mapped_memory")  # of ``runtimes.runs.Run``
TITLES = {
    "download_size": "download size",
    "device_size": "size on the device",
    "peak_memory": "peak memory of the model",
    "load_time": "load time relative to the baseline",
    "prefill": "prefill speed relative to the baseline",
    "decode": "decode speed relative to the baseline",
    "mean_kl": "mean KL divergence (nats)",
    "top1": "top-1 agreement",
    "tool_calls": "tool calls like the float model's",
    "expected": "expected answers",
}


@dataclass(frozen=True)
class BudgetLine:
    """One limit and what was measured against it.

    Attributes:
        name: The budget: ``download_size``, ``device_size`` and ``peak_memory`` in bytes; ``load_time``, ``prefill``
            and ``decode`` as a ratio to the baseline's, measured in the same run; ``mean_kl`` in nats; ``top1``,
            ``tool_calls`` and ``expected`` in 0..1.
        measured: The figure; None if it couldn't be measured.
        limit: The limit.
        at_least: Whether the limit is the smallest allowed figure rather than the largest.
        why: Why the limit isn't kept, or why nothing could be measured; empty if there is nothing to say.
    """

    name: str
    measured: float | None
    limit: float
    at_least: bool
    why: str = ""

    @property
    def passed(self) -> bool:
        """Whether the limit is kept; a figure that couldn't be measured doesn't keep it."""
        if self.measured is None:
            return False
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit

    @property
    def sign(self) -> str:
        """How the figure must compare with the limit."""
        return ">=" if self.at_least else "<="

    def text(self, value: float | None) -> str:
        """Return a figure of this budget for people to read."""
        from ..util.text import size_text

        if value is None:
            return "not measured"
        if self.name in BYTES:
            return size_text(int(value))
        if self.name in RATIOS:
            return f"{value:.2f} x"
        return f"{value:.1%}" if self.name in AT_LEAST else f"{value:.3g}"

    def __str__(self) -> str:
        said = f"{TITLES[self.name]} {self.text(self.measured)}, budget {self.sign} {self.text(self.limit)}"
        return f"{said}: {self.why}" if self.why else said


@dataclass(frozen=True, eq=False)
class Evidence:
    """One bundle, whether it passed or not.

    Attributes:
        manifest: The manifest, as far as it was known.
        goldens: The float model's outputs, prompt by prompt.
        recorded: The bundle's outputs, prompt by prompt.
        verdict: The gate's verdict, with the fidelity.
        behaviour: What was checked of its behaviour.
        conformance: This machine against the exporting one; None at an export.
        devices: What it did on each device that it was run on.
        budgets: Each limit of ``gemcut.toml`` and what was measured.
        speed: Figures on this host in tokens per second, by name.
        run_memory: Bytes that the program adds to a process on this host, by their name in ``RUN_MEMORY``, as far as
            the system says.
        size: Bytes of the bundle; 0 if it was not finished.
        bundle: Where the bundle is; None if nothing was published.
        seconds: Seconds so far, by stage.
        memory: The most bytes that no file backs, by stage so far.
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
    run_memory: dict[str, int] = field(default_factory=dict)
    size: int = 0
    bundle: Path | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    memory: dict[str, int] = field(default_factory=dict)
