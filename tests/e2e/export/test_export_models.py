"""Other checkpoints than the sample, whole: multimodal ones and a real shape. Minutes each."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gemcut.checkpoint.random import random_checkpoint

Run = Callable[..., Any]


def gemma3() -> Any:
    """A tiny Gemma 3 with a vision tower."""
    from transformers import Gemma3Config, SiglipVisionConfig

    text = {
        "vocab_size": 512,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "query_pre_attn_scalar": 16,
        "sliding_window": 16,
        "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
        "max_position_embeddings": 256,
        "rope_parameters": {
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1_000_000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
        },
    }
    vision = SiglipVisionConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=16, patch_size=4
    )
    return Gemma3Config(
        text_config=text,
        vision_config=vision.to_dict(),
        mm_tokens_per_image=4,
        image_token_index=509,
        boi_token_index=510,
        eoi_token_index=511,
    )


def gemma4() -> Any:
    """A tiny Gemma 4 with a vision tower."""
    from transformers import Gemma4Config, Gemma4VisionConfig

    text = {
        "vocab_size": 512,
        "vocab_size_per_layer_input": 512,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 6,
        "num_attention_heads": 4,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "global_head_dim": 32,
        "sliding_window": 16,
        "hidden_size_per_layer_input": 8,
        "num_kv_shared_layers": 3,
        "use_double_wide_mlp": True,
        "final_logit_softcapping": 30.0,
        "max_position_embeddings": 256,
        "layer_types": ["sliding_attention", "sliding_attention", "full_attention"] * 2,
    }
    vision = Gemma4VisionConfig(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=8,
        position_embedding_size=32,
    )
    ids = {"image_token_id": 507, "boi_token_id": 508, "eoi_token_id": 509, "video_token_id": 506}
    return Gemma4Config(text_config=text, vision_config=vision.to_dict(), audio_config=None, **ids)


@pytest.mark.parametrize("make", [gemma3, gemma4])
def test_a_multimodal_checkpoints_text_part_is_the_float_model(
    make: Callable[[], Any], tmp_path: Path, run: Run
) -> None:
    checkpoint = random_checkpoint(tmp_path / make.__name__, make(), max_shard_size=60_000)
    assert len(list(checkpoint.glob("model-*.safetensors"))) > 1
    words = ("--target", "linux-x86_64", "--recipe", "float32", "--context", 256, "--json")
    done = run("export", checkpoint, *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (document,) = json.loads(done.stdout)["bundles"]
    assert document["proven"] is True
    assert document["fidelity"]["max_logit_diff"] < 1e-3
    assert document["fidelity"]["top1"] == 1.0
    assert (tmp_path / "bundles" / f"{make.__name__}-linux-x86_64-executorch" / "model.pte").is_file()


@pytest.mark.large
def test_the_real_shape_of_gemma_3_270m_exports(tmp_path: Path, run: Run) -> None:
    from transformers import Gemma3TextConfig

    config = Gemma3TextConfig(
        vocab_size=262144,
        hidden_size=640,
        intermediate_size=2048,
        num_hidden_layers=18,
        num_attention_heads=4,
        num_key_value_heads=1,
        head_dim=256,
        query_pre_attn_scalar=256,
        sliding_window=512,
        layer_types=(["sliding_attention"] * 5 + ["full_attention"]) * 3,
        max_position_embeddings=32768,
    )
    checkpoint = random_checkpoint(tmp_path / "gemma-3-270m-random", config)
    words = ("--target", "android-arm64", "--gate", "report", "-o", tmp_path / "bundle", "--json")
    done = run("export", checkpoint, *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (document,) = json.loads(done.stdout)["bundles"]
    manifest = json.loads((tmp_path / "bundle" / "manifest.json").read_text())
    assert 260e6 < manifest["model"]["parameters"] < 275e6
    assert (tmp_path / "bundle" / "model.pte").stat().st_size < 350e6
    assert document["fidelity"]["mean_kl"] is not None
