"""What each matrix of a model costs at four bits and at eight: bytes, and divergence from the float model.

A matrix's error is the mean square error of its outputs over their mean square, on calibration text, with folds and
GPTQ in place. What the matrices of one kind (all queries, all down projections) add to the model's divergence from the
float model is measured, and shared among them by these errors; divergences of kinds add up. That of the tables
(embedding and head) is measured as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from ..quantize.methods import METHODS
from ..quantize.methods.scale_search import dequantized
from ..quantize.recipe import Recipe, Rule, Scheme, load_recipe, scheme_for
from ..quantize.stored import StoredWeight
from ..quantize.stored_bytes import BITS, stored_bytes, tensor_class
from ..util.file_tensors import Scratch
from ..util.progress import Progress
from .calibrator import Calibration
from .front import FEW, MANY, Measured, Sensitivity, TensorSensitivity
from .simulation import Yardstick, copy_of, simulated
from .statistics import InputStatistics

_FLOAT = Scheme("float32", "float32")
# The recipe whose schemes are tried, and their names in it.
RECIPE, _TABLE, _LINEAR, _FINE = "small", "table", "linear", "fine"
# Points of the front that are measured; between them the sums of estimates are scaled.
_MEASURED = 8


@dataclass(frozen=True)
class _Found:
    """A linear: its relative errors and its weights by weight format."""

    rows: int
    columns: int
    errors: dict[str, float]
    weights: dict[str, StoredWeight]

    @property
    def gained(self) -> float:
        """The error that eight bits take away; none if it can't have four."""
        return max(0.0, self.errors[FEW] - self.errors[MANY]) if FEW in self.errors else 0.0


def base_recipe(columns: Mapping[str, int]) -> Recipe:
    """Return the recipe with the fewest bits that kernels take: everything at four bits, as far as groups divide it.

    Args:
        columns: The columns of each matrix by name.
    """
    from ..quantize.fallback import settled

    recipe = load_recipe(RECIPE)
    return settled(
        replace(recipe, rules=tuple(r for r in recipe.rules if not (r.optional and r.scheme.name == _FINE))), columns
    )


def measure(
    model: Any,
    recipe: Recipe,
    segments: Sequence[Sequence[int]],
    held_out: Sequence[Sequence[int]],
    scratch: Scratch,
    progress: Progress,
) -> Sensitivity:
    """Measure a model.

    Args:
        model: The float model, which stays as it is.
        recipe: From ``base_recipe``.
        segments: Token ids to calibrate on.
        held_out: Token ids to measure on.
        scratch: Takes both forms of all weights.
        progress: Told how far it is.
    """
    own, found = copy_of(model), {}
    fine = next(scheme for scheme in recipe.schemes if scheme.name == _FINE)

    def seen(name: str, weight: torch.Tensor, inputs: InputStatistics, stored: StoredWeight | None) -> None:
        found[name] = _both(weight, inputs, stored, scheme_for(recipe, name), fine, scratch)

    weights = Calibration(own, recipe, scratch, progress, seen).run(segments)
    bench = _Bench(model, own, recipe, fine, found, weights, Yardstick(model, held_out), progress)
    tables = tuple(bench.tables())
    linears, activations = bench.linears()
    result = Sensitivity((*tables, *linears), activations, (), sum(map(len, segments)))
    return replace(result, measured=tuple(bench.front(result.steps())))


