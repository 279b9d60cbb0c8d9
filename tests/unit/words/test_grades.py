"""The words that go with figures: whose limits they have, what decides them, and that the page says the same."""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from gemcut.quantize.recipe import list_recipes, load_recipe
from gemcut.words.grades import AT_LEAST, Limits, grade, grade_of, grades, words_of

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "figures.md"
NAMES = tuple(Limits.model_fields)


@dataclass(frozen=True)
class Figures:
    mean_kl: float | None = 0.001
    p99_kl: float | None = 0.01
    top1: float | None = 0.99
    perplexity_ratio: float | None = 1.0


def test_the_limits_are_the_gates_of_the_recipes_that_they_name() -> None:
    for row in grades().grade:
        assert row.limits.model_dump() == load_recipe(row.recipe).gate.limits(), row.recipe
    quantizing = {name for name in list_recipes() if load_recipe(name).gate.mean_kl is not None}
    assert {row.recipe for row in grades().grade} == quantizing


def test_each_grade_allows_no_less_than_the_one_before() -> None:
    rows = grades().grade
    for better, worse in itertools.pairwise(rows):
        for name in NAMES:
            change = getattr(worse.limits, name) - getattr(better.limits, name)
            assert (change <= 0) if name in AT_LEAST else (change >= 0), (name, worse.name)
    assert len({row.words for row in rows} | {grades().broken}) == len(rows) + 1


@pytest.mark.parametrize("name", NAMES)
def test_a_figure_at_a_limit_keeps_it_and_one_past_it_does_not(name: str) -> None:
    rows = grades().grade
    for at, row in enumerate(rows):
        limit = getattr(row.limits, name)
        past = math.nextafter(limit, -math.inf if name in AT_LEAST else math.inf)
        first = next(one for one in rows if getattr(one.limits, name) == limit)  # two recipes may have one limit
        assert words_of(name, limit) == first.words
        following = [one.words for one in rows[at + 1 :] if getattr(one.limits, name) != limit]
        assert words_of(name, past) == (following[0] if following else grades().broken)


def test_the_worst_figure_decides_and_is_named() -> None:
    best = grade_of(Figures(), 1.0)
    assert (best.words, best.because) == ("users won't notice", ())
    found = grade_of(Figures(top1=0.91, p99_kl=0.5), 0.92)
    assert (found.words, found.because) == ("users may notice", ("top1", "tool_calls"))
    assert grade_of(Figures(), 0.5).because == ("tool_calls",)


def test_what_is_no_number_is_broken_and_what_was_not_measured_decides_nothing() -> None:
    assert grade_of(Figures(mean_kl=None), None).name == "broken"
    assert grade({"p99_kl": math.inf, "top1": 1.0}) == grade({"p99_kl": math.nan})
    assert grade_of(Figures(), None).name == "unnoticed"
    assert grade({"max_logit_diff": 1.0, "tool_calls": None}) is None
    assert (words_of("max_logit_diff", 1.0), words_of("tool_calls", None)) == ("", "")


def test_the_page_has_the_same_words_and_limits() -> None:
    text = PAGE.read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| **")
    ]
    assert [row[0].strip("*") for row in rows] == [*(row.words for row in grades().grade), grades().broken]
    for shown, row in zip(rows, grades().grade, strict=False):
        numbers = [float(each) for cell in shown[1:6] for each in re.findall(r"[\d.]+", cell)]
        wanted = row.limits.model_dump()
        percent = {name: value * 100 if name in AT_LEAST else value for name, value in wanted.items()}
        assert numbers == pytest.approx([percent[name] for name in NAMES]), row.words
        assert f"`{row.recipe}`" in shown[6]
        assert row.meaning in shown[7]
