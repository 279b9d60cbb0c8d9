"""The scheme that each weight of a model gets, decided and checked from shapes alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..errors import UnsupportedError
from .recipe import Recipe, Scheme, scheme_for, unused_rules

if TYPE_CHECKING:
    from torch import nn


def check_scheme(scheme: Scheme, columns: int, name: str, gathered: bool) -> None:
    """Check that ExecuTorch supports a weight that is stored in a scheme.

    Args:
        scheme: What the recipe gives the weight.
        columns: Elements of a row: the reduction dimension of a linear, the width of an embedding.
        name: The module's name, for the message.
        gathered: Whether it is an embedding.

    Raises:
        UnsupportedError: It doesn't; the message names the weight and what would fit.
    """
    if gathered and scheme.weight != "float32" and (scheme.weight != "int8" or scheme.group):
        asked = f"{scheme.weight} in groups of {scheme.group}" if scheme.group else scheme.weight
        raise UnsupportedError(
            f"{name}: embeddings are stored as float32 or as int8 with one scale per row, not as {asked}.",
            hint="Change the recipe's rule for it.",
        )
    if scheme.group and columns % scheme.group:
        fits = [g for g in (128, 64, 32) if columns % g == 0]
        says = f"Groups of {fits[0]} would fit." if fits else "Give it a scheme with one scale per row (group = 0)."
        raise UnsupportedError(
            f"{name} has {columns} columns, which groups of {scheme.group} don't divide.",
            hint=f"{says} Put a rule for it above the present one in the recipe.",
        )


Checker = Callable[[Scheme, int, str, bool], None]


def decide(model: nn.Module, recipe: Recipe, check: Checker = check_scheme) -> list[tuple[str, Any, Scheme]]:
    """Decide which scheme every linear and embedding of ``model`` gets.

    Args:
        model: The float model; it may be without weights (on torch's meta device).
        recipe: The recipe, whose rules decide.
        check: Refuses what a runtime doesn't support, as ``check_scheme`` does for ExecuTorch.

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


def without_weights(config: Any) -> nn.Module:
    """Return transformers' causal language model of a text configuration, on the meta device."""
    import copy

    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model: nn.Module = AutoModelForCausalLM.from_config(copy.deepcopy(config))  # type: ignore[no-untyped-call]
    return model
