"""What the parity tests found, family by family; the run's own process prints it at its end.

The tests may run in other processes: what each found goes to the first one with its report, as a property.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np


@dataclass
class Row:
    """What was found of one family: positions compared, the largest difference, and how many agreed on the token.

    outside: operators that run outside delegates. delegates: calls of them in a step. seconds: to quantize, trace and
    lower. oldest: the oldest ExecuTorch that has all that the program needs.
    """

    compared: int = 0
    worst: float = 0.0
    agreed: int = 0
    outside: int = 0
    delegates: int = 0
    seconds: float = 0.0
    oldest: str = ""

    def take(self, got: np.ndarray, wanted: np.ndarray) -> None:
        """One position's logits."""
        self.compared += 1
        self.worst = max(self.worst, float(np.abs(got - wanted).max()))
        self.agreed += int(got.argmax() == wanted.argmax())


ROWS: dict[str, Row] = {}
_PROPERTY = "parity"


def noted(family: str, row: Row) -> tuple[str, object]:
    """A family's row as a property of a test."""
    return _PROPERTY, {"family": family, **asdict(row)}


def take(properties: Iterable[tuple[str, object]]) -> None:
    """The rows among the properties of a test that has ended, here or in another process."""
    for name, value in properties:
        if name == _PROPERTY and isinstance(value, dict):
            ROWS[value["family"]] = Row(**{key: each for key, each in value.items() if key != "family"})


_HEAD = ("family", "positions", "largest diff", "top-1", "delegates", "outside", "loads from", "seconds")


def lines() -> list[str]:
    """The table, its head first: a line for each family whose tests ran."""
    rows = [
        (
            name,
            f"{row.compared}",
            f"{row.worst:.1e}",
            f"{row.agreed / max(row.compared, 1):.3f}",
            f"{row.delegates}",
            f"{row.outside}",
            row.oldest,
            f"{row.seconds:.0f}",
        )
        for name, row in ROWS.items()
    ]
    return [f"{name:16}" + "".join(f"{each:>13}" for each in cells) for name, *cells in (_HEAD, *rows)]
