"""A tiny random configuration of every family, with odd sizes and every feature that its models have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Change = Callable[[Any], None]
WINDOW = 16
LOCAL, FULL = "sliding_attention", "full_attention"
_SIZES = {
    "vocab_size": 500,
    "hidden_size": 72,
    "intermediate_size": 104,
    "num_hidden_layers": 3,  # as few as have twins: lowering takes most of the time, and its time for each layer
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 24,
    "max_position_embeddings": 256,
}
_WINDOWED = {"sliding_window": WINDOW, "layer_types": [LOCAL, FULL, LOCAL]}


def llama2() -> Any:
    """As the 7B has it: every head has keys of its own, the head is not tied."""
    from transformers import LlamaConfig

    return LlamaConfig(**_SIZES | {"num_key_value_heads": 6, "tie_word_embeddings": False})


def gemma1() -> Any:
    """As the 2B has it: one key head."""
    from transformers import GemmaConfig

    return GemmaConfig(**_SIZES | {"num_key_value_heads": 1})


def gemma2(**changes: Any) -> Any:
    """Softcaps so low that both bend the logits of a random model; an odd scale; local and full layers alternate."""
    from transformers import Gemma2Config

    settings: dict[str, Any] = _SIZES | {
        "sliding_window": WINDOW,
        "query_pre_attn_scalar": 20,
        "attn_logit_softcapping": 0.5,
        "final_logit_softcapping": 3.0,
        "num_hidden_layers": 2,
        "layer_types": [LOCAL, FULL],
    }
    return Gemma2Config(**settings | changes)


def gemma3(**changes: Any) -> Any:
    from transformers import Gemma3TextConfig

    return Gemma3TextConfig(**_SIZES | _WINDOWED | {"query_pre_attn_scalar": 20} | changes)


def gemma3_4b() -> Any:
    """As the 4B has it: linear rotary scaling by 8 in full layers."""
    return gemma3(
        rope_parameters={
            FULL: {"rope_type": "linear", "factor": 8.0, "rope_theta": 1_000_000.0},
            LOCAL: {"rope_type": "default", "rope_theta": 10_000.0},
        }
    )


def gemma3n() -> Any:
    """Four AltUp streams, Laurel, sparse gates, per-layer embeddings of fewer rows than the vocabulary, shared keys."""
    from transformers import Gemma3nTextConfig

    settings: dict[str, Any] = _SIZES | {
        "sliding_window": WINDOW,
        "num_hidden_layers": 4,
        "num_kv_shared_layers": 2,
        "layer_types": [LOCAL, FULL] * 2,
        "laurel_rank": 8,
        "hidden_size_per_layer_input": 12,
        "vocab_size_per_layer_input": 490,
        "final_logit_softcapping": 3.0,
        "activation_sparsity_pattern": [0.95, 0.6, 0.0, 0.9],
    }
    return Gemma3nTextConfig(**settings)


def gemma4(**changes: Any) -> Any:
    """As E2B has it: per-layer embeddings, shared keys with wide MLPs, head sizes by layer, final softcap."""
    from transformers import Gemma4TextConfig

    settings: dict[str, Any] = _SIZES | {
        "vocab_size_per_layer_input": 500,
        "num_hidden_layers": 7,
        "num_attention_heads": 4,
        "global_head_dim": 40,
        "sliding_window": WINDOW,
        "hidden_size_per_layer_input": 12,
        "num_kv_shared_layers": 3,
        "use_double_wide_mlp": True,
        "final_logit_softcapping": 30.0,
        "layer_types": [LOCAL, LOCAL, FULL, LOCAL, LOCAL, LOCAL, FULL],
    }
    return Gemma4TextConfig(**settings | changes)


_DENSE: dict[str, Any] = {
    "num_hidden_layers": 3,
    "hidden_size_per_layer_input": 0,
    "num_kv_shared_layers": 0,
    "use_double_wide_mlp": False,
    "attention_k_eq_v": True,
    "num_global_key_value_heads": 1,
    "layer_types": [LOCAL, FULL, LOCAL],
}


def gemma4_dense() -> Any:
    """As the 31B has it: values from keys in full layers, key heads of their own number there, layer scalars."""
    return gemma4(**_DENSE)


def gemma4_experts(**changes: Any) -> Any:
    """As 26B-A4B has it: experts beside a dense branch."""
    settings: dict[str, Any] = _DENSE | {
        "num_hidden_layers": 2,
        "layer_types": [LOCAL, FULL],
        "enable_moe_block": True,
        "num_experts": 5,
        "top_k_experts": 2,
        "moe_intermediate_size": 40,
    }
    return gemma4(**settings | changes)


def gemma4_unified() -> Any:
    """As the 12B has it."""
    from transformers import Gemma4UnifiedTextConfig

    settings: dict[str, Any] = _SIZES | {
        "num_attention_heads": 4,
        "global_head_dim": 40,
        "sliding_window": WINDOW,
        "final_logit_softcapping": 3.0,
        "attention_k_eq_v": True,
        "num_global_key_value_heads": 1,
        "layer_types": [LOCAL, FULL, LOCAL],
    }
    return Gemma4UnifiedTextConfig(**settings)


def qwen3() -> Any:
    """A family that nothing in Gemcut knows by name: it needs no adaptation."""
    from transformers import Qwen3Config

    return Qwen3Config(**_SIZES | {"tie_word_embeddings": True})


CASES = {
    make.__name__: make
    for make in (
        llama2,
        gemma1,
        gemma2,
        gemma3,
        gemma3_4b,
        gemma3n,
        gemma4,
        gemma4_dense,
        gemma4_experts,
        gemma4_unified,
        qwen3,
    )
}


def _without_attention_softcap(model: Any) -> None:
    for layer in model.model.layers:
        layer.self_attn.attn_logit_softcapping = None


def _without_final_softcap(model: Any) -> None:
    model.config.final_logit_softcapping = 1e6


def _without_sparsity(model: Any) -> None:
    for layer in model.model.layers:
        layer.mlp.activation_sparsity = 0.0


def _zeroed(*names: str) -> Change:
    def change(model: Any) -> None:
        found = [p for name, p in model.named_parameters() if name.endswith(names)]
        assert found
        for parameter in found:
            parameter.zero_()

    return change


def _of_one(*names: str) -> Change:
    def change(model: Any) -> None:
        found = [value for name, value in model.state_dict().items() if name.endswith(names)]
        assert found
        for value in found:
            value.fill_(1.0)

    return change


def _with_experts_swapped(model: Any) -> None:
    for layer in model.model.layers:
        layer.experts.down_proj.copy_(layer.experts.down_proj.flip(0))


FEATURES: dict[str, dict[str, Change]] = {
    "gemma2": {"attention softcap": _without_attention_softcap, "final softcap": _without_final_softcap},
    "gemma3": {"QK-norm": _zeroed("q_norm.weight", "k_norm.weight")},
    "gemma3n": {
        "sparsity": _without_sparsity,
        "Laurel": _zeroed("post_laurel_norm.weight"),
        "AltUp's prediction": _zeroed("prediction_coefs.weight"),
        "AltUp's correction": _zeroed("correction_coefs.weight"),
        "AltUp's scale": _zeroed("correct_output_scale"),
        "per-layer embeddings": _zeroed("embed_tokens_per_layer.weight"),
    },
    "gemma4": {"per-layer embeddings": _zeroed("embed_tokens_per_layer.weight")},
    "gemma4_dense": {"layer scalars": _of_one("layer_scalar")},
    "gemma4_experts": {"which expert": _with_experts_swapped, "expert scales": _of_one("per_expert_scale")},
    "gemma4_unified": {"final softcap": _without_final_softcap},
}
"""A family's features, and what takes each of them away from its float model."""
