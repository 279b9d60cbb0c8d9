"""Applies a recipe to a float model, module by module, in place."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from ..stages import Recipe
from .modules import QuantizedEmbedding, QuantizedLinear
from .recipe import scheme_for, unused_rules


@dataclass(frozen=True)
class Quantized:
    """What the recipe did: scheme name by module name."""

    schemes: dict[str, str]

    def counts(self) -> dict[str, int]:
        """Number of modules by scheme."""
        out: dict[str, int] = {}
        for scheme in self.schemes.values():
            out[scheme] = out.get(scheme, 0) + 1
        return dict(sorted(out.items()))


def embedding_multiplier(module: nn.Embedding) -> float:
    """What a family multiplies its embeddings by (``embed_scale``), 1.0 for a plain embedding."""
    scale = getattr(module, "embed_scale", 1.0)
    return float(scale)


def apply_recipe(model: nn.Module, recipe: Recipe) -> Quantized:
    """Replaces linears and embeddings of ``model`` by their quantized equals.

    Raises:
        UnsupportedError: no rule fits a module, a rule fits none, or a scheme can't be had for a tensor.
    """
    found = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Linear | nn.Embedding)]
    unused_rules(recipe, [name for name, _ in found])
    schemes: dict[str, str] = {}
    for name, module in found:
        scheme = scheme_for(recipe, name)
        schemes[name] = scheme.name
        if scheme.weight == "float32":
            continue
        new: nn.Module
        if isinstance(module, nn.Embedding):
            new = QuantizedEmbedding(module, scheme, name, embedding_multiplier(module))
        else:
            new = QuantizedLinear(module, scheme, name)
        parent, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(parent), leaf, new)
    return Quantized(schemes)
