"""What a model's shapes say without any values: every weight as its recipe stores it, and the number of modules."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..quantize.recipe import Recipe, Scheme

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedConfig

    from ..modeling.kv_cache import CacheSpec
    from ..quantize.schemes import Checker

FLOAT_COST = 4  # float32 operations take about this many times as long as int8 ones
_FLOAT = 4  # bytes


@dataclass(frozen=True)
class Weight:
    """One matrix [rows, columns].

    Attributes:
        kind: The kind of tensor.
        rows: The number of rows.
        columns: The number of columns.
        scheme: How it is stored.
        gathered: Whether rows are read from it by number, as from an embedding.
        share: The share of such matrices that a token reads; 1.0 except for experts.
        twin: Whether the program's file has it already: a head that is stored as the embedding that it is tied to.
    """

    kind: str
    rows: int
    columns: int
    scheme: Scheme
    gathered: bool
    share: float
    twin: bool = False

    @property
    def elements(self) -> int:
        """The number of elements."""
        return self.rows * self.columns

    @property
    def stored(self) -> int:
        """Bytes in the program."""
        from ..quantize.stored_bytes import stored_bytes

        return stored_bytes(self.rows, self.columns, self.scheme)

    @property
    def filed(self) -> int:
        """Bytes in the program's file: of a twin its scales alone, for the values are there already."""
        from ..quantize.stored_bytes import BITS

        return self.stored - (self.elements * BITS[self.scheme.weight] // 8 if self.twin else 0)

    @property
    def read(self) -> int:
        """Bytes that a decode step reads."""
        return self.stored // self.rows if self.gathered else int(self.stored * self.share)

    @property
    def operations(self) -> int:
        """Operations of one token, counted in those of int8 products."""
        cost = 1 if self.scheme.activation == "int8-dynamic" else FLOAT_COST
        return 0 if self.gathered else int(2 * self.elements * cost * self.share)

    @property
    def packed(self) -> int:
        """Bytes in XNNPACK's own layout: a bias and a sum for each row besides the values and their scales."""
        return self.stored + 2 * _FLOAT * self.rows

    @property
    def unpacked(self) -> tuple[int, ...]:
        """Bytes of its tensors while it is lowered: the values with one byte each, float32 scales, zero points."""
        if self.scheme.weight == "float32":
            return (_FLOAT * self.elements,)
        if self.gathered:
            return self.elements, _FLOAT * self.rows
        if self.scheme.group:
            scales = self.elements // self.scheme.group
            return self.elements, _FLOAT * scales, _FLOAT * scales
        return self.elements, _FLOAT * self.rows, 2 * _FLOAT * self.rows


@dataclass(frozen=True)
class Shapes:
    """A model at a context.

    Attributes:
        weights: Its matrices.
        others: Elements of all parameters but the weights.
        parameters: All parameters; a tied head is counted once.
        modules: The number of modules that compute (linears, embeddings, norms, activations), with those of each
            expert.
        experts: The number of the experts' matrices among them.
        layers: The number of layers.
        vocabulary: The number of tokens in the vocabulary.
        hidden: The most elements of a token between layers.
        wide: The most elements of a token within a layer.
        states: Bytes of key-value cache that one token takes in transformers.
        cache: The KV cache as it is in the program.
        calibrated: How many tokens the model is calibrated on; 0 if the recipe needs no calibration.
        hessians: Whether calibration keeps the second moments of each linear's inputs.
    """

    weights: tuple[Weight, ...]
    others: int
    parameters: int
    modules: int
    experts: int
    layers: int
    vocabulary: int
    hidden: int
    wide: int
    states: int
    cache: CacheSpec
    calibrated: int = 0
    hessians: bool = False

    @property
    def linears(self) -> tuple[Weight, ...]:
        """The matrices that are multiplied by."""
        return tuple(w for w in self.weights if not w.gathered)

    @property
    def stored(self) -> int:
        """Bytes of all parameters in the program."""
        return sum(w.filed for w in self.weights) + _FLOAT * self.others


def shapes_of(config: PreTrainedConfig, recipe: Recipe, context: int, chunk: int, check: Checker) -> Shapes:
    """Return the shapes of a text configuration.

    Args:
        config: The text configuration.
        recipe: How to quantize.
        context: Slots of the KV cache.
        chunk: The most prompt tokens that one call takes.
        check: Whether the delegate can run a scheme.

    Raises:
        UnsupportedError: The recipe doesn't fit the model.
    """
    from ..calibrate.calibrator import needs_calibration
    from ..calibrate.text_segments import enough
    from ..modeling.experts import SplitExperts, split_experts
    from ..modeling.kv_cache import cache_spec
    from ..modeling.parts import PARTS, TEXT_DECODER
    from ..modeling.sparse import split_sparse

    # Experts become the separate matrices that a program has.
    empty = split_experts(split_sparse(PARTS.get(TEXT_DECODER).empty(config)), SplitExperts)
    weights = tuple(_weights(empty, recipe, _chosen_share(config), check))
    inside = {id(parameter) for parameter in empty.parameters() if parameter.dim() == 2}
    others = sum(p.numel() for p in empty.parameters() if id(p) not in inside)
    longest = cache_spec(config, 1, 1)
    linears = [w for w in weights if not w.gathered]
    wide = max((w.columns for w in linears if w.kind != "head"), default=0)
    return Shapes(
        weights=weights,
        others=others,
        parameters=sum(p.numel() for p in empty.parameters()),
        modules=sum(1 for module in empty.modules() if not list(module.children())),
        experts=sum(1 for w in weights if w.kind == "experts"),
        layers=int(config.num_hidden_layers),
        vocabulary=int(config.vocab_size),
        hidden=int(config.hidden_size),
        wide=max((w.rows for w in linears if w.kind != "head"), default=0),
        states=longest.bytes,
        cache=cache_spec(config, context, min(chunk, context)),
        calibrated=enough(wide, int(config.hidden_size), recipe.quick) if needs_calibration(recipe) else 0,
        hessians=needs_calibration(recipe) and not recipe.quick,
    )


def _chosen_share(config: PreTrainedConfig) -> float:
    """The share of experts that a token chooses; 1.0 if there are none."""
    of = next((n for key in ("num_experts", "num_local_experts") if (n := getattr(config, key, None))), None)
    each = next((n for key in ("top_k_experts", "num_experts_per_tok") if (n := getattr(config, key, None))), None)
    return int(each) / int(of) if each and of else 1.0


def _weights(model: nn.Module, recipe: Recipe, chosen: float, check: Checker) -> Iterator[Weight]:
    from torch import nn

    from ..quantize.schemes import decide
    from ..quantize.stored_bytes import tensor_class

    tables: set[tuple[int, str, int]] = set()
    for name, module, scheme in decide(model, recipe, check):
        rows, columns = module.weight.shape
        gathered = isinstance(module, nn.Embedding)
        kind = tensor_class(name, gathered)
        table = (id(module.weight), scheme.weight, scheme.group)
        twin = table in tables
        tables.add(table)
        yield Weight(kind, rows, columns, scheme, gathered, chosen if kind == "experts" else 1.0, twin)
