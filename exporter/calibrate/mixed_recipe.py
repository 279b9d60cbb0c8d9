"""The recipe of a mix of four and eight bits, and its file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ..quantize.fallback import every_layer
from ..quantize.recipe import Gate, Recipe, Rule, Scheme
from .front import Mix

_FINE = "fine"


def recipe_of(mix: Mix, base: Recipe, names: Sequence[str], name: str) -> Recipe:
    """Return the recipe of a mix.

    Args:
        mix: The mix.
        base: The recipe of the smallest mix.
        names: All modules that are quantized.
        name: What the recipe is called.
    """
    fine = next(scheme for scheme in base.schemes if scheme.name == _FINE)
    raised = set(mix.raised)
    rules = tuple(_rules(raised, names, fine))
    decided = {rule.match for rule in rules}
    rest = tuple(replace(rule, optional=True) for rule in base.rules if rule.match not in decided)
    used = {rule.scheme.name for rule in (*rules, *rest)}
    return replace(
        base,
        name=name,
        description=f"Found by search: {len(raised)} of {len(names)} matrices int8, the others int4; estimated "
        f"{mix.nats:.3g} nats",
        rules=(*rules, *rest),
        schemes=tuple(s for s in base.schemes if s.name in used or any(s.name == o.otherwise for o in base.schemes)),
        finer="",
        path=None,
        gate=_gate(mix.nats),
    )


def _rules(raised: set[str], names: Sequence[str], fine: Scheme) -> Iterator[Rule]:
    """One rule for each kind of module: for all layers, or for those that are named."""
    kinds: dict[str, list[str]] = {}
    for name in names:
        kinds.setdefault(every_layer(name), []).append(name)
    reason = "Eight bits here take more error away than the same bytes elsewhere."
    for pattern, all_of in kinds.items():
        chosen = [name for name in all_of if name in raised]
        if not chosen:
            continue
        if len(chosen) < len(all_of):
            numbers = "|".join(number for name in chosen for number in re.findall(r"\.(\d+)(?=\.|$)", name)[:1])
            pattern = pattern.replace(r"\d+", f"({numbers})", 1)
        yield Rule(pattern, fine, reason, optional=True)


def _gate(nats: float) -> Gate:
    """Limits about half again as wide as what is expected; see the gates of the recipes that ship."""
    limit = max(0.005, 1.5 * nats)
    return Gate(
        mean_kl=_two(limit),
        p99_kl=_two(15 * limit),
        top1=round(max(0.5, 1 - 0.5 * limit**0.5), 3),
        perplexity_ratio=round(1 + 1.5 * limit, 3),
        tool_calls=round(max(0.5, 1 - 1.5 * limit), 3),
        reason="Half again of what the search expects of this mix.",
    )


def _two(value: float) -> float:
    return float(f"{value:.2g}")


def write_recipe(recipe: Recipe, out: Path) -> None:
    """Write a recipe as the TOML file that ``load_recipe`` reads.

    Args:
        recipe: The recipe.
        out: The file.
    """
    import tomli_w

    schemes = {one.name: _without_defaults(asdict(one), Scheme(one.name, one.weight)) for one in recipe.schemes}
    data: dict[str, Any] = {
        "description": recipe.description,
        "folds": recipe.folds,
        "schemes": schemes,
        "rules": [
            {"match": rule.match, "scheme": rule.scheme.name, "optional": rule.optional, "reason": rule.reason}
            for rule in recipe.rules
        ],
        "gate": {key: value for key, value in asdict(recipe.gate).items() if value is not None},
    }
    out.write_text(tomli_w.dumps(data, multiline_strings=False), encoding="utf-8")


def _without_defaults(values: Mapping[str, Any], default: Scheme) -> dict[str, Any]:
    plain = asdict(default)
    return {key: value for key, value in values.items() if key != "name" and (key == "weight" or value != plain[key])}
