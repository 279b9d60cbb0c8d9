"""Tiny checkpoints with every feature of the real ones, written once per run and copied where a test breaks one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def gemma3_text(**changes: Any) -> Any:
    """A Gemma 3 text configuration of four small layers."""
    from transformers import Gemma3TextConfig

    settings = {
        "vocab_size": 512,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "query_pre_attn_scalar": 16,
        "sliding_window": 8,
        "layer_types": ["sliding_attention"] * 3 + ["full_attention"],
        "max_position_embeddings": 256,
    }
    return Gemma3TextConfig(**settings | changes)


def gemma3_two_layers(**changes: Any) -> Any:
    """A Gemma 3 text configuration of a local and a full layer."""
    layers = ["sliding_attention", "full_attention"]
    two = {"num_hidden_layers": 2, "num_key_value_heads": 2, "sliding_window": 32, "layer_types": layers}
    return gemma3_text(**two | changes)


def _gemma4_text(**changes: Any) -> Any:
    from transformers import Gemma4TextConfig

    settings = {
        "vocab_size": 512,
        "vocab_size_per_layer_input": 512,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 6,
        "num_attention_heads": 4,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "global_head_dim": 32,
        "sliding_window": 8,
        "hidden_size_per_layer_input": 8,
        "num_kv_shared_layers": 3,
        "use_double_wide_mlp": True,
        "layer_types": ["sliding_attention", "sliding_attention", "full_attention"] * 2,
        "final_logit_softcapping": 30.0,
        "max_position_embeddings": 256,
    }
    return Gemma4TextConfig(**settings | changes)


def _gemma3() -> Any:
    from transformers import Gemma3Config, SiglipVisionConfig

    vision = SiglipVisionConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=16, patch_size=4
    )
    return Gemma3Config(
        text_config=gemma3_text().to_dict(),
        vision_config=vision.to_dict(),
        mm_tokens_per_image=4,
        image_token_index=509,
        boi_token_index=510,
        eoi_token_index=511,
    )


def _gemma4() -> Any:
    from transformers import Gemma4AudioConfig, Gemma4Config, Gemma4VisionConfig

    vision = Gemma4VisionConfig(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=8,
        position_embedding_size=32,
    )
    audio = Gemma4AudioConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        subsampling_conv_channels=[4, 4],
        output_proj_dims=16,
    )
    ids = {"image_token_id": 507, "boi_token_id": 508, "eoi_token_id": 509, "video_token_id": 506}
    ids |= {"audio_token_id": 505, "boa_token_id": 510, "eoa_token_index": 511}
    return Gemma4Config(
        text_config=_gemma4_text().to_dict(), vision_config=vision.to_dict(), audio_config=audio.to_dict(), **ids
    )


_SMALL = {
    "vocab_size": 512,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 256,
}


def _gemma(**changes: Any) -> Any:
    from transformers import GemmaConfig

    return GemmaConfig(**_SMALL | changes)


def _gemma2(**changes: Any) -> Any:
    from transformers import Gemma2Config

    return Gemma2Config(**_SMALL | {"sliding_window": 8, "query_pre_attn_scalar": 16} | changes)


def _llama(**changes: Any) -> Any:
    from transformers import LlamaConfig

    return LlamaConfig(**_SMALL | changes)


def _gemma3n_text(**changes: Any) -> Any:
    from transformers import Gemma3nTextConfig

    settings = {
        "num_hidden_layers": 6,
        "layer_types": ["sliding_attention", "full_attention"] * 3,
        "num_kv_shared_layers": 2,
        "sliding_window": 8,
        "vocab_size_per_layer_input": 500,
        "hidden_size_per_layer_input": 8,
        "laurel_rank": 8,
        "activation_sparsity_pattern": [0.95, 0.5, 0.0, 0.0, 0.0, 0.0],
    }
    return Gemma3nTextConfig(**_SMALL | settings | changes)


def _gemma4_moe(**changes: Any) -> Any:
    moe = {"enable_moe_block": True, "num_experts": 6, "top_k_experts": 2, "moe_intermediate_size": 24}
    return _gemma4_text(**moe | changes)


def _gemma4_unified_text(**changes: Any) -> Any:
    from transformers import Gemma4UnifiedTextConfig

    settings = {
        "layer_types": ["sliding_attention"] * 3 + ["full_attention"],
        "global_head_dim": 32,
        "num_global_key_value_heads": 1,
        "attention_k_eq_v": True,
        "sliding_window": 8,
        "final_logit_softcapping": 30.0,
    }
    return Gemma4UnifiedTextConfig(**_SMALL | settings | changes)


def _gemma4_unified() -> Any:
    from transformers import Gemma4UnifiedAudioConfig, Gemma4UnifiedConfig, Gemma4UnifiedVisionConfig

    vision = Gemma4UnifiedVisionConfig(patch_size=2, mm_embed_dim=16, mm_posemb_size=4, output_proj_dims=16)
    audio = Gemma4UnifiedAudioConfig(audio_embed_dim=16)
    ids = {"image_token_id": 507, "boi_token_id": 508, "eoi_token_id": 509, "video_token_id": 506}
    ids |= {"audio_token_id": 505, "boa_token_id": 510, "eoa_token_index": 511}
    return Gemma4UnifiedConfig(
        text_config=_gemma4_unified_text().to_dict(),
        vision_config=vision.to_dict(),
        audio_config=audio.to_dict(),
        **ids,
    )


CONFIGS: dict[str, Callable[..., Any]] = {
    "gemma": _gemma,
    "gemma2": _gemma2,
    "gemma3_text": gemma3_text,
    "gemma3n_text": _gemma3n_text,
    "gemma4_text": _gemma4_text,
    "gemma4_moe": _gemma4_moe,
    "gemma4_unified_text": _gemma4_unified_text,
    "llama": _llama,
    "gemma3": _gemma3,
    "gemma4": _gemma4,
    "gemma4_unified": _gemma4_unified,
}


def as_bytes(folder: Path) -> Path:
    """The checkpoint, with one of its tensors as bytes, as quantized ones are."""
    import torch
    from safetensors.torch import load_file, save_file

    shard = min(folder.glob("model*.safetensors"))
    tensors = load_file(shard)
    name = min(tensors)
    save_file(tensors | {name: tensors[name].to(torch.uint8)}, shard)
    return folder


@pytest.fixture(scope="session")
def make_config() -> Callable[..., Any]:
    """``make_config(model_type, **changes)``: a tiny transformers configuration."""
    return lambda model_type, **changes: CONFIGS[model_type](**changes)


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """``pristine(model_type)``: a sharded random checkpoint that no test may change."""
    from gemcut.checkpoint.random import random_checkpoint

    made: dict[str, Path] = {}

    def of(model_type: str) -> Path:
        if model_type not in made:
            folder = tmp_path_factory.mktemp("pristine") / f"tiny-{model_type}"
            made[model_type] = random_checkpoint(folder, CONFIGS[model_type](), max_shard_size=100_000)
        return made[model_type]

    return of


@pytest.fixture(scope="session")
def pristine_gemma3n(pristine: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A multimodal Gemma 3n laid out as published, with k, v and k_norm in the layers that share another's.

    transformers itself can build one only with timm; its towers' tensors are stand-ins here, as Gemcut leaves them out.
    """
    import torch
    from safetensors.torch import load_file, save_file
    from transformers import Gemma3nConfig

    text = pristine("gemma3n_text")
    folder = Path(shutil.copytree(text, tmp_path_factory.mktemp("pristine") / "tiny-gemma3n"))
    tensors = {}
    for shard in sorted(folder.glob("model*.safetensors")):
        tensors |= {name.replace("model.", "model.language_model.", 1): t for name, t in load_file(shard).items()}
        shard.unlink()
    (folder / "model.safetensors.index.json").unlink()
    for part, shape in (("k_proj", (32, 64)), ("v_proj", (32, 64)), ("k_norm", (16,))):
        tensors[f"model.language_model.layers.5.self_attn.{part}.weight"] = torch.ones(shape, dtype=torch.bfloat16)
    for name in ("vision_tower.timm_model.conv_stem.conv.weight", "embed_vision.embedding.weight"):
        tensors[f"model.{name}"] = torch.ones(4, 4, dtype=torch.bfloat16)
    for name in ("audio_tower.conformer.0.attention.pre_attn_norm.weight", "embed_audio.embedding_projection.weight"):
        tensors[f"model.{name}"] = torch.ones(4, dtype=torch.bfloat16)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = Gemma3nConfig(text_config=_gemma3n_text().to_dict()).to_dict()
    config |= {"architectures": ["Gemma3nForConditionalGeneration"], "eos_token_id": [1, 6]}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


