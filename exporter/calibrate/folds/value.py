"""The rows of the value projection, and the columns of the output projection."""

from __future__ import annotations

from typing import Any

import torch

from .base import Fold, Place, has

# Attention is linear in the values. Not so where a norm stands between: Gemma 3n and 4.
_LINEAR = frozenset({"gemma", "gemma2", "gemma3_text", "llama", "mistral", "qwen2", "qwen3", "smollm3", "granite"})


def _place(layer: Any, config: Any) -> Place | None:
    if not has(layer, "self_attn.v_proj", "self_attn.o_proj"):
        return None
    heads, of_values = config.num_attention_heads, config.num_key_value_heads
    width = layer.self_attn.v_proj.weight.shape[0] // of_values
    if layer.self_attn.o_proj.weight.shape[1] != heads * width:
        return None

    def tied(scale: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """One scale per value channel, which all heads that read it share."""
        rows = scale.reshape(of_values, heads // of_values, width).square().mean(1).sqrt()
        columns = rows[:, None, :].expand(-1, heads // of_values, -1).reshape(-1)
        return columns, rows.reshape(-1)

    return Place(("self_attn.o_proj",), writer="self_attn.v_proj", tied=tied)


VALUE_TO_OUTPUT = Fold("v to o", _LINEAR, _place)
