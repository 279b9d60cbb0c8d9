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


SHAPES: dict[str, Callable[[], PreTrainedConfig]] = {"270m": gemma3_270m, "tiny": tiny}
TITLES = {"270m": "random Gemma 3 270M", "tiny": "random tiny Gemma 3"}
ROOM = 6 << 30  # bytes of disk that checkpoint, programs, GGUF files and a bundle in the making take at most


def make(shape: str, directory: Path) -> Path:
    """Writes a checkpoint (bfloat16, always the same bytes) from a process of its own: this one stays small."""
    run_module("benchmarks.models", [shape, directory], f"writing the {TITLES[shape]}")
    return directory


@click.command(cls=Command)
@click.argument("shape", type=click.Choice(sorted(SHAPES)))
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
def main(shape: str, directory: Path) -> None:
    """Write a random-weight checkpoint of SHAPE to DIRECTORY."""
    from gemcut.checkpoint.random import random_checkpoint

    random_checkpoint(directory, SHAPES[shape]())
    click.echo(f"{directory}: {TITLES[shape]}")


if __name__ == "__main__":
    main()
