"""The front of all mixes of four and eight bits, what a budget takes of it, and the recipe that comes of it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise
from pathlib import Path

import pytest
from gemcut.calibrate.front import FEW, MANY, Limits, Measured, Sensitivity, TensorSensitivity, choose, front
from gemcut.calibrate.mixed_recipe import recipe_of, write_recipe
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


def mixes() -> Iterator[tuple[int, float]]:
    """Bytes and nats of all 256 mixes."""
    for count in range(len(TENSORS) + 1):
        for raised in combinations(TENSORS, count):
            size = sum(one.bytes[MANY] - one.bytes[FEW] for one in raised)
            yield size, TOTAL - sum(one.nats[FEW] - one.nats[MANY] for one in raised)


@pytest.mark.parametrize("room", [0, 1, 2, 5, 9, 14, 16])
def test_under_a_size_it_is_nearly_the_best_of_all_mixes(room: int) -> None:
    mix = choose(FOUND, SMALLEST, Limits(bytes=SMALLEST + room * 1_000_000))
    best = min(nats for size, nats in mixes() if size <= room * 1_000_000)
    assert mix.bytes <= room * 1_000_000
    assert best - 1e-9 <= mix.nats <= best + 0.012, "off by one matrix at most"


@pytest.mark.parametrize("limit", [0.25, 0.2, 0.1, 0.05, 0.02])
def test_under_a_divergence_it_is_nearly_the_smallest(limit: float) -> None:
    mix = choose(FOUND, SMALLEST, Limits(nats=limit))
    assert mix.nats <= limit
    assert mix.bytes <= min(size for size, nats in mixes() if nats <= limit) + 1_000_000
    assert choose(FOUND, SMALLEST, Limits(SMALLEST + mix.bytes, limit)).nats <= limit


def test_a_matrix_that_does_not_fit_keeps_none_behind_it_out() -> None:
    """The tables of a small model are worth most by the byte, and larger than all else together."""
    table = tensor("lm_head", 100, few=20.0, many=0.1)
    found = Sensitivity((table, *TENSORS), 0.0, (Measured(0, TOTAL + 20), Measured(len(TENSORS) + 1, LEAST)), 1)
    mix = choose(found, SMALLEST, Limits(bytes=SMALLEST + 16_000_000))
    assert set(mix.raised) == set(COLUMNS)


IMPOSSIBLE = {
    Limits(bytes=SMALLEST - 1): "the smallest is 10.0 MB",
    Limits(nats=0.001): "aren't possible: the best is",
    Limits(SMALLEST + 1_000_000, 0.05): "aren't possible in 11.0 MB: the best is",
}


@pytest.mark.parametrize(("limits", "said"), IMPOSSIBLE.items(), ids=str)
def test_what_no_mix_keeps_is_refused_with_the_nearest(limits: Limits, said: str) -> None:
    with pytest.raises(UnsupportedError, match=said):
        choose(FOUND, SMALLEST, limits)


def test_the_recipe_raises_just_the_mix_s_matrices_and_its_file_is_the_same_recipe(tmp_path: Path) -> None:
    base = base_recipe(ALL)
    for limit in (TOTAL, 0.2, 0.1, 0.03, LEAST + 1e-9):
        mix = choose(FOUND, SMALLEST, Limits(nats=limit))
        recipe = recipe_of(mix, base, tuple(ALL), "found")
        assert {name for name in ALL if scheme_for(recipe, name).weight == "int8"} == set(mix.raised)
        write_recipe(recipe, tmp_path / "found.toml")
        read = load_recipe(str(tmp_path / "found.toml"))
        assert {name: scheme_for(read, name) for name in ALL} == {name: scheme_for(recipe, name) for name in ALL}
        assert (read.gate, read.folds, read.description) == (recipe.gate, recipe.folds, recipe.description)
    assert len(recipe.rules) == 2 + len(base.rules), "all layers' up and all layers' down are one rule each"


def test_the_base_recipe_has_four_bits_as_far_as_groups_divide() -> None:
    base = base_recipe({**ALL, "model.layers.0.mlp.up_proj": 40})
    assert {name for name in ALL if scheme_for(base, name).weight != "int4"} == {"model.layers.0.mlp.up_proj"}
