"""Recipes are honest on LiteRT: what its kernels would ignore or can't run is refused before any work."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gemcut.cli import main
from gemcut.errors import UnsupportedError
from gemcut.quantize.recipe import Scheme
from gemcut.runtimes.litert.schemes import GROUPS, check_scheme

OPTIONS = {"dynamic_shape": False, "plain_tflite": False}

DYNAMIC = "int8-dynamic"
RECIPE = """
description = "A test's"

[schemes.embedding]
{embedding}

[schemes.linear]
{linear}

[[rules]]
match = 'model\\.embed_tokens'
scheme = "embedding"
reason = "A test's."

[[rules]]
match = '.*'
scheme = "linear"
reason = "A test's."

[gate]
reason = "A test's."
"""


def linear(weight: str, group: int = 0, activation: str = DYNAMIC) -> Scheme:
    return Scheme("a", weight, group, activation)


@pytest.mark.parametrize("scheme", [linear("int8"), linear("int4"), *(linear("int4", group) for group in GROUPS)])
def test_a_linear_is_multiplied_by_what_kernels_have(scheme: Scheme) -> None:
    check_scheme(scheme, 768, "model.layers.0.mlp.up_proj", gathered=False)


@pytest.mark.parametrize(("weight", "group"), [("float32", 0), ("int8", 0), ("int4", 0), ("int4", 32), ("int4", 64)])
@pytest.mark.parametrize("activation", ["float32", DYNAMIC])
def test_an_embedding_is_gathered_by_rows(weight: str, group: int, activation: str) -> None:
    check_scheme(Scheme("a", weight, group, activation), 64, "model.embed_tokens", gathered=True)


def test_float32_goes_at_any_width() -> None:
    for gathered in (False, True):
        check_scheme(Scheme("a", "float32"), 33, "a", gathered)


@pytest.mark.parametrize(
    ("scheme", "columns", "gathered", "said"),
    [
        (linear("int8", 32), 64, False, ["int8 in groups of 32", "no kernel", "one scale per row (group = 0)"]),
        (linear("int8", 64), 64, False, ["int8 in groups of 64", "leave the weight unquantized"]),
        (linear("int4", 16), 64, False, ["groups of 16", "32, 64, 128, 256"]),
        (linear("int4", 96), 96, False, ["groups of 96", "32, 64, 128, 256"]),
        (linear("int4", 64), 96, False, ["96 columns", "groups of 64", "Groups of 32 would fit"]),
        (linear("int4", 32), 80, False, ["80 columns", "one scale per row (group = 0)"]),
        (linear("int8", 0, "float32"), 64, False, ["float32 activations", 'activation = "int8-dynamic"']),
        (linear("int4", 0, "float32"), 64, False, ["float32 activations", 'activation = "int8-dynamic"']),
        (linear("int4", 32, "float32"), 64, False, ["float32 activations"]),
        (linear("int4"), 33, False, ["33 columns, but int4 needs an even number", "int8"]),
        (linear("int4"), 33, True, ["33 columns, but int4 needs an even number", "int8"]),
        (linear("int4", 32), 80, True, ["80 columns", "one scale per row (group = 0)"]),
        (linear("int8", 32), 64, True, ["int8 in groups of 32", "group = 0"]),
    ],
)
def test_what_kernels_lack_is_refused_by_name(scheme: Scheme, columns: int, gathered: bool, said: list[str]) -> None:
    with pytest.raises(UnsupportedError, match=r"^model\.some\.module ") as caught:
        check_scheme(scheme, columns, "model.some.module", gathered)
    told = f"{caught.value.message} {caught.value.hint}"
    for words in said:
        assert words in told
    assert "in the recipe" in told


@pytest.fixture
def export(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """``export(recipe, runtime)``: exit code and stderr of an export that is refused; nothing may be left of it."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def run(recipe: object, runtime: str = "litert") -> tuple[int, str]:
        out = tmp_path / "out" / "bundle"
        words = ["export", str(tiny), "--target", "linux-x86_64", "--runtime", runtime, "--recipe", str(recipe)]
        code = main([*words, "--context", "64", "-o", str(out)])
        shown = capsys.readouterr()
        assert shown.out == ""
        assert not out.parent.exists()
        stages = [line for line in shown.err.splitlines() if not line.startswith(("error: ", "hint: ", " "))]
        assert stages in ([], ["Opening the checkpoint"]), "something was begun"
        return code, shown.err

    return run


