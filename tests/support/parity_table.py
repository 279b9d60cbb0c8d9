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
REFUSED: dict[str, str] = {}
"""Why an export refuses a family, in its own words."""
_PROPERTY, _REFUSAL = "parity", "refused"


def noted(family: str, row: Row) -> tuple[str, object]:
    """A family's row as a property of a test."""
    return _PROPERTY, {"family": family, **asdict(row)}


def noted_refusal(family: str, reason: str) -> tuple[str, object]:
    """Why a family is refused, as a property of a test."""
    return _REFUSAL, {"family": family, "reason": reason}


def take(properties: Iterable[tuple[str, object]]) -> None:
    """The rows among the properties of a test that has ended, here or in another process."""
    for name, value in properties:
        if name == _PROPERTY and isinstance(value, dict):
            ROWS[value["family"]] = Row(**{key: each for key, each in value.items() if key != "family"})
        if name == _REFUSAL and isinstance(value, dict):
            REFUSED[value["family"]] = value["reason"]


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
    return [f"{name:26}" + "".join(f"{each:>13}" for each in cells) for name, *cells in (_HEAD, *rows)]


def page() -> str:
    """docs/reference/families.md: what the sweep over all families found."""
    import transformers

    parity = [
        f"| {name} | {row.compared} | {row.worst:.1e} | {row.agreed}/{row.compared} | {row.oldest} |"
        for name, row in sorted(ROWS.items())
    ]
    refused = [f"| {name} | {reason} |" for name, reason in sorted(REFUSED.items())]
    return _PAGE.format(
        version=transformers.__version__, count=len(parity), rows="\n".join(parity), refused="\n".join(refused)
    )


_PAGE = """# Families

Gemcut knows Gemma's families and Llama by name. Of every other `model_type` that transformers {version} has, it looks
at the configuration and the modules, and exports it if nothing in them needs an adaptation that it lacks; otherwise it
refuses it before a weight is read, in `plan` and `export` alike.

This page is written by the sweep that proves it, which `make test-all` runs too:

```
python -m pytest tests/integration/executorch/test_family_sweep.py --families docs/reference/families.md
```

From each family's default configuration it makes a random model of three small layers, local and full ones if the
family has both, exports it in float32, and compares ExecuTorch's logits with transformers': two conversations in uneven
pieces, past three sliding windows, the second in the cache that the first one left. The limit is 1e-3.

## In parity: {count} families

| `model_type` | positions | largest difference | same token | loads from ExecuTorch |
|-|-|-|-|-|
{rows}

Gemma 3n and 4 are tested with their own features (per-layer embeddings, shared keys, AltUp, Laurel, experts) in another
test. A family that is listed here may have options that are not: a configuration that uses them is refused.

## Refused

| `model_type` | Why |
|-|-|
{refused}
"""
