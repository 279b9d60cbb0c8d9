"""What an export or a validation found out about one bundle, kept for reports also where nothing was published."""

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

AT_LEAST = frozenset(("prefill", "decode", "top1", "tool_calls"))
BYTES = frozenset(("download_size", "device_size", "peak_memory"))
TITLES = {
    "download_size": "download size",
    "device_size": "size on the device",
    "peak_memory": "peak memory at run time",
    "load_time": "load time, of the baseline's",
    "prefill": "prefill speed, of the baseline's",
    "decode": "decode speed, of the baseline's",
    "mean_kl": "mean KL divergence (nats)",
    "top1": "top-1 agreement",
    "tool_calls": "tool calls as the float model's",
}


@dataclass(frozen=True)
class BudgetLine:
    """One limit and what was measured against it.

    name: ``download_size``, ``device_size`` and ``peak_memory`` in bytes; ``load_time``, ``prefill`` and ``decode`` as
    a ratio to the baseline's, measured in the same run; ``mean_kl`` in nats; ``top1`` and ``tool_calls`` in 0..1.
    at_least: the limit is the least, not the most. measured: None where it could not be; why says why.
    """

    name: str
    measured: float | None
    limit: float
    at_least: bool
    why: str = ""

    @property
    def passed(self) -> bool:
        """Whether the limit is kept; what couldn't be measured doesn't keep it."""
        if self.measured is None:
            return False
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit

    @property
    def sign(self) -> str:
        """How the figure must stand to the limit."""
        return ">=" if self.at_least else "<="

    def text(self, value: float | None) -> str:
        """A figure of this budget for people."""
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
