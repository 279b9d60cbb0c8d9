"""Weights that groups don't divide: each falls back by the rule of its scheme, and nothing else does."""

from __future__ import annotations

from pathlib import Path

import pytest
from gemcut.errors import GemcutError
from gemcut.quantize.fallback import settled
from gemcut.quantize.recipe import Recipe, list_recipes, load_recipe, scheme_for

LAYERS = {f"model.layers.{at}.mlp.{name}": 96 for at in range(12) for name in ("gate_proj", "up_proj")}
DOWN = {f"model.layers.{at}.mlp.down_proj": 104 for at in range(12)}  # no multiple of 32
ALL = {"model.embed_tokens": 96, **LAYERS, **DOWN, "lm_head": 96}


def changed(recipe: Recipe, columns: dict[str, int]) -> dict[str, tuple[str, str]]:
    """The schemes of the modules whose scheme differs once the recipe is settled: before, and after."""
    after = settled(recipe, columns)
    pairs = {name: (scheme_for(recipe, name).name, scheme_for(after, name).name) for name in columns}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def test_what_groups_divide_stays_the_very_recipe() -> None:
    recipe = load_recipe("int4")
    assert settled(recipe, {name: count for name, count in ALL.items() if name not in DOWN}) is recipe


def test_what_they_do_not_divide_is_stored_as_the_scheme_says() -> None:
    assert changed(load_recipe("int4"), ALL) == dict.fromkeys(DOWN, ("linear", "fine"))
    rule = settled(load_recipe("int4"), ALL).rules[0]
    assert (rule.match, rule.scheme.weight) == (r"model\.layers\.\d+\.mlp\.down_proj", "int8")
    assert "32" in rule.reason


def test_an_odd_layer_alone_gets_a_rule_of_its_own() -> None:
    odd = {**ALL, "model.layers.11.mlp.up_proj": 100}
    found = changed(load_recipe("int4"), {name: count for name, count in odd.items() if name not in DOWN})
    assert set(found) == {"model.layers.11.mlp.up_proj"}


def test_an_odd_table_falls_back_in_embedding_and_head() -> None:
    found = changed(load_recipe("small"), {**ALL, "model.embed_tokens": 72, "lm_head": 72})
    assert found["model.embed_tokens"] == found["lm_head"] == ("table", "fine")


@pytest.mark.parametrize("name", sorted(list_recipes()))
def test_every_shipped_scheme_with_groups_says_where_it_falls_back(name: str) -> None:
    recipe = load_recipe(name)
    assert all(rule.scheme.otherwise for rule in recipe.rules if rule.scheme.group)


WRONG = {
    'weight = "int8"\notherwise = "other"': "has no group",
    'weight = "int4"\ngroup = 32\notherwise = "othr"': "other",
    'weight = "int4"\ngroup = 32\notherwise = "grouped"': "groups too",
}


@pytest.mark.parametrize(("scheme", "said"), WRONG.items())
def test_a_fallback_that_leads_nowhere_is_refused(scheme: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(
        f'description = "a test"\n[schemes.first]\n{scheme}\n[schemes.other]\nweight = "int8"\n'
        '[schemes.grouped]\nweight = "int4"\ngroup = 64\n'
        '[[rules]]\nmatch = \'a\'\nscheme = "first"\nreason = "a"\n'
        '[[rules]]\nmatch = \'b\'\nscheme = "other"\nreason = "b"\n'
        '[[rules]]\nmatch = \'c\'\nscheme = "grouped"\nreason = "c"\n[gate]\nreason = "none"\n'
    )
    with pytest.raises(GemcutError, match=said):
        load_recipe(str(file))
