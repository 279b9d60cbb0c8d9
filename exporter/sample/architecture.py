"""The sample model's shape: a small Gemma 4 text model with every feature of the large ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import torch
from transformers import Gemma4ForCausalLM, Gemma4TextConfig

SLIDING, FULL = "sliding_attention", "full_attention"
EOS, TURN_END = 1, 6
"""Ids of ``<eos>`` and ``<turn|>``: what ends an answer."""

SHAPE: dict[str, Any] = {
    "vocab_size": 2048,
    "vocab_size_per_layer_input": 2048,
    "hidden_size": 256,
    "hidden_size_per_layer_input": 32,
    "intermediate_size": 512,
    "num_hidden_layers": 6,
    "num_kv_shared_layers": 2,
    "use_double_wide_mlp": True,
    "num_attention_heads": 4,
    "num_key_value_heads": 1,
    "num_global_key_value_heads": None,
    "head_dim": 32,
    "global_head_dim": 64,
    "attention_k_eq_v": False,
    "attention_bias": False,
    "attention_dropout": 0.0,
    "layer_types": [SLIDING, FULL, SLIDING, FULL, SLIDING, FULL],
    "sliding_window": 64,
    "rope_parameters": {
        SLIDING: {"rope_type": "default", "rope_theta": 10000.0},
        FULL: {"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1000000.0},
    },
    "hidden_activation": "gelu_pytorch_tanh",
    "rms_norm_eps": 1e-06,
    "initializer_range": 0.02,
    "final_logit_softcapping": 30.0,
    "tie_word_embeddings": True,
    "enable_moe_block": False,
    "use_bidirectional_attention": None,
    "max_position_embeddings": 2048,
    "use_cache": True,
    "pad_token_id": 0,
    "bos_token_id": 2,
    "eos_token_id": [EOS, TURN_END],
}
"""config.json's text part, as published Gemma 4 checkpoints write it."""


def make_config(**changes: Any) -> Gemma4TextConfig:
    """Return the configuration, with `changes` for smaller tests."""
    return Gemma4TextConfig(**{**SHAPE, **changes})


@torch.no_grad()
def make_model(config: Gemma4TextConfig, seed: int) -> Gemma4ForCausalLM:
    """Make a model with fresh weights.

    Gemma 4 does not scale attention scores, so the query and key norms start at the fourth root of
    1/head size; the embedding starts near unit size after its scale.

    Args:
        config: The model's configuration.
        seed: The seed of the weights.
    """
    torch.manual_seed(seed)
    model = Gemma4ForCausalLM(config)
    for name, weight in model.named_parameters():
        if name.endswith(("q_norm.weight", "k_norm.weight")):
            weight.fill_((2.0 / weight.shape[0]) ** 0.25)
        elif name.endswith("embed_tokens.weight"):
            weight.normal_(std=0.05)
        elif name.endswith("embed_tokens_per_layer.weight"):
            weight.normal_(std=0.1)
        elif weight.dim() == 2:
            weight.normal_(std=weight.shape[1] ** -0.5)
    return model


def save_model(model: Gemma4ForCausalLM, folder: Path, **changes: Any) -> None:
    """Write the weights as bfloat16 and the two configuration files.

    Args:
        model: The model.
        folder: Where to write; it is made if need be.
        **changes: As for `make_config`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    copy: torch.nn.Module = Gemma4ForCausalLM(model.config)
    copy.load_state_dict(model.state_dict())
    copy.to(torch.bfloat16)
    cast(Gemma4ForCausalLM, copy).save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
    kind = {"architectures": ["Gemma4ForCausalLM"], "model_type": "gemma4_text", "dtype": "bfloat16"}
    generation = {"bos_token_id": 2, "do_sample": False, "eos_token_id": [EOS, TURN_END], "pad_token_id": 0}
    for name, content in (
        ("config.json", {**kind, **SHAPE, **changes}),
        ("generation_config.json", generation),
    ):
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