class _Bench:
    """Mixes of a model's two forms, measured.

    A folded model is right only with all of its linears quantized, for their weights are what the folds have changed.
    """

    def __init__(
        self,
        plain: Any,
        model: Any,
        recipe: Recipe,
        fine: Scheme,
        found: Mapping[str, _Found],
        made: Mapping[str, StoredWeight],
        yardstick: Yardstick,
        progress: Progress,
    ) -> None:
        self._plain, self._model, self._recipe, self._fine = plain, model, recipe, fine
        self._found, self._made, self._yardstick, self._progress = found, made, yardstick, progress
        self._done, self._mixes = 0, self._most_mixes()

    def _most_mixes(self) -> int:
        """At most how many are measured: all at eight bits, each kind of linear, each table in two forms, the front."""
        kinds = {name.rpartition(".")[2] for name in self._found}
        return 1 + len(kinds) + 2 * len(self._tables()) + _MEASURED

    def _measured(self, model: Any, names: set[str], raised: frozenset[str]) -> float:
        """Nats of a mix: the modules that are quantized, and those of them that have eight bits."""
        self._progress.update(self._done, self._mixes, f"measuring mix {self._done + 1}, of {self._mixes} at most")
        self._done += 1
        return self._yardstick.mean_kl(simulated(model, self.only(names, raised), self.weights(raised)))

    def linears(self) -> tuple[list[TensorSensitivity], float]:
        """The linears, and nats of int8 activations."""
        names = set(self._found)
        least = self._measured(self._model, names, frozenset(names))
        factors: dict[str, float] = {}
        kinds = {name: name.rpartition(".")[2] for name in names}
        for kind in sorted(set(kinds.values())):
            of = {name for name in names if kinds[name] == kind}
            error = sum(self._found[name].gained for name in of)
            nats = self._measured(self._model, names, frozenset(names - of)) - least if error else 0.0
            factors[kind] = max(nats, 0.0) / error if error else 0.0
        found = [
            _sensitivity(name, one, factors[kinds[name]], scheme_for(self._recipe, name), self._fine)
            for name, one in self._found.items()
        ]
        return found, max(0.0, least - sum(one.nats[MANY] for one in found))

    def only(self, names: set[str], raised: frozenset[str] = frozenset()) -> Recipe:
        """The recipe for some modules, some of them raised; all others are float32."""
        kinds = torch.nn.Linear | torch.nn.Embedding
        modules = {name for name, module in self._model.named_modules() if isinstance(module, kinds)}
        rules = [
            Rule(re.escape(name), self._fine if name in raised else scheme_for(self._recipe, name))
            for name in names & modules
        ]
        return replace(self._recipe, rules=(*rules, Rule(".*", _FLOAT)))

    def weights(self, raised: frozenset[str]) -> dict[str, StoredWeight]:
        """All weights that are known, some of them raised; a raised table is rounded where it is used."""
        known = {name: one for name, one in self._made.items() if name not in raised}
        for name, one in self._found.items():
            form = MANY if name in raised or FEW not in one.weights else FEW
            known[name] = one.weights[form]
        return known

    def _tables(self) -> list[list[tuple[str, Any]]]:
        """The embeddings and the head, by name; those with one weight together."""
        shared: dict[int, list[tuple[str, Any]]] = {}
        head = _head_name(self._model)
        for name, module in self._model.named_modules():
            if isinstance(module, torch.nn.Embedding) or name == head:
                shared.setdefault(id(module.weight), []).append((name, module))
        return list(shared.values())

    def tables(self) -> Iterator[TensorSensitivity]:
        """The embeddings and the head, each measured alone; those with one weight together."""
        for group in self._tables():
            names = tuple(name for name, _ in group)
            rows, columns = group[0][1].weight.shape
            size, nats = {}, {}
            schemes = {FEW: scheme_for(self._recipe, names[0]), MANY: self._fine}
            for form in (FEW, MANY):
                scheme = schemes[form]
                if form == FEW and scheme.weight != FEW:
                    continue
                values = rows * columns * BITS[scheme.weight] // 8
                whole = stored_bytes(rows, columns, scheme)
                size[form] = whole + (len(names) - 1) * (whole - values)  # values stand once, scales with each
                raised = frozenset(names) if form == MANY else frozenset()
                nats[form] = self._measured(self._plain, set(names), raised)
            kind = tensor_class(names[0], isinstance(group[0][1], torch.nn.Embedding))
            yield TensorSensitivity(names, kind, rows * columns, size, nats)

    def front(self, steps: Sequence[TensorSensitivity]) -> Iterator[Measured]:
        """Some points of the front, measured."""
        everything = {name for name, _ in self._model.named_modules()}
        for count in sorted({round(len(steps) * at / (_MEASURED - 1)) for at in range(_MEASURED)}):
            raised = frozenset(name for step in steps[:count] for name in step.names)
            yield Measured(count, self._measured(self._model, everything, raised))


def _both(
    weight: torch.Tensor,
    inputs: InputStatistics,
    stored: StoredWeight | None,
    scheme: Scheme,
    fine: Scheme,
    scratch: Scratch,
) -> _Found:
    """A linear at four bits, if it can be, and at eight."""
    values, scales = METHODS.get(fine.method).quantize(weight, fine, inputs)
    weights = {MANY: StoredWeight(scratch.kept(values), scales)}
    if scheme.weight == FEW and stored is not None:
        weights[FEW] = stored
    whole = inputs.energy(weight) or 1.0
    errors = {}
    for form, one in weights.items():
        disturbed = dequantized(one.values, one.scales) - weight
        errors[form] = inputs.energy(disturbed) / whole
    rows, columns = weight.shape
    return _Found(rows, columns, errors, weights)


def _sensitivity(name: str, found: _Found, factor: float, scheme: Scheme, fine: Scheme) -> TensorSensitivity:
    schemes = {FEW: scheme, MANY: fine}
    return TensorSensitivity(
        names=(name,),
        kind=tensor_class(name, False),
        parameters=found.rows * found.columns,
        bytes={form: stored_bytes(found.rows, found.columns, schemes[form]) for form in found.errors},
        nats={form: factor * error for form, error in found.errors.items()},
    )


def _head_name(model: Any) -> str:
    head = model.get_output_embeddings()
    found: str = next(name for name, module in model.named_modules() if module is head)
    return found
