"""Mixtures whose experts are saved one by one, as they are published and as transformers saves them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from gemcut.checkpoint.mapped import map_float_model
from gemcut.checkpoint.opening import open_checkpoint
from gemcut.checkpoint.random import random_checkpoint
from gemcut.checkpoint.weights import load_float_model
from gemcut.errors import CheckpointError
from gemcut.util.file_tensors import Scratch
from safetensors.torch import load_file, save_file

SIZES: dict[str, Any] = {
    "vocab_size": 512,
    "hidden_size": 64,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 256,
    "bos_token_id": 2,
    "eos_token_id": 1,
    "pad_token_id": 0,
}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "mixtral": ("MixtralConfig", {"num_local_experts": 12, "num_experts_per_tok": 2}),
    "qwen3_moe": (
        "Qwen3MoeConfig",
        {"num_experts": 11, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "head_dim": 32},
    ),
    "olmoe": ("OlmoeConfig", {"num_experts": 3, "num_experts_per_tok": 1}),
}


def saved(kind: str, folder: Path) -> Any:
    """A random model as transformers saves it, with a tokenizer beside it."""
    import transformers

    name, more = KINDS[kind]
    config = getattr(transformers, name)(**SIZES, **more)
    random_checkpoint(folder, config)
    torch.manual_seed(3)
    model = transformers.AutoModelForCausalLM.from_config(config)
    model.save_pretrained(folder)
    return model.eval()


@pytest.mark.parametrize("kind", KINDS)
def test_experts_that_are_saved_one_by_one_are_loaded_as_transformers_loads_them(kind: str, tmp_path: Path) -> None:
    model = saved(kind, tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    assert any(".experts.2." in name for name in stored), "one by one"
    opened = open_checkpoint(str(tmp_path))
    right = model.state_dict()
    for loaded in (load_float_model(opened), map_float_model(opened, Scratch(tmp_path))):
        found = loaded.state_dict()
        assert set(found) == set(right)
        for name, tensor in found.items():
            assert torch.equal(tensor.float(), right[name].float()), name
    ids = torch.tensor([[2, 9, 8, 7]])
    with torch.no_grad():
        assert torch.equal(load_float_model(opened)(ids).logits, model(ids).logits)


def test_an_expert_that_is_missing_is_missed(tmp_path: Path) -> None:
    saved("olmoe", tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["model.layers.1.mlp.experts.2.up_proj.weight"]
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"layers\.1\.mlp\.experts\.gate_up_proj' is missing"):
        open_checkpoint(str(tmp_path))
