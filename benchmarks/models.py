"""Random-weight checkpoints to measure on: ``python -m benchmarks.models SHAPE DIRECTORY``.

Speed and memory depend on shapes, not on what the weights say, so a random model measures as a trained one does.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .common import Command, run_module

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


def gemma3_270m() -> PreTrainedConfig:
    """Gemma 3 270M's real shape (config.json of google/gemma-3-270m; facts of transformers' Gemma3TextConfig)."""
    return _gemma3(
        vocab_size=262144,
        hidden_size=640,
        intermediate_size=2048,
        num_hidden_layers=18,
        num_attention_heads=4,
        num_key_value_heads=1,
        head_dim=256,
        query_pre_attn_scalar=256,
        sliding_window=512,
        max_position_embeddings=32768,
    )


def tiny() -> PreTrainedConfig:
    """Two layers of Gemma 3: to try a benchmark out; its figures say nothing."""
    return _gemma3(
        vocab_size=2304,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=32,
        query_pre_attn_scalar=32,
        sliding_window=512,
        max_position_embeddings=4096,
    )


def _gemma3(*, num_hidden_layers: int, **sizes: Any) -> PreTrainedConfig:
    from transformers import Gemma3TextConfig

    kinds = ["full_attention" if index % 6 == 5 else "sliding_attention" for index in range(num_hidden_layers)]
    rope = {"sliding_attention": 10_000.0, "full_attention": 1_000_000.0}
    return Gemma3TextConfig(
        num_hidden_layers=num_hidden_layers,
        layer_types=kinds,
        rope_parameters={kind: {"rope_type": "default", "rope_theta": theta} for kind, theta in rope.items()},
        **sizes,
    )


def gemma3_1b() -> PreTrainedConfig:
    """Gemma 3 1B (config.json of google/gemma-3-1b-pt)."""
    return _gemma3(
        vocab_size=262144,
        hidden_size=1152,
        intermediate_size=6912,
        num_hidden_layers=26,
        num_attention_heads=4,
        num_key_value_heads=1,
        head_dim=256,
        query_pre_attn_scalar=256,
        sliding_window=512,
        max_position_embeddings=32768,
    )


def gemma2_2b() -> PreTrainedConfig:
    """Gemma 2 2B: what transformers' Gemma2Config says where it is told nothing."""
    from transformers import Gemma2Config

    return Gemma2Config()


def gemma4_e2b() -> PreTrainedConfig:
    """Gemma 4 E2B's text part: one full layer in five, twenty that share keys and values, per-layer embeddings."""
    return _gemma4(
        5,
        num_hidden_layers=35,
        hidden_size=1536,
        intermediate_size=6144,
        num_key_value_heads=1,
        num_kv_shared_layers=20,
        use_double_wide_mlp=True,
    )


def gemma4_e4b() -> PreTrainedConfig:
    """Gemma 4 E4B's text part: one full layer in six, eighteen that share keys and values, per-layer embeddings."""
    return _gemma4(
        6,
        num_hidden_layers=42,
        hidden_size=2560,
        intermediate_size=10240,
        num_key_value_heads=2,
        num_kv_shared_layers=18,
    )


def _gemma4(period: int, *, num_hidden_layers: int, **sizes: Any) -> PreTrainedConfig:
    from transformers import Gemma4TextConfig

    kinds = [
        "full_attention" if index % period == period - 1 else "sliding_attention" for index in range(num_hidden_layers)
    ]
    return Gemma4TextConfig(
        num_hidden_layers=num_hidden_layers,
        layer_types=kinds,
        num_attention_heads=8,
        head_dim=256,
        global_head_dim=512,
        sliding_window=512,
        hidden_size_per_layer_input=256,
        final_logit_softcapping=30.0,
        **sizes,
    )


def llama2_7b() -> PreTrainedConfig:
    """Llama 2 7B (config.json of meta-llama/Llama-2-7b-chat-hf); eos and bos as the sample's tokenizer has them."""
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=32000,
        hidden_size=4096,
        intermediate_size=11008,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=32,
        max_position_embeddings=4096,
        rms_norm_eps=1e-5,
        tie_word_embeddings=False,
    )


SHAPES: dict[str, Callable[[], PreTrainedConfig]] = {"270m": gemma3_270m, "tiny": tiny}
TITLES = {"270m": "random Gemma 3 270M", "tiny": "random tiny Gemma 3"}
# Those that ``benchmarks.sizes`` alone measures.
LARGE: dict[str, Callable[[], PreTrainedConfig]] = {
    "gemma3_1b": gemma3_1b,
    "gemma2_2b": gemma2_2b,
    "gemma4_e2b": gemma4_e2b,
    "gemma4_e4b": gemma4_e4b,
    "llama2_7b": llama2_7b,
}
TITLES |= {
    "gemma3_1b": "random Gemma 3 1B",
    "gemma2_2b": "random Gemma 2 2B",
    "gemma4_e2b": "random Gemma 4 E2B",
    "gemma4_e4b": "random Gemma 4 E4B",
    "llama2_7b": "random Llama 2 7B",
}
ROOM = 6 << 30  # bytes of disk that checkpoint, programs, GGUF files and a bundle in the making take at most


def config_of(shape: str, layers: int | None = None) -> PreTrainedConfig:
    """A shape's configuration; ``layers``: of its first layers alone."""
    config = (SHAPES | LARGE)[shape]()
    if layers is not None:
        config.num_hidden_layers = layers
        if getattr(config, "layer_types", None):
            config.layer_types = config.layer_types[:layers]
    return config


def make(shape: str, directory: Path, layers: int | None = None) -> Path:
    """Writes a checkpoint (bfloat16, always the same bytes) from a process of its own: this one stays small."""
    fewer = () if layers is None else ("--layers", layers)
    run_module("benchmarks.models", [shape, directory, *fewer], f"writing the {TITLES[shape]}")
    return directory


@click.command(cls=Command)
@click.argument("shape", type=click.Choice(sorted(SHAPES | LARGE)))
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@click.option("--layers", type=click.IntRange(min=1), help="Only the first so many layers.")
def main(shape: str, directory: Path, layers: int | None) -> None:
    """Write a random-weight checkpoint of SHAPE to DIRECTORY."""
    from gemcut.checkpoint.random import random_checkpoint

    random_checkpoint(directory, config_of(shape, layers))
    click.echo(f"{directory}: {TITLES[shape]}")


if __name__ == "__main__":
    main()
