"""Weights that the groups of their scheme don't divide: they take the scheme that theirs names for this."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from .recipe import Recipe, Rule, Scheme, scheme_for


def settled(recipe: Recipe, columns: Mapping[str, int]) -> Recipe:
    """Return a recipe with a rule for each kind of weight that falls back to another scheme.

    Args:
        recipe: As it was read.
        columns: The columns of each linear and embedding of a model, by the module's name.

    Returns:
        The recipe for this model, whose groups divide every weight that had somewhere to fall back to; the same one
        if that changes nothing.

    Raises:
        UnsupportedError: No rule matches a module.
    """
    odd = {}
    for name, count in columns.items():
        scheme = scheme_for(recipe, name)
        if scheme.otherwise and count % scheme.group:
            odd[name] = scheme
    if not odd:
        return recipe
    schemes = {scheme.name: scheme for scheme in recipe.schemes}
    found: dict[str, Rule] = {}
    for name, scheme in odd.items():
        match = every_layer(name)
        if not {one for one in columns if re.fullmatch(match, one)} <= set(odd):
            match = re.escape(name)
        found[match] = _rule(match, scheme, schemes[scheme.otherwise])
    return replace(recipe, rules=(*found.values(), *recipe.rules))


def every_layer(name: str) -> str:
    """Return a regular expression for a module and the same one of all other layers."""
    return r"\.".join(r"\d+" if part.isdigit() else re.escape(part) for part in name.split("."))


def _rule(match: str, scheme: Scheme, otherwise: Scheme) -> Rule:
    reason = f"Groups of {scheme.group}, which the scheme '{scheme.name}' has, don't divide its columns."
    return Rule(match, otherwise, reason, optional=True)
