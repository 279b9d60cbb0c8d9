"""A transformers decoder as the signatures that LiteRT-LM's engine calls.

``prefill_N`` takes tokens int32 [1, N], input_pos int32 [N], mask float32 [1, 1, N, slots] and the KV cache as
``kv_cache_k_i`` and ``kv_cache_v_i`` float32 [1, KV heads, slots, head dim], and returns the cache; ``decode`` is the
same with N = 1 and returns logits float32 [1, 1, V] too (LiteRT-LM, runtime/executor/
litert_compiled_model_executor_utils.cc). The engine pads tokens and input_pos with zeros behind the prompt's end, and
reads the context's length off the first cache: caches are numbered with the full layers first.

Every matrix is an input here (see ``weight_inputs``), so that the converter never holds one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers.cache_utils import Cache

from ...modeling.kv_cache import CacheSpec
from ...modeling.rotary import order_rotary
from . import attention
from .adapt import adapt
from .signature_names import CACHE_PREFIX, DECODE, DYNAMIC_PREFILL, PREFILL
from .weight_inputs import WeightTable, take_weights_as_inputs


@dataclass(frozen=True)
class Signature:
    """A signature to convert.

    The converter joins the names of nested inputs: ``kv_cache`` and ``k_0`` become ``kv_cache_k_0``.

    Attributes:
        name: The signature's name.
        module: The module behind it.
        inputs: Example inputs, as the module's ``forward`` takes them.
        dynamic: torch.export's dynamic sizes of the inputs; None if all sizes are fixed.
    """

    name: str
    module: nn.Module
    inputs: dict[str, Any]
    dynamic: dict[str, Any] | None = None


class CallState:
    """What the layers of one call share; read by cache and attention while tracing.

    Attributes:
        tokens: N, the number of tokens.
        start: The first token's position, int32 [1].
        ring: The sliding layers' slots; None if no layer has a ring.
        rotary: The call's rotary tables by layer type.
    """

    def __init__(self) -> None:
        self.tokens = 0
        self.start: torch.Tensor | None = None
        self.ring: attention.Ring | None = None
        self.rotary: dict[str, Any] = {}


def cache_numbers(spec: CacheSpec) -> dict[int, int]:
    """Return the number in the caches' names by layer: full layers first, as the engine reads the context off 0."""
    own = [(layer.ring, index) for index, layer in enumerate(spec.layers) if layer is not None]
    return {index: number for number, (_, index) in enumerate(sorted(own))}


class CallCache(Cache):
    """A transformers ``Cache`` over the call's inputs; ``update`` replaces them by the written caches."""

    def __init__(self, spec: CacheSpec, state: CallState, tensors: Mapping[str, torch.Tensor]) -> None:
        super().__init__(layers=[])
        self.spec = spec
        self.state = state
        self.numbers = cache_numbers(spec)
        self.tensors = dict(tensors)

    def update(self, key_states, value_states, layer_idx, *args, **kwargs):  # type: ignore[no-untyped-def]
        """Write the states [1, KV heads, N, head dim]; return both caches [1, KV heads, slots, head dim]."""
        layer = self.spec.layers[layer_idx]
        assert layer is not None
        assert self.state.start is not None
        written = []
        for kind, states in (("k", key_states), ("v", value_states)):
            name = f"{kind}_{self.numbers[layer_idx]}"
            ring = self.state.ring if layer.ring else None
            self.tensors[name] = attention.write(self.tensors[name], states, self.state.start, ring)
            written.append(self.tensors[name])
        return tuple(written)

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Return 0: positions come from the call's inputs."""
        return 0


