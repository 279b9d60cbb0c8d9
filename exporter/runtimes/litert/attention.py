"""Attention and the KV cache in operators that LiteRT has, for signatures with a fixed number of tokens.

Sliding layers keep a ring of ``window + N - 1`` slots: attention and cache traffic then cost what the window costs,
not what the context costs. Slot j holds the newest position p <= last with p = j modulo the ring's length.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from ...modeling.kv_cache import MASKED, CacheSpec

NAME = "gemcut_litert"


@dataclass(frozen=True)
class Ring:
    """A call's way into the rings.

    slot: int32 [1], where a single token goes. source: int32 [slots], for several tokens: which row of
    (ring, new tokens) each slot holds afterwards. mask: float32 [1, 1, N, slots], additive.
    """

    slot: torch.Tensor
    source: torch.Tensor | None
    mask: torch.Tensor


def ring_slots(input_pos: torch.Tensor, spec: CacheSpec) -> Ring:
    """Where this call's tokens go in a ring, and what each of them sees there.

    Args:
        input_pos: int32 [N], ascending, zeros behind the last real token.
        spec: of the cache; ``ring_slots`` is at least window + N - 1.
    """
    assert spec.window is not None
    size, count = spec.ring_slots, input_pos.shape[0]
    slots = torch.arange(size, dtype=torch.int32)
    start = input_pos[0:1]
    last = start if count == 1 else torch.amax(input_pos, dim=0, keepdim=True)
    held = last - torch.remainder(last - slots, size)  # the position in each slot; negative: nothing yet
    source = None if count == 1 else torch.where(held >= start, size + held - start, slots)
    seen = (held.unsqueeze(0) <= input_pos.unsqueeze(1)) & (held.unsqueeze(0) > input_pos.unsqueeze(1) - spec.window)
    seen = seen & (held >= 0).unsqueeze(0)
    return Ring(torch.remainder(start, size), source, _additive(seen))


def window_mask(input_pos: torch.Tensor, slots: int | torch.SymInt, window: int) -> torch.Tensor:
    """The sliding window over a cache where position p lies in slot p: float32 [1, 1, N, slots], additive."""
    every = torch.arange(slots) if isinstance(slots, int) else torch.ops.tfl.range(0, slots, 1)
    positions = every.to(torch.int32).unsqueeze(0)
    queries = input_pos.unsqueeze(1)
    return _additive((positions < queries + 1) & (positions > queries - window))


def _additive(seen: torch.Tensor) -> torch.Tensor:
    return torch.where(seen, 0.0, MASKED)[None, None]


def write(cache: torch.Tensor, states: torch.Tensor, start: torch.Tensor, ring: Ring | None) -> torch.Tensor:
    """The cache with new rows in it.

    Args:
        cache: [1, KV heads, slots, head dim].
        states: [1, KV heads, N, head dim].
        start: int32 [1], the first token's position, which is its slot where the layer has no ring.
        ring: of a sliding layer.
    """
    if ring is not None and ring.source is not None:
        both = torch.cat((cache, states), dim=2)
        rows: torch.Tensor = torch.ops.tfl.gather(both, ring.source, 2)
        return rows
    from litert_torch.generative.custom_ops.dynamic_update_slice import dynamic_update_slice

    slot = (start if ring is None else ring.slot)[0]
    # For a cache of any length the converter makes 64-bit constants, which don't go with a 32-bit slot.
    zero = torch.zeros((), dtype=torch.int32) if isinstance(cache.shape[2], int) else slot * 0
    written: torch.Tensor = dynamic_update_slice(cache, states, [zero, zero, slot, zero])
    return written


def attend(  # type: ignore[no-untyped-def]
    module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor,
    scaling: float | None = None,
    softcap: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """The attention function that transformers calls in every layer.

    Queries that share a key head are rows of one product, so that no key is copied.

    query: [1, heads, N, head dim]; key, value: [1, KV heads, slots, head dim], the caches;
    attention_mask: [1, 1, N, slots], additive. softcap: Gemma 2's, in logits before the mask.
    Returns [1, N, heads, head dim].
    """
    _, heads, count, width = query.shape
    groups = heads // key.shape[1]
    scale = float(scaling if scaling is not None else width**-0.5)
    rows = query.reshape(1, key.shape[1], groups * count, width) * scale
    scores = torch.ops.tfl.batch_matmul(rows, key, False, True)
    if softcap is not None:
        scores = torch.tanh(scores * (1.0 / softcap)) * softcap
    mask = attention_mask[:, :, :count]
    if groups > 1 and count > 1:
        mask = torch.cat([mask] * groups, dim=2)
    shares = torch.softmax(scores + mask, dim=-1)
    out = torch.ops.tfl.batch_matmul(shares, value, False, False)
    return out.reshape(1, heads, count, width).transpose(1, 2), None


def own_mask(*args: Any, **kwargs: Any) -> Any:
    """Registered beside ``attend``: masks are made by the program itself."""
    return kwargs.get("attention_mask")


def register() -> None:
    """Makes ``attn_implementation='gemcut_litert'`` known to transformers (its public registries).

    Importing litert_torch's ``torch_tfl`` defines the ``tfl`` operators that the functions here trace to.
    """
    from litert_torch.backend.experimental import torch_tfl  # noqa: F401
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    ALL_ATTENTION_FUNCTIONS.register(NAME, attend)
    ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, own_mask)
