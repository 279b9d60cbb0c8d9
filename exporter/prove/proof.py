"""A proof: what the goldens showed of a bundle."""

from __future__ import annotations

from dataclasses import dataclass

from .behaviour import Behaviour
from .fidelity import Fidelity
from .gate import Verdict
from .golden import Golden, Recorded


@dataclass(frozen=True)
class Proof:
    """What a bundle did with its goldens, and what its gate says of it."""

    goldens: tuple[Golden, ...]
    recorded: tuple[Recorded, ...]
    fidelity: Fidelity
    behaviour: Behaviour
    verdict: Verdict