class DecoderCall(nn.Module):
    """The module behind one signature.

    Args:
        model: A transformers ``...ForCausalLM`` whose matrices are inputs (``take_weights_as_inputs``).
        spec: The cache's shape; ``spec.context`` is the number of slots of a full layer.
        table: Where the model's layers find this call's weights.
        state: Shared with the attention function.
        logits: Whether the signature returns logits too, or only the cache.
    """

    def __init__(self, model: nn.Module, spec: CacheSpec, table: WeightTable, state: CallState, logits: bool) -> None:
        super().__init__()
        self.model = model
        self.spec = spec
        self.table = table
        self.state = state
        self.logits = logits

    def forward(
        self,
        tokens: torch.Tensor,
        input_pos: torch.Tensor,
        mask: torch.Tensor,
        kv_cache: dict[str, torch.Tensor],
        weight: dict[str, torch.Tensor],
    ) -> dict[str, torch.Tensor]:
        """Run the signature as the module's docstring describes it.

        Args:
            tokens: int32 [1, N].
            input_pos: int32 [N].
            mask: float32 [1, 1, N, slots].
            kv_cache: The caches by name, such as ``k_0``.
            weight: The weights by the table's names.

        Returns:
            The caches by the signature's names, and ``logits`` if the signature has them.
        """
        self.table.tensors = weight
        state, spec = self.state, self.spec
        state.tokens, state.start, state.rotary = tokens.shape[1], input_pos[0:1], {}
        state.ring = attention.ring_slots(input_pos, spec) if any(x and x.ring for x in spec.layers) else None
        cache = CallCache(spec, state, kv_cache)
        out = self.model(
            input_ids=tokens,
            position_ids=input_pos.unsqueeze(0),
            attention_mask=self._masks(mask, input_pos),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
            call_state=state,
        )
        results = {CACHE_PREFIX + name: tensor for name, tensor in cache.tensors.items()}
        if self.logits:
            results["logits"] = out.logits
        return results

    def _masks(self, mask: torch.Tensor, input_pos: torch.Tensor) -> Any:
        """The masks that transformers takes: the engine's own for full layers, the window's for sliding ones."""
        if self.spec.window is None:
            return mask
        if self.state.ring is not None:
            return {"full_attention": mask, "sliding_attention": self.state.ring.mask}
        local = attention.window_mask(input_pos, mask.shape[-1], self.spec.window)
        return {"full_attention": mask, "sliding_attention": local}


def make_signatures(
    model: Any, spec: CacheSpec, prefill_lengths: tuple[int, ...], dynamic: bool = False
) -> tuple[list[Signature], WeightTable]:
    """Return the signatures of a model, and the table of its weights.

    Args:
        model: A transformers causal LM in float32; its modules are replaced in place.
        spec: The cache's shape; its chunk must be at least the longest prefill.
        prefill_lengths: N of each prefill signature, ascending.
        dynamic: Whether one prefill takes any number of tokens up to the context, and the cache may have any length;
            ``spec`` must then have no rings.
    """
    state = CallState()
    model = adapt(model)
    table = take_weights_as_inputs(model)
    order_rotary(model, list(getattr(model.config, "layer_types", None) or []), state)
    signatures = []
    # decode first: LiteRT describes only the first subgraph
    for length in (None, *(prefill_lengths[-1:] if dynamic else prefill_lengths)):
        call = DecoderCall(model, spec, table, state, logits=length is None).eval()
        name = DECODE if length is None else DYNAMIC_PREFILL if dynamic else PREFILL.format(length)
        inputs = _inputs(spec, table, length or 1)
        signatures.append(Signature(name, call, inputs, _dynamic(inputs, spec, length) if dynamic else None))
    return signatures, table


def _inputs(spec: CacheSpec, table: WeightTable, tokens: int) -> dict[str, Any]:
    caches: dict[str, torch.Tensor] = {}
    for kind in "kv":
        for index, number in cache_numbers(spec).items():
            layer = spec.layers[index]
            assert layer is not None
            caches[f"{kind}_{number}"] = torch.zeros(1, layer.heads, layer.slots, layer.head_dim)
    return {
        "tokens": torch.zeros(1, tokens, dtype=torch.int32),
        "input_pos": torch.arange(tokens, dtype=torch.int32),
        "mask": torch.zeros(1, 1, tokens, spec.context),
        "kv_cache": caches,
        # Only the shapes of these are read, and memory that is never written to takes no room.
        "weight": {name: torch.empty(weight.tensor.shape) for name, weight in table.weights.items()},
    }


def _dynamic(inputs: dict[str, Any], spec: CacheSpec, tokens: int | None) -> dict[str, Any]:
    """torch.export's dynamic sizes: N of a prefill, and the cache's slots."""
    # Not named dimensions: torch can't prove its own guards on strides for those.
    slots = torch.export.Dim.DYNAMIC
    length = None if tokens is None else torch.export.Dim.DYNAMIC
    n = {} if length is None else {2: length}
    return {
        "tokens": None if length is None else {1: length},
        "input_pos": None if length is None else {0: length},
        "mask": {**n, 3: slots},
        "kv_cache": {name: {2: slots} for name in inputs["kv_cache"]},
        "weight": dict.fromkeys(inputs["weight"]),
    }
