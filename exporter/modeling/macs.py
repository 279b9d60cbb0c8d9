"""The multiply-accumulates of one decode step, from shapes alone."""

from __future__ import annotations

from typing import Any

from .kv_cache import CacheSpec, head_dim_of, layer_types_of


def linear_macs(model: Any) -> int:
    """Count those of the linear layers, a tied head included: one per weight.

    Args:
        model: A ``torch.nn.Module``, quantized or not.
    """
    return sum(
        module.in_features * module.out_features
        for module in model.modules()
        if hasattr(module, "in_features") and hasattr(module, "out_features")
    )


def attention_macs(config: Any, spec: CacheSpec) -> int:
    """Count those of attention with a full cache: heads x head dim x slots, once for keys and once for values.

    Args:
        config: A transformers text configuration.
        spec: The cache's shape; KV-shared layers read another layer's slots.
    """
    total = 0
    for index, layer_type in enumerate(layer_types_of(config)):
        layer = config.per_layer_config[index] if hasattr(config, "per_layer_config") else config
        slots = spec.ring_slots if layer_type == "sliding_attention" else spec.context
        total += 2 * config.num_attention_heads * head_dim_of(layer) * slots
    return total
