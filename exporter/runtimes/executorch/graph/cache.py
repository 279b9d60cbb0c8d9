"""The KV cache of the exported program: mutable buffers, as ``modeling.kv_cache`` describes it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn
from transformers.cache_utils import Cache

from ....modeling.kv_cache import CacheSpec, LayerCacheSpec


class StepState:
    """Where the present call stands; read by the cache and the attention function while tracing.

    spec: of the whole cache. end: position after the last of this call's tokens, a SymInt. slots: int64 [1, S], ring
    slots of the tokens. ring_end: how many of a ring's slots softcapped attention reads: those behind are not written
    yet. in_window: bool scalar tensor, or None where no position can lie beyond the window. window_mask: float32
    [S, ring slots read], additive, or None there too. causal_mask: float32 [S, end], additive, for softcapped
    attention. rotary: the call's tables by layer type.
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
    """A step's mask [tokens, slots] for a layer's queries: all rows, or the last where it runs for that alone."""
    assert mask is not None
    return mask[-1:] if isinstance(tokens, int) and tokens == 1 else mask


def _untouched(shape: tuple[int, ...]) -> torch.Tensor:
    """Zeros that take no memory until they are written to, as calloc() has them; torch.zeros writes them."""
    return torch.from_numpy(np.zeros(shape, np.float32))


class ProgramCache(Cache):
    """A transformers ``Cache`` over mutable buffers of the traced module.

    ``update`` writes with ``llama::update_cache`` and hands back the whole buffers.
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
        """A buffer's, for ``kind`` k or v: [batch, slots, heads, width] as ``llama::update_cache`` takes it."""
        return 1, layer.slots, layer.heads, layer.head_dim

    def rows(self, kind: str, states: torch.Tensor) -> torch.Tensor:
        """States [1, KV heads, S, head dim] as what is written into a buffer."""
        return states.transpose(1, 2)

    def update(self, key_states, value_states, layer_idx, *args, **kwargs):  # type: ignore[no-untyped-def]
        """key_states, value_states: [1, KV heads, S, head dim]; returns both caches as stored."""
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
        return 0
