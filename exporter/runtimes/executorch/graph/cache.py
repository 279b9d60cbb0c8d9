"""The KV cache of the exported program: mutable buffers, as ``modeling.kv_cache`` describes it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn
from transformers.cache_utils import Cache

from ....modeling.kv_cache import CacheSpec, LayerCacheSpec


class StepState:
    """The state of the present call; read by the cache and the attention function while tracing.

    Attributes:
        spec: The shape of the whole cache.
        start: Position of the first of this call's tokens, a SymInt.
        end: Position after the last of this call's tokens, a SymInt.
        ring_end: How many of a ring's slots softcapped attention reads; those behind aren't written yet.
        slots: Ring slots of the tokens, int64 [1, S].
        in_window: Whether all positions lie within the window, a bool scalar tensor; None if none can lie beyond it.
        window_mask: Additive mask, float32 [S, ring slots read]; None if ``in_window`` is.
        causal_mask: Additive mask for softcapped attention, float32 [S, end].
        rotary: The call's rotary tables by layer type.
    """

    def __init__(self) -> None:
        self.spec: CacheSpec | None = None
        self.start: torch.SymInt | int = 0
        self.end: torch.SymInt | int = 0
        self.ring_end: torch.SymInt | int = 0
        self.slots: torch.Tensor | None = None
        self.in_window: torch.Tensor | None = None
        self.window_mask: torch.Tensor | None = None
        self.causal_mask: torch.Tensor | None = None
        self.rotary: dict[str, Any] = {}


def rows_for(mask: torch.Tensor | None, tokens: int | torch.SymInt) -> torch.Tensor:
    """Return a step's mask [tokens, slots] for a layer's queries: all rows, or the last if the layer runs only it."""
    assert mask is not None
    return mask[-1:] if isinstance(tokens, int) and tokens == 1 else mask


def _untouched(shape: tuple[int, ...]) -> torch.Tensor:
    """Zeros that take no memory until they are written to, as calloc() has them; torch.zeros writes them."""
    return torch.from_numpy(np.zeros(shape, np.float32))


class ProgramCache(Cache):
    """A transformers ``Cache`` over mutable buffers of the traced module.

    ``update`` writes with ``llama::update_cache`` and returns the whole buffers.
    """

    def __init__(self, spec: CacheSpec, owner: nn.Module, state: StepState) -> None:
        super().__init__(layers=[])
        self.spec = spec
        self.state = state
        self.owner = owner
        for index, layer in enumerate(spec.layers):
            if layer is None:
                continue
            for kind in "kv":
                slots = _untouched(self.shape(kind, layer))
                owner.register_buffer(f"{kind}_cache_{index}", slots, persistent=False)

    def shape(self, kind: str, layer: LayerCacheSpec) -> tuple[int, int, int, int]:
        """Return a buffer's shape, for ``kind`` k or v: [batch, slots, heads, width] for ``llama::update_cache``."""
        return 1, layer.slots, layer.heads, layer.head_dim

    def rows(self, kind: str, states: torch.Tensor) -> torch.Tensor:
        """Return ``states`` [1, KV heads, S, head dim] in the layout that is written into a buffer."""
        return states.transpose(1, 2)

    def update(self, key_states, value_states, layer_idx, *args, **kwargs):  # type: ignore[no-untyped-def]
        """Write ``key_states`` and ``value_states`` [1, KV heads, S, head dim]; return both caches as stored."""
        layer = self.spec.layers[layer_idx]
        assert layer is not None
        caches = []
        for kind, states in (("k", key_states), ("v", value_states)):
            cache = getattr(self.owner, f"{kind}_cache_{layer_idx}")
            rows = self.rows(kind, states)
            if layer.ring:
                assert self.state.slots is not None
                slots = self.state.slots.expand(rows.shape[0], -1)
                torch.ops.llama.update_cache_with_indices(rows, cache, self.state.start, slots)
            else:
                torch.ops.llama.update_cache(rows, cache, self.state.start)
            caches.append(cache)
        return tuple(caches)

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Return 0: positions come from the step's state."""
        return 0
