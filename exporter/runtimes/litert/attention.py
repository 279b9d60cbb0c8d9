"""Attention and the KV cache in operators that LiteRT has, for signatures with a fixed number of tokens.

Sliding layers keep a ring of ``window + N - 1`` slots: attention and cache traffic then cost what the window costs,
not what the context costs. Slot j holds the newest position p <= last with p = j modulo the ring's length. N is the
number of tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from ...modeling.kv_cache import MASKED, CacheSpec

NAME = "gemcut_litert"


@dataclass(frozen=True)
class Ring:
    """Where a call's tokens go in the rings, and what they see there.

    Attributes:
        slot: The slot of a single token, int32 [1].
        source: For several tokens, which row of (ring, new tokens) each slot holds afterwards, int32 [slots].
        mask: Additive mask, float32 [1, 1, N, slots].
    """

    slot: torch.Tensor
    source: torch.Tensor | None
    mask: torch.Tensor


def ring_slots(input_pos: torch.Tensor, spec: CacheSpec) -> Ring:
    """Return where this call's tokens go in a ring, and what each of them sees there.

    Args:
        input_pos: The tokens' positions, int32 [N], ascending, with zeros behind the last real token.
        spec: The cache's shape; ``ring_slots`` is at least window + N - 1.
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
    """Return the window's additive mask for a cache with position p in slot p, float32 [1, 1, N, slots]."""
    every = torch.arange(slots) if isinstance(slots, int) else torch.ops.tfl.range(0, slots, 1)
    positions = every.to(torch.int32).unsqueeze(0)
    queries = input_pos.unsqueeze(1)
    return _additive((positions < queries + 1) & (positions > queries - window))


def _additive(seen: torch.Tensor) -> torch.Tensor:
    return torch.where(seen, 0.0, MASKED)[None, None]


def write(cache: torch.Tensor, states: torch.Tensor, start: torch.Tensor, ring: Ring | None) -> torch.Tensor:
    """Return the cache with new rows in it.

    Args:
        cache: [1, KV heads, slots, head dim].
        states: The new rows, [1, KV heads, N, head dim].
        start: The first token's position, int32 [1], which is its slot if the layer has no ring.
        ring: A sliding layer's ring; None for a full layer.
    """
    if ring is not None and ring.source is not None:
        both = torch.cat((cache, states), dim=2)
        rows: torch.Tensor = torch.ops.tfl.gather(both, ring.source, 2)
        return rows
    from litert_torch.generative.custom_ops.dynamic_update_slice import dynamic_update_slice

    slot = (start if ring is None else ring.slot)[0]
    # For a cache of any length the converter makes 64-bit constants, which can't be combined with a 32-bit slot.
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
    """Compute attention; transformers calls this function in every layer.

    Queries that share a key head are rows of one product, so that no key is copied.

    Args:
        module: The layer's attention module; not read.
        query: [1, heads, N, head dim].
        key: The key cache, [1, KV heads, slots, head dim].
        value: The value cache, [1, KV heads, slots, head dim].
        attention_mask: Additive mask, [1, 1, N, slots].
        scaling: Factor of the scores; None for 1 / sqrt(head dim).
        softcap: Gemma 2's, applied to the scores before the mask.
        **kwargs: Others of transformers'; not read.

    Returns:
        [1, N, heads, head dim], and None for the attention weights.
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
    """Return the mask as it is: the program makes its own. Registered beside ``attend``."""
    return kwargs.get("attention_mask")


def register() -> None:
    """Make ``attn_implementation='gemcut_litert'`` known to transformers, through its public registries.

    Importing litert_torch's ``torch_tfl`` defines the ``tfl`` operators that the functions here trace to.
    """
    from litert_torch.backend.experimental import torch_tfl  # noqa: F401
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    ALL_ATTENTION_FUNCTIONS.register(NAME, attend)
    ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, own_mask)