@pytest.mark.parametrize(
    ("weight", "said"),
    [
        ('weight = "int8"\ngroup = 32\nactivation = "int8-dynamic"', "int8 in groups of 32: LiteRT has no kernel"),
        ('weight = "int8"', "int8 with float32 activations"),
        (
            'weight = "int4"\ngroup = 48\nactivation = "int8-dynamic"',
            "groups of 48, but LiteRT's kernels take only 32, 64",
        ),
        ('weight = "int4"\ngroup = 64\nactivation = "int8-dynamic"', "96 columns, which groups of 64 don't divide"),
    ],
)
@pytest.mark.parametrize("runtime", ["litert", "executorch,litert"])
def test_a_recipe_that_litert_would_ignore_ends_before_any_work(
    weight: str, said: str, runtime: str, export: Any, tmp_path: Path
) -> None:
    recipe = tmp_path / "wi8b32.toml"
    recipe.write_text(RECIPE.format(embedding='weight = "int8"', linear=weight))
    code, shown = export(recipe, runtime)
    assert code == 4
    assert re.search(r"error: model\.layers\.0\.\w+\.\w+_proj ", shown)
    if runtime == "litert":  # ExecuTorch may have words of its own for it
        assert said in " ".join(shown.split())
    assert "hint: " in shown


def test_a_grouped_embedding_ends_before_any_work(export: Any, tmp_path: Path) -> None:
    recipe = tmp_path / "grouped.toml"
    dynamic = 'weight = "int8"\nactivation = "int8-dynamic"'
    recipe.write_text(RECIPE.format(embedding='weight = "int8"\ngroup = 32', linear=dynamic))
    code, shown = export(recipe)
    assert code == 4
    assert "model.embed_tokens is to be stored as int8 in groups of 32" in shown


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("int-4", "'int4'"),
        ("itn8", "'int8'"),
        ("float", "'float32'"),
        ("wi8b32", "Known: balanced, float32, int4, int8, small"),
    ],
)
def test_an_unknown_recipe_comes_with_the_nearest(name: str, near: str, export: Any) -> None:
    code, shown = export(name)
    assert code == 4
    assert f"unknown recipe '{name}'" in shown
    assert near in shown


def test_a_recipe_file_s_unknown_weight_comes_with_the_nearest(export: Any, tmp_path: Path) -> None:
    recipe = tmp_path / "int2.toml"
    recipe.write_text(RECIPE.format(embedding='weight = "int8"', linear='weight = "int2"\nactivation = "int8-dynamic"'))
    code, shown = export(recipe)
    assert code == 4
    assert "'int2'" in shown
    assert "Known: float32, int4, int8" in shown