@pytest.fixture
def fresh(pristine: Callable[[str], Path], tmp_path: Path) -> Callable[..., Path]:
    """``fresh(model_type)``: a copy that the test may break."""

    def of(model_type: str = "gemma3_text") -> Path:
        return Path(shutil.copytree(pristine(model_type), tmp_path / f"tiny-{model_type}"))

    return of


@pytest.fixture(scope="session")
def load_all() -> Callable[[Path], dict[str, Any]]:
    """Every tensor of a checkpoint's shards."""
    from safetensors.torch import load_file

    def of(folder: Path) -> dict[str, Any]:
        tensors: dict[str, Any] = {}
        for shard in sorted(folder.glob("model*.safetensors")):
            tensors |= load_file(shard)
        return tensors

    return of


@pytest.fixture(scope="session")
def save_single() -> Callable[[Path, dict[str, Any]], None]:
    """Replaces a checkpoint's weights by one file with these tensors."""
    from safetensors.torch import save_file

    def of(folder: Path, tensors: dict[str, Any]) -> None:
        for old in folder.glob("model*.safetensors*"):
            old.unlink()
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    return of


@pytest.fixture(scope="session")
def edit_json() -> Callable[..., None]:
    """``edit_json(path, key=value)``: sets keys of a JSON file; None takes one out."""

    def of(path: Path, **changes: Any) -> None:
        found = json.loads(path.read_text(encoding="utf-8")) | changes
        kept = {key: value for key, value in found.items() if value is not None}
        path.write_text(json.dumps(kept), encoding="utf-8")

    return of
