"""Runs a model on text, layer by layer for all of it at once, and quantizes each layer as soon as it has been run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from ..errors import UnsupportedError
from ..quantize.methods import METHODS
from ..quantize.recipe import Recipe, Scheme, scheme_for
from ..quantize.stored import StoredWeight
from ..reference.lockstep import READING, Lockstep, elements
from ..util.file_tensors import Scratch
from ..util.progress import Progress
from .layer import Seen, calibrate_layer
from .statistics import InputStatistics

# Bytes of a product's inputs or outputs at a time, beside those of all tokens that wait for it.
MOST = 1 << 25
# Linears that read the same inputs, by the last part of their names; the inputs of one are counted for all.
_TOGETHER = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))
# Linears whose outputs a norm makes equally large; each token counts as much as it does behind the norm.
_NORMED = ("o_proj", "down_proj")


@dataclass
class _Layer:
    name: str
    module: Any
    linears: dict[int, str]  # id of the module -> its name within the layer
    inputs: dict[str, InputStatistics] = field(default_factory=dict)

    def leader(self, name: str) -> str:
        """The first of the linears that read what this one reads."""
        parent, _, leaf = name.rpartition(".")
        together = next((group for group in _TOGETHER if leaf in group), (leaf,))
        known = set(self.linears.values())
        return next(other for one in together if (other := f"{parent}.{one}" if parent else one) in known)

    def all_inputs(self) -> dict[str, InputStatistics]:
        """What each linear reads; those that were never run are left out."""
        leaders = {name: self.leader(name) for name in self.linears.values()}
        return {name: self.inputs[leader] for name, leader in leaders.items() if leader in self.inputs}

    @property
    def post_normed(self) -> bool:
        return hasattr(self.module, "pre_feedforward_layernorm") and hasattr(self.module, "post_attention_layernorm")


class Calibration:
    """One run of a model on text.

    Args:
        model: The float model; folds change norms and biases of its layers, and nothing else.
        recipe: How each tensor is stored.
        scratch: Takes the values.
        progress: Told how far the run is.
        seen: Told of each linear of the layers, by its whole name.
    """

    def __init__(
        self, model: Any, recipe: Recipe, scratch: Scratch, progress: Progress, seen: Seen | None = None
    ) -> None:
        self._model, self._recipe, self._scratch, self._progress = model, recipe, scratch, progress
        self._seen = seen
        self._layers = _layers_of(model)
        self._where = {key: (at, name) for at, layer in enumerate(self._layers) for key, name in layer.linears.items()}
        self._hessians = not recipe.quick
        self._finished = 0
        self._made: dict[str, StoredWeight] = {}
        self._head: InputStatistics | None = None

    def run(self, segments: Sequence[Sequence[int]]) -> dict[str, StoredWeight]:
        """Return the weights that calibration has chosen, by module name.

        Args:
            segments: Token ids of pieces of text, each run on its own.
        """
        body, _ = elements(self._model)
        total = float(body) * (sum(map(len, segments)) + READING * len(self._layers))
        done = 0.0

        def told(work: float) -> None:
            nonlocal done
            done += work
            self._progress.update(min(done, total), total, f"layer {self._finished + 1} of {len(self._layers)}")

        Lockstep(self._model, told, self._observe, MOST).run([self._task(ids) for ids in segments])
        self._finish(len(self._layers))
        self._quantize_head()
        return self._made

    def _task(self, ids: Sequence[int]) -> Callable[[], None]:
        def task() -> None:
            decoder = self._model.get_decoder()
            hidden = decoder(input_ids=torch.tensor([list(ids)]), use_cache=False).last_hidden_state[0].float()
            if self._head is None:
                self._head = InputStatistics.of(hidden.shape[-1], self._hessians)
            self._head.add(hidden)

        return task

    def _observe(self, linear: Any, inputs: torch.Tensor, outputs: torch.Tensor) -> None:
        found = self._where.get(id(linear))
        if found is None:
            return
        at, name = found
        if at > self._finished:
            self._finish(at)
        layer = self._layers[at]
        if layer.leader(name) != name:
            return  # counted already
        if name not in layer.inputs:
            layer.inputs[name] = InputStatistics.of(inputs.shape[-1], self._hessians)
        weights = None
        if layer.post_normed and name.rpartition(".")[2] in _NORMED:
            weights = 1.0 / torch.cat([part.square().mean(-1) for part in torch.split(outputs, 1024)]).clamp(min=1e-12)
            weights = weights / weights.mean()
        layer.inputs[name].add(inputs, weights)

    def _finish(self, before: int) -> None:
        """Quantize the layers before one; what was counted of them is dropped."""
        while self._finished < before:
            layer = self._layers[self._finished]
            with torch.inference_mode(False), torch.no_grad():
                schemes = _quantized(self._recipe, layer.name, layer.linears.values())
                made = calibrate_layer(
                    layer.module,
                    self._model.config,
                    layer.all_inputs(),
                    schemes,
                    self._recipe.folds,
                    self._scratch,
                    None if self._seen is None else _within(layer.name, self._seen),
                )
            self._made.update({f"{layer.name}.{name}": weight for name, weight in made.items()})
            layer.inputs.clear()
            self._finished += 1

    def _quantize_head(self) -> None:
        """The head, and a tied embedding that is stored alike, so that one table serves both."""
        head, embedding = self._model.get_output_embeddings(), self._model.get_input_embeddings()
        names = {id(module): name for name, module in self._model.named_modules()}
        name = names[id(head)]
        scheme = scheme_for(self._recipe, name)
        method = METHODS.get(scheme.method)
        if scheme.weight == "float32" or not method.requires_calibration:
            return
        stored = StoredWeight(*method.quantize_rows(head.weight.detach(), scheme, self._scratch, self._head))
        self._made[name] = stored
        gathered = scheme_for(self._recipe, names[id(embedding)])
        if head.weight is embedding.weight and (gathered.weight, gathered.group) == (scheme.weight, scheme.group):
            self._made[names[id(embedding)]] = stored


def _within(layer: str, seen: Seen) -> Seen:
    return lambda name, *found: seen(f"{layer}.{name}", *found)


def _quantized(recipe: Recipe, layer: str, names: Any) -> dict[str, Scheme]:
    found = {name: scheme_for(recipe, f"{layer}.{name}") for name in names}
    return {name: scheme for name, scheme in found.items() if scheme.weight != "float32"}


def decoder_layers(model: Any) -> Any:
    """Return a model's decoder layers: ``layers`` of its decoder, or the one list that is as long as it has layers.

    Raises:
        UnsupportedError: There is no such list.
    """
    decoder = model.get_decoder()
    if hasattr(decoder, "layers"):
        return decoder.layers
    count = model.config.num_hidden_layers
    for module in decoder.modules():
        if isinstance(module, torch.nn.ModuleList) and len(module) == count:
            return module
    raise UnsupportedError(
        f"{type(decoder).__name__} has no list of decoder layers to calibrate.",
        hint="Export with --calibration none; please report it.",
    )


def _layers_of(model: Any) -> list[_Layer]:
    """The decoder layers, and their linears but for those of experts, of which each sees too few tokens."""
    layers = decoder_layers(model)
    prefix = next(name for name, module in model.named_modules() if module is layers)
    found = []
    for at, module in enumerate(layers):
        linears = {
            id(one): name
            for name, one in module.named_modules()
            if type(one).forward is torch.nn.Linear.forward and "experts" not in name
        }
        found.append(_Layer(f"{prefix}.{at}", module, linears))
    return found


def needs_calibration(recipe: Recipe) -> bool:
    """Return whether a recipe folds scales or names a method that needs to know the inputs."""
    return recipe.folds or any(METHODS.get(rule.scheme.method).requires_calibration for rule in recipe.rules)


def widest_input(model: Any) -> int:
    """Return the most columns of a linear in the decoder layers, which decides how much text is enough."""
    shapes: Mapping[int, int] = {
        key: module.weight.shape[1]
        for layer in decoder_layers(model)
        for key, module in enumerate(layer.modules())
        if isinstance(module, torch.nn.Linear)
    }
    return max(shapes.values(), default=0)
