"""A proof: what the goldens showed of a bundle."""

from __future__ import annotations

from dataclasses import dataclass

from .behaviour import Behaviour
from .fidelity import Fidelity
from .gate import Verdict
from .golden import Golden, Recorded


@dataclass(frozen=True)
class Proof:
    """What a bundle did with its goldens, and what its gate says about it.

    Attributes:
        goldens: The float model's side.
        recorded: The bundle's side, in the same order.
        fidelity: How close the bundle is to the float model.
        behaviour: What a user would see.
        verdict: What the gate says.
    """

    goldens: tuple[Golden, ...]
    recorded: tuple[Recorded, ...]
    fidelity: Fidelity
    behaviour: Behaviour
    verdict: Verdict
