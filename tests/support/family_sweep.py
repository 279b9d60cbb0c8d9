"""A small configuration of every family of language models that transformers can build, made from its default one."""

from __future__ import annotations

import copy
from typing import Any

WINDOW = 16
LOCAL, FULL = "sliding_attention", "full_attention"
# What families call their sizes; a configuration gets those that it has.
_SIZES: dict[str, Any] = {
    "vocab_size": 500,
    "vocab_size_per_layer_input": 500,
    "hidden_size": 64,
    "embedding_size": 64,
    "intermediate_size": 96,
    "ffn_dim": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "kv_channels": 16,
    "query_pre_attn_scalar": 16,
    "max_position_embeddings": 256,
    "sliding_window": WINDOW,
    "attention_window_size": WINDOW,
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "moe_num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_k": 2,
    "n_group": 1,
    "topk_group": 1,
    "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 32,
    "shared_intermediate_size": 32,
    "first_k_dense_replace": 1,
    "num_dense_layers": 1,
    "decoder_sparse_step": 1,
    "bos_token_id": 2,
    "eos_token_id": 1,
    "pad_token_id": 0,
}
# Where the sizes above don't make a model, or not one that shows what the family is.
_OWN: dict[str, dict[str, Any]] = {
    "gemma3n_text": {"activation_sparsity_pattern": None, "num_kv_shared_layers": 0, "laurel_rank": 8},
    "lfm2": {"layer_types": ["conv", FULL, "conv"]},  # as published; its default has no convolutions
    "llama": {
        "rope_parameters": {
            "rope_type": "llama3",
            "rope_theta": 5e5,
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32,
        }
    },
}


def _three(layers: list[str]) -> list[str]:
    """Three layers' types, each of the family's if it has three or fewer."""
    first = list(dict.fromkeys(layers))
    return [LOCAL, FULL, LOCAL] if set(first) == {LOCAL, FULL} else (first + layers)[:3]


def small_config(kind: str) -> Any:
    """A ``model_type``'s configuration with three small layers, local and full ones if it has both.

    Raises:
        Exception: Of upstream's: the configuration has no default, or none as small as this.
    """
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    whole = CONFIG_MAPPING[kind]()
    default = whole.get_text_config(decoder=True)
    found = {key: value for key, value in copy.deepcopy(default.to_dict()).items() if key != "model_type"}
    found |= {key: value for key, value in _SIZES.items() if found.get(key) is not None}
    layers = found.get("layer_types")
    if layers:
        kinds = _three(layers)
        found["layer_types"] = kinds
        found["num_hidden_layers"] = len(kinds)
    for key in ("mlp_layer_types", "no_rope_layers", "layer_types_mlp"):
        if isinstance(found.get(key), list):
            found[key] = found[key][: found["num_hidden_layers"]]
    found.pop("per_layer_config", None)
    return type(default)(**found | _OWN.get(kind, {}))