def test_one_conversion_serves_every_recipe_and_each_keeps_its_word(
    build: Callable[[object, Path], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also the mixed one, whose tied table stands in two precisions, and once in each."""
    from gemcut.runtimes.litert import PLUGIN

    mixed = tmp_path / "mixed.toml"
    head = 'weight = "int4"\ngroup = 32\nactivation = "int8-dynamic"'
    mixed.write_text(RECIPE.format(embedding='weight = "int8"', linear=head))
    monkeypatch.setenv("GEMCUT_CACHE", str(tmp_path / "cache"))
    made, kept = {"float32": build("float32", tmp_path / "float32")}, tmp_path / "cache" / "litert-skeletons"
    before = {path: path.read_bytes() for path in kept.iterdir()}
    made |= {name: build(name, tmp_path / Path(str(name)).stem) for name in ("int8", "int4", mixed)}
    assert {path: path.read_bytes() for path in kept.iterdir()} == before
    assert len({lowered.facts["skeleton"] for lowered in made.values()}) == 1
    rows, columns = 397, 64
    tables = rows * columns + 4 * rows, rows * columns // 2 + 2 * rows * columns // 32
    alike = (0, tables[0]), (0, 4 * rows * columns)
    for name, wanted in ((mixed, tables), ("int4", alike[0]), ("int8", alike[0]), ("float32", alike[1])):
        assert sorted((made[name].tensors["embedding"], made[name].tensors["head"])) == sorted(wanted)
    assert made[mixed].schemes["head"] == {"int4 by 32, int8-dynamic": 1}
    assert made["int4"].schemes["head"] == {"int8, int8-dynamic": 1}
    assert made["int4"].schemes["embedding"] == {"int8": 1}
    assert made["int4"].schemes["attention"] == {"int8, int8-dynamic": 4, "int4 by 32, int8-dynamic": 4}
    assert made["int8"].schemes["mlp"] == {"int8, int8-dynamic": 6}
    assert made["float32"].schemes["attention"] == {"float32": 8}
    assert made["float32"].quantized == dict.fromkeys(made["float32"].quantized, 0)
    assert made["int8"].quantized == {"attention": 8, "embedding": 1, "head": 1, "mlp": 6}
    sizes = {name: lowered.artifacts.path.stat().st_size for name, lowered in made.items()}
    assert sizes["float32"] > sizes["int8"] > 1.2 * (sizes[mixed] - tables[0])
    for lowered in made.values():
        assert PLUGIN.exporter.examine(lowered).delegated_macs == 1.0
        assert sum(lowered.tensors.values()) < lowered.artifacts.path.stat().st_size


def test_another_shape_or_norm_is_converted_anew(
    tiny: Path, float_model: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hash of a skeleton knows all that is in it, and not where the checkpoint lies."""
    from gemcut.checkpoint.opening import open_checkpoint
    from gemcut.quantize.recipe import load_recipe
    from gemcut.runtimes.litert import PLUGIN
    from gemcut.runtimes.litert import build as module
    from gemcut.runtimes.program import BuildSpec, Shape

    config = open_checkpoint(str(tiny)).text_config

    def key(model: Any, recipe: str = "int8", lengths: tuple[int, ...] = (64, 8), version: str = "0.18.1") -> str:
        shape = Shape(lengths[0], lengths[1:])
        cache = PLUGIN.exporter.cache(config, shape, OPTIONS)
        order = BuildSpec(config, load_recipe(recipe), shape, cache, (1,), 2, ("xnnpack",), OPTIONS)
        # What the stage itself hashes: a model whose matrices are inputs.
        module.make_signatures(model, cache, shape.prefill, False)
        return module._key(order, model, version)

    first = key(float_model())
    assert key(float_model(), recipe="int4") == first
    config._name_or_path = "elsewhere"
    assert key(float_model()) == first
    louder, other = float_model(), float_model()
    louder.model.norm.weight.data[3] += 1e-3
    other.model.layers[0].mlp.up_proj.weight.data.mul_(2)
    assert key(other) == first
    changed = [
        key(louder),
        key(float_model(), lengths=(63, 8)),
        key(float_model(), lengths=(64, 9)),
        key(float_model(), lengths=(64, 8, 16)),
        key(float_model(), version="0.18.2"),
    ]
    monkeypatch.setattr(module.metadata, "version", lambda name: "0.99")
    changed.append(key(float_model()))
    assert len({first, *changed}) == 1 + len(changed)


def test_the_scheme_of_the_head_does_not_decide_the_embedding_s(converted: Any, tmp_path: Path) -> None:
    int8 = Scheme("rows", "int8")
    one = converted.link(tmp_path / "one.tflite", linear("int4", 32), int8)
    two = converted.link(tmp_path / "two.tflite", linear("int4", 32), replace(int8, weight="int4"))
    assert one["lm_head"] == two["lm_head"] > 0
    assert one["model.embed_tokens"] - two["model.embed_tokens"] == 397 * 32
