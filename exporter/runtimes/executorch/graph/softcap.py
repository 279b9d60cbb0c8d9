"""Attention whose scores are bent by a tanh before the softmax (Gemma 2): ``cap · tanh(scores / cap)``.

``llama::custom_sdpa`` has no such step, and no other kernel of a phone's library has it either. So it is written out
in operators that the delegate takes: two batched matrix products with the tanh, the mask and a softmax between them.
The optimizations of a fused kernel that matter most are kept:

- Keys are stored transposed, [KV heads, head dim, slots], values [KV heads, slots, head dim]: both products take the
  cache as stored. ``llama::update_cache`` writes both, with what comes before the slots as its batch.
- Queries that share a key head are rows of one product, so no key is copied.
- A layer reads the slots written so far, not the whole context or ring.

Source of the formula: Gemma Team 2024, "Gemma 2: Improving Open Language Models at a Practical Size", section 2.
"""

from __future__ import annotations

from typing import Any

import torch

from ....modeling.kv_cache import MASKED, LayerCacheSpec
from .cache import ProgramCache, StepState, rows_for


def is_softcapped(config: Any) -> bool:
    """Return whether a configuration asks for a softcap on attention's scores."""
    return getattr(config, "attn_logit_softcapping", None) is not None


class SoftcapCache(ProgramCache):
    """The cache in the products' layout: keys [KV heads · head dim, slots], values [KV heads, slots, head dim]."""

    def shape(self, kind: str, layer: LayerCacheSpec) -> tuple[int, int, int, int]:
        """See ``ProgramCache``."""
        if kind == "k":
            return layer.heads * layer.head_dim, layer.slots, 1, 1
        return layer.heads, layer.slots, 1, layer.head_dim

    def rows(self, kind: str, states: torch.Tensor) -> torch.Tensor:
        """See ``ProgramCache``."""
        _, heads, tokens, width = states.shape
        if kind == "k":
            return states[0].transpose(1, 2).contiguous().view(heads * width, tokens, 1, 1)
        return states[0].unsqueeze(2)


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    state: StepState,
    scaling: float | None,
    cap: float,
    sliding: bool,
) -> tuple[torch.Tensor, None]:
    """Compute attention as ``attention.attend`` does, for a layer with a softcap.

    Args:
        query: [1, heads, S, head dim].
        key: [KV heads · head dim, slots, 1, 1].
        value: [KV heads, slots, 1, head dim].
        state: The step's state.
        scaling: Factor of the scores; None for 1 / sqrt(head dim).
        cap: The softcap.
        sliding: Whether the layer has a sliding window.

    Returns:
        [1, S, heads, head dim], and None for the attention weights.
    """
    _, heads, tokens, width = query.shape
    kv_heads, slots = value.shape[0], value.shape[1]
    scale = float(scaling if scaling is not None else width**-0.5)
    keys, values = key.view(kv_heads, width, slots), value.view(kv_heads, slots, width)
    mask = state.window_mask if sliding and state.in_window is not None else state.causal_mask
    seen = state.end if mask is state.causal_mask else state.ring_end
    keys, values = keys[:, :, :seen], values[:, :seen]
    groups = heads // kv_heads
    rows = query[0].contiguous().view(kv_heads, groups, tokens, width)
    rows = rows.reshape(kv_heads, groups * tokens, width) * (scale / cap)
    scores = torch.tanh(torch.bmm(rows, keys)) * cap
    scores = scores.view(kv_heads, groups, tokens, seen) + rows_for(mask, tokens)[None, None]
    shares = torch.softmax(scores, dim=-1).view(kv_heads, groups * tokens, seen)
    out = torch.bmm(shares, values).view(kv_heads, groups, tokens, width)
    return out.permute(2, 0, 1, 3).reshape(1, tokens, heads, width), None


def causal_mask(last: torch.Tensor, behind: torch.Tensor, slots: torch.Tensor) -> torch.Tensor:
    """Return which slots of a full cache each query sees, as an additive mask: those up to its own.

    Args:
        last: The position of the last token of this call, int64 [1].
        behind: How far each query lies before the last, S-1 .. 0, float32 [S, 1].
        slots: 0 .. slots - 1, int64 [slots].

    Returns:
        The mask, float32 [S, slots]: 0 where a slot is seen, at most ``MASKED`` elsewhere.
    """
    ahead = (slots - last).to(torch.float32).unsqueeze(0)
    return torch.relu(ahead + behind) * MASKED
