"""What a tiny model's matrices cost, measured: sums are what mixes of them cost, and a search keeps its budget."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gemcut.calibrate.front import FEW, MANY, Limits
from gemcut.checkpoint.opening import open_checkpoint
from gemcut.errors import UsageError
from gemcut.pipeline.bit_search import TITLES, Searched, search
from gemcut.quantize.recipe import load_recipe, scheme_for
from gemcut.target import load_target
from gemcut.util.progress import Silent
from gemcut.util.stage_clock import StageClock

from tests.support.checkpoints import gemma3_two_layers


def searched(checkpoint: Path, folder: Path, calibration: str | None = None) -> tuple[Searched, StageClock]:
    clock = StageClock(Silent(), TITLES)
    return search(
        open_checkpoint(str(checkpoint)), load_target("android-arm64"), calibration, 128, folder, clock
    ), clock


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Gemma 3 with loud channels, as real models have them."""
    import torch
    from gemcut.checkpoint.random import random_checkpoint
    from safetensors.torch import load_file, save_file

    config = gemma3_two_layers()
    folder = random_checkpoint(tmp_path_factory.mktemp("uneven") / "uneven", config, dtype=torch.float32)
    (file,) = folder.glob("*.safetensors")
    tensors = load_file(file)
    generator = torch.Generator().manual_seed(2)
    for name, tensor in tensors.items():
        if "proj" in name:
            tensor.mul_(4)
        if tensor.dim() == 1:
            tensor.add_(torch.rand(tensor.shape, generator=generator) ** 4 * 8)
    save_file(tensors, file, metadata={"format": "pt"})
    return folder


@pytest.fixture(scope="module")
def found(uneven: Path, tmp_path_factory: pytest.TempPathFactory) -> Searched:
    return searched(uneven, tmp_path_factory.mktemp("search"))[0]


def test_every_matrix_is_measured_at_both_widths_and_the_tied_tables_as_one(found: Searched) -> None:
    tensors = found.sensitivity.tensors
    assert {name for one in tensors for name in one.names} == set(found.columns)
    assert ("model.embed_tokens", "lm_head") in {one.names for one in tensors}
    for one in tensors:
        assert one.bytes[FEW] < one.bytes[MANY]
        assert one.nats[FEW] > one.nats[MANY] >= 0
    assert found.sensitivity.activations > 0


def test_what_was_measured_falls_from_the_fewest_bits_to_the_most(found: Searched) -> None:
    nats = [one.nats for one in found.sensitivity.measured]
    assert nats[0] > 3 * nats[-1] > 0
    sums = sum(one.nats[FEW] for one in found.sensitivity.tensors) + found.sensitivity.activations
    assert 0.4 < sums / nats[0] < 2.5, "estimates add up to what the whole mix costs"


def test_it_is_measured_once_and_then_taken_from_the_cache(found: Searched, uneven: Path, tmp_path: Path) -> None:
    again, clock = searched(uneven, tmp_path)
    assert again == found
    assert clock.seconds == {}, "nothing was loaded or measured"
    assert list(tmp_path.iterdir()) == []


def test_another_text_is_another_measurement(found: Searched, uneven: Path, tmp_path: Path) -> None:
    text = tmp_path / "own.txt"
    text.write_text("An app's own users write quite other things.\n" * 400)
    other, clock = searched(uneven, tmp_path, str(text))
    assert clock.seconds.keys() == {"load", "search"}
    assert other.sensitivity != found.sensitivity


def test_a_text_of_which_nothing_would_be_left_to_measure_on_is_refused(uneven: Path, tmp_path: Path) -> None:
    text = tmp_path / "short.txt"
    text.write_text("A few words. " * 40)
    with pytest.raises(UsageError, match="too"):
        searched(uneven, tmp_path, str(text))
    assert [path.name for path in tmp_path.iterdir()] == ["short.txt"]


def test_without_calibration_there_is_nothing_to_search_by(uneven: Path, tmp_path: Path) -> None:
    for word in ("none", "quick"):
        with pytest.raises(UsageError, match="needs a whole calibration"):
            searched(uneven, tmp_path, word)


def test_a_mix_in_the_middle_costs_what_the_front_says(found: Searched, uneven: Path) -> None:
    """The recipe of a point, calibrated and simulated anew: folds and GPTQ are then its own."""
    from gemcut.calibrate.calibrator import Calibration
    from gemcut.calibrate.simulation import Yardstick, copy_of, simulated
    from gemcut.checkpoint.weights import load_float_model
    from gemcut.util.file_tensors import InMemory

    middle = found.points[len(found.points) // 2]
    point, recipe = found.recipe(Limits(nats=middle.nats * 1.0001), "middle")
    assert {name for name in found.columns if scheme_for(recipe, name).weight == "int8"}
    import torch

    model = load_float_model(open_checkpoint(str(uneven))).eval()
    ids = torch.randint(3, 500, (24, 64), generator=torch.Generator().manual_seed(1)).tolist()
    own = copy_of(model)
    weights = Calibration(own, recipe, InMemory(), Silent()).run(ids[:16])
    measured = Yardstick(model, ids[16:]).mean_kl(simulated(own, recipe, weights))
    assert 0.3 < measured / point.nats < 3


def test_the_command_line_lists_what_it_found(uneven: Path, found: Searched, here: Callable[..., Any]) -> None:
    said = here("recipes", "sensitivity", uneven, "--context", 128, "--json")
    assert said.code == 0, said.err
    document = json.loads(said.out)
    assert len(document["tensors"]) == len(found.sensitivity.tensors)
    shown = here("recipes", "sensitivity", uneven, "--context", 128)
    assert "embedding" in shown.out
    assert "the worst at int4" in shown.out


def test_a_budget_gives_a_recipe_that_an_export_takes(
    uneven: Path, found: Searched, here: Callable[..., Any], tmp_path: Path
) -> None:
    file, plot = tmp_path / "mixed.toml", tmp_path / "front.html"
    size = found.smallest + found.points[len(found.points) // 2].bytes
    said = here("recipes", "search", uneven, "--context", 128, "--max-size", f"{size} B", "-o", file, "--html", plot)
    assert said.code == 0, said.err
    assert "For this budget:" in said.out
    page = plot.read_text(encoding="utf-8")
    assert "plotly" in page.lower()
    assert '<meta name="viewport"' in page
    recipe = load_recipe(str(file))
    raised = {name for name in found.columns if scheme_for(recipe, name).weight == "int8"}
    assert 0 < len(raised) < len(found.columns)


def test_o_without_a_budget_is_refused_before_anything_is_measured(
    uneven: Path, here: Callable[..., Any], tmp_path: Path
) -> None:
    said = here("recipes", "search", uneven, "-o", tmp_path / "mixed.toml")
    assert said.code == 2
    assert "budget" in said.err
