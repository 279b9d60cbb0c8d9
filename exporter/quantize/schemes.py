"""The scheme that each weight of a model gets, decided and checked from shapes alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .recipe import Recipe, Scheme, scheme_for, unused_rules

if TYPE_CHECKING:
    from torch import nn


Checker = Callable[[Scheme, int, str, bool], None]


def decide(model: nn.Module, recipe: Recipe, check: Checker) -> list[tuple[str, Any, Scheme]]:
    """Decide which scheme every linear and embedding of ``model`` gets.

    Args:
        model: The float model; it may be without weights (on torch's meta device).
        recipe: The recipe, whose rules decide.
        check: Refuses what a delegate doesn't support; see ``Delegate.check_scheme``.

    Returns:
        Name, module and scheme of each.

    Raises:
        UnsupportedError: No rule fits a module, a rule fits none, or a weight can't be stored in its scheme.
    """
    from torch import nn

    found = [(name, m) for name, m in model.named_modules() if isinstance(m, nn.Linear | nn.Embedding)]
    unused_rules(recipe, [name for name, _ in found])
    decided = []
    for name, module in found:
        scheme = scheme_for(recipe, name)
        check(scheme, module.weight.shape[1], name, isinstance(module, nn.Embedding))
        decided.append((name, module, scheme))
    return decided
