"""The rows of a gated MLP's up projection, and the columns of its down projection."""

from __future__ import annotations

from typing import Any

from .base import Fold, Place, has

# down(act(gate(x)) * up(x)): the product is linear in up.
_GATED = frozenset(
    {
        *("gemma", "gemma2", "gemma3_text", "gemma3n_text", "gemma4_text", "gemma4_unified_text"),
        *("llama", "mistral", "qwen2", "qwen3", "smollm3", "granite"),
    }
)


def _place(layer: Any, config: Any) -> Place | None:
    names = ("mlp.up_proj", "mlp.down_proj")
    return Place(("mlp.down_proj",), writer="mlp.up_proj") if has(layer, *names) else None


UP_TO_DOWN = Fold("up to down", _GATED, _place)
