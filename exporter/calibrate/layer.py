"""One decoder layer: its folds, then its weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from ..quantize.methods import METHODS
from ..quantize.recipe import Scheme
from ..quantize.stored import StoredWeight
from ..util.file_tensors import Scratch
from .fold_search import best_scale
from .folds import FOLDS
from .folds.base import Fold, Place, divide_norm
from .statistics import InputStatistics

# Told of each linear: its name within the layer, its weight with folds, what it reads, and what was made of it.
Seen = Callable[[str, torch.Tensor, InputStatistics, "StoredWeight | None"], None]


@dataclass
class _Folded:
    """What folds have made of a layer's weights.

    Attributes:
        columns: By the name of a linear, what its columns are multiplied by.
        rows: By the name of a linear, what its rows are divided by.
    """

    columns: dict[str, torch.Tensor] = field(default_factory=dict)
    rows: dict[str, torch.Tensor] = field(default_factory=dict)

    def weight(self, layer: Any, name: str) -> torch.Tensor:
        weight: torch.Tensor = layer.get_submodule(name).weight.detach().float()
        if name in self.columns:
            weight = weight * self.columns[name]
        return weight / self.rows[name][:, None] if name in self.rows else weight


def calibrate_layer(
    layer: Any,
    config: Any,
    inputs: Mapping[str, InputStatistics],
    schemes: Mapping[str, Scheme],
    folds: bool,
    scratch: Scratch,
    seen: Seen | None = None,
) -> dict[str, StoredWeight]:
    """Fold a layer's scales, and quantize its weights.

    Args:
        layer: The decoder layer; its norms and biases are changed, its matrices are not.
        config: transformers' text configuration.
        inputs: What each linear reads, by its name within the layer.
        schemes: The schemes of those that are quantized, by name within the layer.
        folds: Whether to fold.
        scratch: Takes the values.
        seen: Told of each linear whose inputs are known.

    Returns:
        The weights whose method needs calibration, or that a fold has changed, by name within the layer.
    """
    folded = _Folded()
    for fold in FOLDS if folds else ():
        place = fold.place(layer, config) if config.model_type in fold.exact_for else None
        if place is not None:
            _apply(fold, place, layer, inputs, schemes, folded)
    made: dict[str, StoredWeight] = {}
    read = _divided(inputs, folded)
    for name, scheme in schemes.items():
        method = METHODS.get(scheme.method)
        chosen = method.requires_calibration or name in folded.columns or name in folded.rows
        if name not in inputs or not (chosen or seen):
            continue
        statistics = read[name]
        weight = folded.weight(layer, name)
        if chosen:
            values, scales = method.quantize(weight, scheme, statistics)
            made[name] = StoredWeight(scratch.kept(values), scales)
        if seen is not None:
            seen(name, weight, statistics, made.get(name))
    return made


def _divided(inputs: Mapping[str, InputStatistics], folded: _Folded) -> dict[str, InputStatistics]:
    """What each linear reads once scales are folded; what ``inputs`` says of it is used up.

    Those that read the same and are folded alike share their statistics.
    """
    alike: dict[int, dict[int, list[str]]] = {}
    for name, statistics in inputs.items():
        alike.setdefault(id(statistics), {}).setdefault(id(folded.columns.get(name)), []).append(name)
    found = {}
    for ways in alike.values():
        groups = list(ways.values())
        whole = inputs[groups[0][0]]
        for at, names in enumerate(groups):
            own = whole if at == len(groups) - 1 else whole.copy()
            scale = folded.columns.get(names[0])
            if scale is not None:
                own.divide(scale)
            found.update(dict.fromkeys(names, own))
    return found


def _apply(
    fold: Fold,
    place: Place,
    layer: Any,
    inputs: Mapping[str, InputStatistics],
    schemes: Mapping[str, Scheme],
    folded: _Folded,
) -> None:
    """Fold at one place, if all that it touches is quantized and the outputs gain by it."""
    touched = [*place.readers, *filter(None, [place.writer])]
    if not all(name in schemes and name in inputs for name in touched):
        return
    weights = {name: folded.weight(layer, name) for name in place.readers}
    scale = best_scale(place, weights, schemes, inputs[place.readers[0]])
    if scale is None:
        return
    own = scale
    if place.tied is not None:
        scale, own = place.tied(scale)
    if place.norm:
        if not divide_norm(layer.get_submodule(place.norm), scale):
            return
    else:
        writer = layer.get_submodule(place.writer)
        folded.rows[place.writer] = own
        if writer.bias is not None:
            writer.bias = torch.nn.Parameter(writer.bias.detach().float() / own, requires_grad=False)
    folded.columns.update(dict.fromkeys(place.readers, scale))
