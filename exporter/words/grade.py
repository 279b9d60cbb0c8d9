"""The word that stands beside a bundle's fidelity, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Name = Literal["unnoticed", "rare", "noticeable", "noticed", "broken"]


@dataclass(frozen=True)
class Grade:
    """What users notice of a bundle.

    Attributes:
        name: The grade: ``unnoticed``, ``rare``, ``noticeable``, ``noticed`` or ``broken``.
        words: The same for a reader, such as ``users won't notice``.
        meaning: What that means, in a clause.
        because: The figures that keep it from a better grade; empty for the best one.
    """

    name: Name
    words: str
    meaning: str
    because: tuple[str, ...] = ()
