"""Which word goes with figures of fidelity: the one place that decides it, by the limits in ``grades.toml``."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from ..config.toml_file import DataFile, read
from .grade import Grade, Name

GRADES_FILE = Path(__file__).with_name("grades.toml")
AT_LEAST = frozenset({"top1", "tool_calls"})  # figures whose limits are the smallest that may be; others' the largest


class Limits(DataFile):
    """The limits of a grade; KL divergences in nats, shares in 0..1.

    Attributes:
        mean_kl: Most that the mean KL divergence may be.
        p99_kl: Most that the 99th percentile of the KL divergences may be.
        top1: Smallest share of the positions with the float model's likeliest token.
        perplexity_ratio: Most that the perplexity over the float model's may be.
        tool_calls: Smallest share of the float model's tool calls that are made exactly.
    """

    mean_kl: float
    p99_kl: float
    top1: float
    perplexity_ratio: float
    tool_calls: float


class GradeRow(DataFile):
    """One grade of ``grades.toml``.

    Attributes:
        name: Its name in documents.
        words: What a reader is told.
        meaning: What that means, in a clause.
        recipe: The shipped recipe whose gate has these limits.
        limits: What a bundle of this grade keeps.
    """

    name: Name
    words: str
    meaning: str
    recipe: str
    limits: Limits


class Grades(DataFile):
    """``grades.toml``.

    Attributes:
        source: Where the limits come from.
        broken: What a reader is told of a bundle that no grade's limits fit.
        broken_means: What that means, in a clause.
        grade: The grades, the best first.
    """

    source: str
    broken: str
    broken_means: str
    grade: tuple[GradeRow, ...]


class Measured(Protocol):
    """Figures of fidelity, as measured or as the manifest has them; None stands for what isn't a number."""

    @property
    def mean_kl(self) -> float | None:
        """See ``Limits``."""

    @property
    def p99_kl(self) -> float | None:
        """See ``Limits``."""

    @property
    def top1(self) -> float | None:
        """See ``Limits``."""

    @property
    def perplexity_ratio(self) -> float | None:
        """See ``Limits``."""


@functools.cache
def grades() -> Grades:
    """Return the data file, read once."""
    return read(GRADES_FILE, Grades, "grades")


def grade(figures: Mapping[str, float | None]) -> Grade | None:
    """Return the grade of some figures; None if none of them has limits.

    Args:
        figures: Values by name. None stands for what wasn't measured and decides nothing; a value that isn't a number
            is past every limit. Figures without limits, such as the largest difference of a logit, decide nothing.
    """
    ranks = {
        name: _rank(name, value) for name, value in figures.items() if name in Limits.model_fields and value is not None
    }
    if not ranks:
        return None
    worst = max(ranks.values())
    return _grade(worst, tuple(name for name, rank in ranks.items() if rank == worst) if worst else ())


def grade_of(fidelity: Measured, tool_calls: float | None) -> Grade:
    """Return the grade of a bundle.

    Args:
        fidelity: Its fidelity.
        tool_calls: The share of the float model's tool calls that it makes exactly, 0..1; None if that one makes none.
    """
    measured = {
        "mean_kl": fidelity.mean_kl,
        "p99_kl": fidelity.p99_kl,
        "top1": fidelity.top1,
        "perplexity_ratio": fidelity.perplexity_ratio,
    }
    figures = {name: math.nan if value is None else value for name, value in measured.items()}
    found = grade({**figures, "tool_calls": tool_calls})
    assert found is not None, "fidelity has figures with limits"
    return found


def words_of(name: str, value: float | None) -> str:
    """Return the words for one figure alone; empty if it has no limits or wasn't measured."""
    found = grade({name: value})
    return found.words if found else ""


def _rank(name: str, value: float) -> int:
    """Return which grade is the best whose limit a figure keeps; one past the last if it keeps none."""
    rows = grades().grade
    return next((at for at, row in enumerate(rows) if _keeps(name, value, getattr(row.limits, name))), len(rows))


def _keeps(name: str, value: float, limit: float) -> bool:
    return value >= limit if name in AT_LEAST else value <= limit  # Not-a-number keeps neither.


def _grade(rank: int, because: tuple[str, ...]) -> Grade:
    known = grades()
    if rank == len(known.grade):
        return Grade("broken", known.broken, known.broken_means, because)
    row = known.grade[rank]
    return Grade(row.name, row.words, row.meaning, because)
