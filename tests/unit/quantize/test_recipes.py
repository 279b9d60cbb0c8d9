"""Recipes: what is shipped, which rule decides, and every mistake in a file of one's own."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from gemcut.errors import UnsupportedError, UsageError
from gemcut.quantize.recipe import Recipe, list_recipes, load_recipe, rule_for, schema, scheme_for, unused_rules

NAMES = (
    "model.embed_tokens",
    "model.embed_tokens_per_layer",
    "model.per_layer_model_projection",
    "model.layers.3.self_attn.q_proj",
    "model.layers.0.mlp.down_proj",
    "model.layers.0.per_layer_input_gate",
    "lm_head",
)
OWN = """
description = "mine"
[schemes.table]
weight = "int8"
[schemes.small]
weight = "int4"
group = 64
activation = "int8-dynamic"
[schemes.full]
weight = "float32"
[[rules]]
match = 'model\\.embed.*'
scheme = "table"
reason = "a"
[[rules]]
match = 'model\\.layers\\.[03]\\..*'
scheme = "full"
reason = "b"
[[rules]]
match = '.*'
scheme = "small"
reason = "c"
[gate]
mean_kl = 0.5
reason = "d"
"""


def load(folder: Path, text: str = OWN) -> Recipe:
    path = folder / "mine.toml"
    path.write_text(text)
    return load_recipe(str(path))


def test_the_recipes_that_are_shipped() -> None:
    assert tuple(list_recipes()) == ("balanced", "float32", "int4", "int8", "small")


@pytest.mark.parametrize("name", ["balanced", "float32", "int4", "int8", "small"])
def test_a_shipped_recipe_decides_for_every_module_and_says_why(name: str) -> None:
    recipe = load_recipe(name)
    assert all(rule_for(recipe, module).reason for module in NAMES)
    assert len(recipe.gate.reason) > 80
    for gemma3 in (NAMES, [n for n in NAMES if "per_layer" not in n]):
        unused_rules(recipe, gemma3)


def test_float32_quantizes_nothing_and_holds_every_logit_to_a_thousandth() -> None:
    recipe = load_recipe("float32")
    assert {scheme_for(recipe, name).weight for name in NAMES} == {"float32"}
    assert (recipe.gate.max_logit_diff, recipe.gate.top1) == (1e-3, 1.0)


def test_int8_is_per_channel_with_dynamic_activations() -> None:
    recipe = load_recipe("int8")
    head, table = scheme_for(recipe, "lm_head"), scheme_for(recipe, "model.embed_tokens")
    assert (head.weight, head.group, head.activation) == ("int8", 0, "int8-dynamic")
    assert (table.weight, table.group, table.activation) == ("int8", 0, "float32")


def test_int4_is_groups_of_32_but_for_tables_keys_and_values() -> None:
    recipe = load_recipe("int4")
    for name in (*NAMES, "model.layers.0.self_attn.k_proj", "model.layers.1.self_attn.v_proj"):
        scheme = scheme_for(recipe, name)
        found = (scheme.weight, scheme.group, scheme.activation, scheme.method)
        if name.endswith("embed_tokens_per_layer"):
            assert found == ("int4", 64, "float32", "round-to-nearest")
        elif "embed" in name:
            assert found == ("int8", 0, "float32", "round-to-nearest")
        elif name == "lm_head" or name.endswith(("k_proj", "v_proj")):
            assert found == ("int8", 0, "int8-dynamic", "round-to-nearest")
        else:
            assert found == ("int4", 32, "int8-dynamic", "gptq")


def test_a_rule_that_is_optional_may_match_nothing() -> None:
    recipe = load_recipe("int4")
    fused = ["model.embed_tokens", "model.layers.0.self_attn.qkv_proj", "lm_head"]
    unused_rules(recipe, fused)
    needed = tuple(replace(rule, optional=False) for rule in recipe.rules)
    with pytest.raises(UnsupportedError, match="matches no module"):
        unused_rules(replace(recipe, rules=needed), fused)


def test_without_calibration_all_is_rounded_to_nearest() -> None:
    recipe = load_recipe("int4")
    plain = recipe.uncalibrated()
    assert recipe.folds
    assert not plain.folds
    assert {rule.scheme.method for rule in plain.rules} == {"round-to-nearest"}
    assert [replace(rule.scheme, method="") for rule in plain.rules] == [
        replace(rule.scheme, method="") for rule in recipe.rules
    ]


@pytest.mark.parametrize("name", ["int8", "int4"])
def test_a_quantized_recipe_limits_every_figure_of_the_issue(name: str) -> None:
    gate = load_recipe(name).gate
    assert None not in (gate.mean_kl, gate.p99_kl, gate.top1, gate.perplexity_ratio, gate.tool_calls)


def test_the_first_rule_that_matches_the_whole_name_decides(tmp_path: Path) -> None:
    recipe = load(tmp_path)
    chosen = [scheme_for(recipe, name).name for name in NAMES]
    assert chosen == ["table", "table", "small", "full", "full", "full", "small"]
    assert scheme_for(recipe, "my.model.embed").name == "small"


def test_a_module_that_no_rule_matches_is_named(tmp_path: Path) -> None:
    recipe = load(tmp_path, OWN.replace("'.*'", "'lm_head'"))
    with pytest.raises(UnsupportedError, match=r"no rule matches the module 'model\.norm_proj'"):
        scheme_for(recipe, "model.norm_proj")


def test_a_rule_that_matches_no_module_is_named_with_the_nearest(tmp_path: Path) -> None:
    recipe = load(tmp_path, OWN.replace(r"model\.layers\.[03]\..*", r"model\.layers\.3\.self_atn\.q_proj"))
    with pytest.raises(UnsupportedError, match=r"self_atn.*nearest module is 'model\.layers\.3\.self_attn\.q_proj'"):
        unused_rules(recipe, NAMES)


def test_an_unknown_recipe_gets_the_nearest() -> None:
    with pytest.raises(UnsupportedError, match="did you mean 'int4'"):
        load_recipe("int44")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('weight = "int4"', 'weight = "int5"', "schemes.small.weight = 'int5': did you mean 'int[48]'"),
        ("group = 64", "groups = 64", "unknown key 'schemes.small.groups': did you mean 'group'"),
        ("mean_kl", "mean_kll", "unknown key 'gate.mean_kll': did you mean 'mean_kl'"),
        ('reason = "a"', 'reson = "a"', "unknown key 'rules.0.reson': did you mean 'reason'"),
        ('activation = "int8-dynamic"', 'activation = "int8"', "did you mean 'int8-dynamic'"),
    ],
)
def test_an_unknown_key_or_format_gets_the_nearest(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        load(tmp_path, OWN.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('scheme = "small"', 'scheme = "smal"', "names the scheme 'smal': did you mean 'small'"),
        ("'.*'", "'(.*'", "is not a regular expression"),
        ("'.*'", r"'model\.embed.*'", "appears twice"),
        ('scheme = "full"', 'scheme = "small"', "no rule uses the scheme 'full'"),
        ('weight = "float32"', 'weight = "float32"\ngroup = 32', "float32 weight has no group"),
        ("mean_kl = 0.5", "mean_kl = -0.5", "gate.mean_kl"),
        ("mean_kl = 0.5", "top1 = 1.5", "gate.top1"),
        ('reason = "d"', "", "'gate.reason' is missing"),
        ("group = 64", 'group = "64"', "schemes.small.group"),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load(tmp_path, OWN.replace(old, new))


@pytest.mark.parametrize("name", ["float32", "int4", "int8"])
def test_the_shipped_schema_takes_the_shipped_file(name: str) -> None:
    path = list_recipes()[name]
    shipped = json.loads((path.parent.parent / "recipe.schema.json").read_text())
    jsonschema.validate(tomllib.loads(path.read_text()), shipped)
    shipped.pop("$schema")
    assert shipped == schema()
