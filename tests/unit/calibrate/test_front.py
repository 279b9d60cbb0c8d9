"""The front of all mixes of four and eight bits, what a budget takes of it, and the recipe that comes of it."""

from __future__ import annotations

from itertools import combinations, pairwise
from pathlib import Path

import pytest
from gemcut.calibrate.front import FEW, MANY, Limits, Measured, Sensitivity, TensorSensitivity, choose, front
from gemcut.calibrate.search import recipe_at, write_recipe
from gemcut.calibrate.sensitivity import base_recipe
from gemcut.errors import UnsupportedError
from gemcut.quantize.recipe import load_recipe, scheme_for

SMALLEST = 10_000_000
COLUMNS = {f"model.layers.{at}.mlp.{name}_proj": 64 for at in range(4) for name in ("up", "down")}
ALL = {"model.embed_tokens": 64, **COLUMNS, "lm_head": 64}


def tensor(name: str, megabytes: float, few: float, many: float) -> TensorSensitivity:
    half = round(megabytes * 1e6)
    return TensorSensitivity((name,), "mlp", 2 * half, {FEW: half, MANY: 2 * half}, {FEW: few, MANY: many})


TENSORS = tuple(tensor(name, 1 + at % 3, few=0.01 * (1 + at * 7 % 5), many=0.001) for at, name in enumerate(COLUMNS))
TOTAL = sum(one.nats[FEW] for one in TENSORS)
LEAST = sum(one.nats[MANY] for one in TENSORS)
FOUND = Sensitivity(TENSORS, 0.002, (Measured(0, TOTAL), Measured(len(TENSORS), LEAST)), 4096)


def test_points_add_up_and_only_get_better() -> None:
    points = front(FOUND)
    assert (points[0].nats, points[0].bytes) == (pytest.approx(TOTAL), 0)
    assert (points[-1].nats, points[-1].bytes) == (pytest.approx(LEAST), sum(one.bytes[FEW] for one in TENSORS))
    assert all(a.nats > b.nats and a.bytes < b.bytes for a, b in pairwise(points))


def test_no_mix_of_a_point_s_size_has_less_error() -> None:
    """Against all 256 mixes: steps are taken whole, so that only what fits between two points can be better."""
    for point in front(FOUND):
        for count in range(len(TENSORS) + 1):
            for raised in combinations(TENSORS, count):
                size = sum(one.bytes[MANY] - one.bytes[FEW] for one in raised)
                nats = TOTAL - sum(one.nats[FEW] - one.nats[MANY] for one in raised)
                assert size > point.bytes or nats > point.nats - 1e-12 or size == 0


def test_measured_points_are_what_was_measured_and_those_between_lie_between() -> None:
    middle = len(TENSORS) // 2
    measured = (Measured(0, 0.5), Measured(middle, 0.2), Measured(len(TENSORS), 0.1))
    points = front(Sensitivity(TENSORS, 0.002, measured, 4096))
    assert [points[one.raised].nats for one in measured] == [one.nats for one in measured]
    assert all(a.nats > b.nats for a, b in pairwise(points))


def test_a_size_gives_the_best_mix_that_fits_and_a_divergence_the_smallest() -> None:
    points = front(FOUND)
    by_size = choose(points, SMALLEST, Limits(bytes=SMALLEST + 5_000_000))
    assert by_size.bytes <= 5_000_000 < points[by_size.raised + 1].bytes
    by_nats = choose(points, SMALLEST, Limits(nats=0.1))
    assert by_nats.nats <= 0.1 < points[by_nats.raised - 1].nats
    both = choose(points, SMALLEST, Limits(SMALLEST + by_nats.bytes, 0.1))
    assert both == by_nats


IMPOSSIBLE = {
    Limits(bytes=SMALLEST - 1): "the smallest is 10.0 MB",
    Limits(nats=0.001): "aren't possible: the best is",
    Limits(SMALLEST + 1_000_000, 0.05): "aren't possible in 11.0 MB: the best is",
}


@pytest.mark.parametrize(("limits", "said"), IMPOSSIBLE.items(), ids=str)
def test_what_no_mix_keeps_is_refused_with_the_nearest(limits: Limits, said: str) -> None:
    with pytest.raises(UnsupportedError, match=said):
        choose(front(FOUND), SMALLEST, limits)


def test_the_recipe_raises_just_the_point_s_matrices_and_its_file_is_the_same_recipe(tmp_path: Path) -> None:
    points, base = front(FOUND), base_recipe(ALL)
    for point in points:
        recipe = recipe_at(point, FOUND.steps(), base, tuple(ALL), "found")
        raised = {name for step in FOUND.steps()[: point.raised] for name in step.names}
        found = {name for name in ALL if scheme_for(recipe, name).weight == "int8"}
        assert found == raised
        write_recipe(recipe, tmp_path / "found.toml")
        read = load_recipe(str(tmp_path / "found.toml"))
        assert {name: scheme_for(read, name) for name in ALL} == {name: scheme_for(recipe, name) for name in ALL}
        assert (read.gate, read.folds, read.description) == (recipe.gate, recipe.folds, recipe.description)
    assert len(recipe.rules) == 2 + len(base.rules), "all layers' up and all layers' down are one rule each"


def test_the_base_recipe_has_four_bits_as_far_as_groups_divide() -> None:
    base = base_recipe({**ALL, "model.layers.0.mlp.up_proj": 40})
    assert {name for name in ALL if scheme_for(base, name).weight != "int4"} == {"model.layers.0.mlp.up_proj"}
