"""LiteRT's families: a tiny random configuration of each, what its features are, and its program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

OPTIONS = {"dynamic_shape": False, "plain_tflite": False}

LIMIT = 1e-3
# Times what transformers' float32 is off its own float64, which is 5e-6 to 2e-4 on these models.
NOISES = 5
CONTEXT = 80
WINDOW = 16
PREFILL = (8, 16)
SMALL = {
    "vocab_size": 397,
    "hidden_size": 48,
    "intermediate_size": 88,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 96,
}
LAYERS = ["sliding_attention", "full_attention"]


@dataclass(frozen=True)
class Case:
    """A family: its configuration's class and settings, and changes of a model each of which takes a feature away."""

    config: str
    settings: dict[str, Any]
    features: dict[str, Callable[[Any], None]] = field(default_factory=dict)

    def make(self) -> Any:
        import transformers

        return getattr(transformers, self.config)(**SMALL | self.settings)


def without_final_softcap(model: Any) -> None:
    model.config.final_logit_softcapping = 1e6  # Gemma 3n's configuration takes no None


def without_attention_softcap(model: Any) -> None:
    for layer in model.model.layers:
        layer.self_attn.attn_logit_softcapping = None


def without_sparsity(model: Any) -> None:
    for layer in model.model.layers:
        layer.mlp.activation_sparsity = 0.0


def zeroed(*names: str) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        found = [p for name, p in model.named_parameters() if name.endswith(names)]
        assert found
        for parameter in found:
            parameter.zero_()

    return change


def without_expert_scales(model: Any) -> None:
    for layer in model.model.layers:
        layer.router.per_expert_scale.fill_(1.0)


def with_experts_swapped(model: Any) -> None:
    for layer in model.model.layers:
        layer.experts.down_proj.copy_(layer.experts.down_proj.flip(0))


GLOBAL = {"global_head_dim": 24, "sliding_window": WINDOW, "final_logit_softcapping": 3.0}
K_AS_V = {"attention_k_eq_v": True, "num_global_key_value_heads": 1, "layer_types": LAYERS}
PER_LAYER = {"num_hidden_layers": 4, "num_kv_shared_layers": 2, "layer_types": LAYERS * 2}
PER_LAYER |= {"hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": 397}
CASES = {
    "llama 2": Case("LlamaConfig", {"num_key_value_heads": 6, "tie_word_embeddings": False}),
    "gemma 1": Case("GemmaConfig", {"num_key_value_heads": 1}),
    "gemma 2": Case(
        "Gemma2Config",
        {"sliding_window": WINDOW, "final_logit_softcapping": 3.0, "attn_logit_softcapping": 0.5},
        {"final softcap": without_final_softcap, "attention softcap": without_attention_softcap},
    ),
    "gemma 3": Case(
        "Gemma3TextConfig",
        {"sliding_window": WINDOW, "layer_types": LAYERS},
        {"qk norm": zeroed("q_norm.weight", "k_norm.weight")},
    ),
    "gemma 3n": Case(
        "Gemma3nTextConfig",
        PER_LAYER
        | {
            "sliding_window": WINDOW,
            "final_logit_softcapping": 3.0,
            "vocab_size_per_layer_input": 390,
            "laurel_rank": 8,
            "activation_sparsity_pattern": [0.95, 0.6, 0.0, 0.9],
        },
        {
            "final softcap": without_final_softcap,
            "sparsity": without_sparsity,
            "laurel": zeroed("post_laurel_norm.weight"),
            "altup prediction": zeroed("prediction_coefs.weight"),
            "altup correction": zeroed("correction_coefs.weight"),
            "altup scale": zeroed("correct_output_scale"),
            "per-layer embeddings": zeroed("embed_tokens_per_layer.weight"),
        },
    ),
    "gemma 4 per-layer embeddings and kv sharing": Case(
        "Gemma4TextConfig",
        GLOBAL | PER_LAYER | {"use_double_wide_mlp": True},
        {"final softcap": without_final_softcap, "per-layer embeddings": zeroed("embed_tokens_per_layer.weight")},
    ),
    "gemma 4 dense": Case(
        "Gemma4TextConfig",
        GLOBAL | K_AS_V | {"hidden_size_per_layer_input": 0},
        {"final softcap": without_final_softcap},
    ),
    "gemma 4 experts": Case(
        "Gemma4TextConfig",
        GLOBAL
        | K_AS_V
        | {
            "hidden_size_per_layer_input": 0,
            "enable_moe_block": True,
            "num_experts": 5,
            "top_k_experts": 2,
            "moe_intermediate_size": 24,
        },
        {
            "final softcap": without_final_softcap,
            "expert scales": without_expert_scales,
            "which expert": with_experts_swapped,
        },
    ),
    "gemma 4 12b": Case("Gemma4UnifiedTextConfig", GLOBAL | K_AS_V, {"final softcap": without_final_softcap}),
}


def load(folder: Path) -> Any:
    """The float model through Gemcut's own way in, with every vector and scalar of it away from its default."""
    from gemcut.checkpoint.opening import open_checkpoint
    from gemcut.checkpoint.weights import load_float_model

    model = load_float_model(open_checkpoint(str(folder)))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for _, tensor in sorted(model.state_dict().items()):
            if tensor.dim() == 1:
                tensor.add_(torch.randn(tensor.shape, generator=generator), alpha=0.2)
    return model


def logits(model: Any, ids: list[int]) -> np.ndarray:
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].numpy()


def build(folder: Path, work: Path, recipe: str) -> Any:
    """Converts and links through the runtime's own stage."""
    from gemcut.checkpoint.opening import open_checkpoint
    from gemcut.quantize.recipe import load_recipe
    from gemcut.runtimes.litert import PLUGIN
    from gemcut.runtimes.program import BuildSpec, Shape
    from gemcut.util.progress import Silent
    from gemcut.util.stage_clock import StageClock

    config = open_checkpoint(str(folder)).text_config
    shape = Shape(CONTEXT, PREFILL)
    PLUGIN.exporter.check(config, load_recipe(recipe), ("xnnpack",))
    cache = PLUGIN.exporter.cache(config, shape, OPTIONS)
    order = BuildSpec(
        config,
        load_recipe(recipe),
        shape,
        cache,
        (1,),
        2,
        ("xnnpack",),
        OPTIONS,
    )
    return PLUGIN.exporter.build(order, load(folder), work, StageClock(Silent(), PLUGIN.exporter.steps))
