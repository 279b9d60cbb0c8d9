"""Every fold, in every family that it says it is exact for: the float model's logits stay what they were."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from gemcut.calibrate.folds import FOLDS
from gemcut.calibrate.folds.base import Fold, divide_norm

SIZES: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}
HEAD = {"head_dim": 16}
# transformers' configuration class of each model type, and what it takes besides.
CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "gemma": ("GemmaConfig", HEAD),
    "gemma2": ("Gemma2Config", HEAD),
    "gemma3_text": ("Gemma3TextConfig", HEAD),
    "gemma3n_text": (
        "Gemma3nTextConfig",
        HEAD
        | {
            "vocab_size_per_layer_input": 300,
            "hidden_size_per_layer_input": 16,
            "num_kv_shared_layers": 0,
            "layer_types": ["sliding_attention", "full_attention"],
            "activation_sparsity_pattern": [0.5, 0.0],
            "altup_num_inputs": 2,
            "laurel_rank": 8,
        },
    ),
    "gemma4_text": (
        "Gemma4TextConfig",
        HEAD
        | {
            "global_head_dim": 32,
            "vocab_size_per_layer_input": 300,
            "hidden_size_per_layer_input": 16,
            "num_hidden_layers": 4,
            "num_kv_shared_layers": 2,
            "layer_types": ["sliding_attention", "full_attention"] * 2,
            "enable_moe_block": True,
            "num_experts": 4,
            "top_k_experts": 2,
            "moe_intermediate_size": 32,
        },
    ),
    "gemma4_unified_text": (
        "Gemma4UnifiedTextConfig",
        HEAD
        | {
            "global_head_dim": 32,
            "attention_k_eq_v": True,
            "num_global_key_value_heads": 1,
            "layer_types": ["sliding_attention", "full_attention"],
        },
    ),
    "llama": ("LlamaConfig", {"mlp_bias": True, "attention_bias": True}),
    "mistral": ("MistralConfig", HEAD),
    "qwen2": ("Qwen2Config", {}),
    "qwen3": ("Qwen3Config", HEAD),
    "smollm3": ("SmolLM3Config", {"pad_token_id": 0}),
    "granite": ("GraniteConfig", {"attention_multiplier": 0.2, "residual_multiplier": 0.7}),
}


def model_of(kind: str) -> Any:
    import transformers

    name, more = CONFIGS[kind]
    config = getattr(transformers, name)(**SIZES | more)
    assert config.model_type == kind
    torch.manual_seed(3)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:  # norms and biases that are all alike would hide a mistake
                parameter.add_(0.3 * torch.randn_like(parameter))
    return model


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    ids = torch.randint(0, 300, (2, 40), generator=torch.Generator().manual_seed(1))
    found: torch.Tensor = model(input_ids=ids, use_cache=False).logits
    return found


@torch.no_grad()
def apply(fold: Fold, layer: Any, config: Any) -> bool:
    """Folds a random scale; returns whether the layer has a place for it."""
    place = fold.place(layer, config)
    if place is None:
        return False
    readers = [layer.get_submodule(name) for name in place.readers]
    scale = torch.rand(readers[0].weight.shape[1]) * 3 + 0.1
    own = scale
    if place.tied is not None:
        scale, own = place.tied(scale)
    for reader in readers:
        reader.weight.mul_(scale)
    if place.norm:
        assert divide_norm(layer.get_submodule(place.norm), scale)
    else:
        writer = layer.get_submodule(place.writer)
        writer.weight.div_(own[:, None])
        if writer.bias is not None:
            writer.bias.div_(own)
    return True


CASES = [(fold, kind) for fold in FOLDS for kind in sorted(fold.exact_for)]


@pytest.mark.parametrize(("fold", "kind"), CASES, ids=[f"{fold.name}-{kind}" for fold, kind in CASES])
def test_a_fold_changes_no_logit(fold: Fold, kind: str) -> None:
    model = model_of(kind)
    before = logits(model)
    layers = model.get_decoder().layers
    assert [apply(fold, layer, model.config) for layer in layers] == [True] * len(layers)
    after = logits(model)
    assert (after - before).abs().max() <= 1e-5 * before.abs().max()
    assert not torch.equal(after, before), "nothing was folded"


def test_every_family_of_a_fold_is_tried() -> None:
    assert {kind for fold in FOLDS for kind in fold.exact_for} == set(CONFIGS)


def test_a_norm_of_another_kind_is_left_as_it_was() -> None:
    class Squared(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.rand(8) + 0.5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.weight.square()

    norm = Squared()
    before = norm.weight
    assert not divide_norm(norm, torch.rand(8) + 0.5)
    assert norm.weight is before
