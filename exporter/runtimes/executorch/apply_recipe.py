"""Applies a recipe to a float model, module by module, in place."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from ...modeling.embedding import embedding_multiplier
from ...quantize.recipe import Recipe
from ...quantize.schemes import Checker, decide
from ...quantize.stored import StoredWeights
from ...quantize.stored_bytes import stored_bytes, tensor_class
from ...util.file_tensors import InMemory, Scratch
from ...util.progress import Progress, Silent
from .quantized_modules import GroupedEmbedding, QuantizedEmbedding, QuantizedLinear, stored_weight


@dataclass(frozen=True)
class Applied:
    """How the recipe stored one module.

    Attributes:
        kind: The module's tensor class ('embedding', 'linear', ...).
        scheme: The scheme's name in the recipe.
        stored: The scheme in words ('int4 by 32, int8-dynamic').
        quantized: Whether the weight is quantized.
        bytes: Bytes of the weight as stored, scales included.
    """

    kind: str
    scheme: str
    stored: str
    quantized: bool
    bytes: int


@dataclass(frozen=True)
class Quantized:
    """What the recipe did.

    Attributes:
        modules: How each module is stored, by the module's name.
    """

    modules: dict[str, Applied]

    def bytes_by_class(self) -> dict[str, int]:
        """Return the bytes as stored, by tensor class."""
        return self._by_class({name: applied.bytes for name, applied in self.modules.items()})

    def count_by_class(self) -> dict[str, int]:
        """Return the number of quantized tensors by tensor class."""
        return self._by_class({name: int(applied.quantized) for name, applied in self.modules.items()})

    def schemes_by_class(self) -> dict[str, dict[str, int]]:
        """Return the number of tensors by tensor class and way of storing."""
        out: dict[str, dict[str, int]] = {}
        for applied in self.modules.values():
            ways = out.setdefault(applied.kind, {})
            ways[applied.stored] = ways.get(applied.stored, 0) + 1
        return out

    def _by_class(self, values: dict[str, int]) -> dict[str, int]:
        out: dict[str, int] = {}
        for name, value in values.items():
            kind = self.modules[name].kind
            out[kind] = out.get(kind, 0) + value
        return dict(sorted(out.items()))


def apply_recipe(
    model: nn.Module,
    recipe: Recipe,
    check: Checker,
    scratch: Scratch | None = None,
    progress: Progress | None = None,
    weights: StoredWeights | None = None,
) -> Quantized:
    """Replace linears and embeddings of ``model`` by their quantized equivalents; the others become float32.

    Args:
        model: The float model; its matrices may be of any float dtype.
        recipe: The rules to apply.
        check: Refuses what the delegate can't take.
        scratch: Takes the new matrices; None for memory.
        progress: Told of each module, in weights.
        weights: Weights that are quantized already, by module name.

    Raises:
        UnsupportedError: No rule fits a module, a rule fits no module, or a scheme isn't possible for a tensor.
    """
    scratch, weights = scratch or InMemory(), weights or {}
    modules: dict[str, Applied] = {}
    floats: dict[int, tuple[nn.Parameter, nn.Parameter]] = {}  # a tied weight stays tied
    gathered: set[tuple[int, str, int]] = set()  # tables that a head may share
    decided, progress, done = decide(model, recipe, check), progress or Silent(), 0
    total = sum(module.weight.numel() for _, module, _ in decided)
    for name, module, scheme in decided:
        progress.update(done, total, name)
        done += module.weight.numel()
        quantized = scheme.weight != "float32"
        rows, columns = module.weight.shape
        kind = tensor_class(name, isinstance(module, nn.Embedding))
        modules[name] = Applied(kind, scheme.name, str(scheme), quantized, stored_bytes(rows, columns, scheme))
        if not quantized:
            if id(module.weight) not in floats:
                floats[id(module.weight)] = (module.weight, _float32(module.weight, scratch))
            module.weight = floats[id(module.weight)][1]
            continue
        new: nn.Module
        if isinstance(module, nn.Embedding):
            stored = stored_weight(module, scheme, scratch, weights.get(name))
            multiplier = embedding_multiplier(module)
            if scheme.group:
                new = GroupedEmbedding(stored, multiplier, scratch)
                gathered.add((id(module.weight), scheme.weight, scheme.group))
            else:
                new = QuantizedEmbedding(stored, multiplier)
        else:
            swapped = (id(module.weight), scheme.weight, scheme.group) in gathered
            new = QuantizedLinear(module, scheme, scratch, weights.get(name), swapped)
        parent, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(parent), leaf, new)
    return Quantized(modules)


def _float32(weight: nn.Parameter, scratch: Scratch) -> nn.Parameter:
    if weight.dtype == torch.float32:
        return weight
    whole = scratch.empty(weight.shape, torch.float32).copy_(weight.detach())
    return nn.Parameter(whole, requires_grad=False)
