"""The norms before attention and before the MLP, and the linears that read them."""

from __future__ import annotations

from typing import Any

from .base import Fold, Place, has

# Each norm is read by these linears and by nothing else; in Gemma 4's mixture of experts, router and experts read
# what was before the norm. Not so: Gemma 3n (LAuReL reads the input norm), other mixtures of experts, families with
# attention and MLP side by side, fused projections.
_PLAIN = frozenset(
    {
        *("gemma", "gemma2", "gemma3_text", "gemma4_text", "gemma4_unified_text"),
        *("llama", "mistral", "qwen2", "qwen3", "smollm3", "granite"),
    }
)


def _attention(layer: Any, config: Any) -> Place | None:
    """Layers that share keys and values have queries alone, and some have no values of their own."""
    readers = tuple(name for one in "qkv" if has(layer, name := f"self_attn.{one}_proj"))
    return Place(readers, norm="input_layernorm") if readers and has(layer, "input_layernorm") else None


def _mlp(layer: Any, config: Any) -> Place | None:
    readers = ("mlp.gate_proj", "mlp.up_proj")
    norm = "pre_feedforward_layernorm" if has(layer, "pre_feedforward_layernorm") else "post_attention_layernorm"
    return Place(readers, norm=norm) if has(layer, norm, *readers) else None


INPUT_NORM = Fold("input norm to q, k, v", _PLAIN, _attention)
MLP_NORM = Fold("norm before the MLP to gate, up", _PLAIN, _mlp)
