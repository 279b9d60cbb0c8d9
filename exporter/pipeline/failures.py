"""Failed gates, devices and budgets, with the evidence that reports show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import BudgetError, ConformanceError, GateError, GemcutError

if TYPE_CHECKING:
    from ..devices.replay import DeviceVerdict
    from ..prove.gate import Verdict
    from .evidence import Evidence

# Checks of texts and ids alone, and of logits that aren't numbers.
_TEXT_ONLY = frozenset({"bos", "template", "generation_prompt", "finite"})


class HeldBack(GemcutError):
    """An export whose proof failed: nothing was published.

    Attributes:
        evidence: The evidence of each bundle that was run, in order.
    """

    evidence: tuple[Evidence, ...]


class BudgetFailed(HeldBack, BudgetError):
    """An export that its budgets held back: nothing was published."""

    def __init__(self, evidence: Sequence[Evidence]) -> None:
        over = [f"{e.manifest.runtime.name}: {line}" for e in evidence for line in e.budgets if not line.passed]
        super().__init__(
            f"the export is over {len(over)} of its budgets, nothing was published: " + "; ".join(over),
            hint="Raise the budget in gemcut.toml, or make the bundle smaller: a coarser recipe, a shorter context.",
        )
        self.evidence = tuple(evidence)


class GateFailed(HeldBack, GateError):
    """An export that its gate held back: nothing was published.

    Attributes:
        verdict: The gate's verdict on the last bundle of the evidence, with where it was worst.
    """

    def __init__(self, verdict: Verdict, runtime: str, evidence: Sequence[Evidence]) -> None:
        super().__init__(
            f"the {runtime} bundle failed its gate, nothing was published: " + "; ".join(verdict.reasons()),
            hint="Try a finer recipe (gemcut recipes), or publish the bundle marked as unproven with --gate report.",
        )
        self.verdict = verdict
        self.evidence = tuple(evidence)

    @property
    def nats(self) -> float | None:
        """The mean KL divergence that was measured; None if that kept its limit."""
        return next((one.measured for one in self.verdict.violations if one.figure == "mean_kl"), None)

    @property
    def of_rounding(self) -> bool:
        """Whether a finer recipe may help: what the template and the tokenizer do wrong, no recipe cures."""
        return all(one.figure not in _TEXT_ONLY for one in self.verdict.violations)


class TooSensitive(GateError):
    """A model that a recipe costs too much, as was measured before anything was built.

    Attributes:
        nats: The mean KL divergence that was measured.
    """

    def __init__(self, recipe: str, nats: float, limit: float) -> None:
        self.nats: float | None = nats
        super().__init__(
            f"the recipe '{recipe}' costs this model {nats:.3g} nats on calibration text; its gate allows {limit:g}",
            hint="Take a finer recipe; see gemcut recipes.",
        )

    @property
    def of_rounding(self) -> bool:
        """Whether a finer recipe may help."""
        return True


class DeviceFailed(HeldBack, ConformanceError):
    """An export that a device held back: nothing was published."""

    def __init__(self, verdict: DeviceVerdict, evidence: Sequence[Evidence]) -> None:
        super().__init__(
            f"the {verdict.runtime} bundle behaves differently on {verdict.device}: " + "; ".join(verdict.failures),
            hint="See docs/reference/devices.md for what each device proves; gemcut validate --on shows every prompt.",
        )
        self.evidence = tuple(evidence)
