"""An export keeps its memory small: the float model is never whole in it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from gemcut.checkpoint.random import random_checkpoint

# What every export is held to: this share of the bundle, and this many bytes.
SHARE, FIXED = 1.2, 1.5e9
# RLIMIT_DATA holds all private memory that may be written to, touched or not: somewhat more than what is measured. With
# it a second copy of the weights ends the export, whenever it is made.
LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_DATA, (int(sys.argv[1]),) * 2)
from gemcut.cli import main
sys.exit(main(sys.argv[2:]))
"""


def wide_llama() -> Any:
    """Few layers, each of a large model's width, and an untied head: 370 million parameters."""
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=32000,
        hidden_size=2048,
        intermediate_size=8192,
        num_hidden_layers=4,
        num_attention_heads=16,
        num_key_value_heads=4,
        head_dim=128,
        max_position_embeddings=2048,
        tie_word_embeddings=False,
        bos_token_id=2,
        eos_token_id=1,
    )


@pytest.mark.large
def test_peak_memory_is_set_by_the_bundle_and_not_by_the_float_model(tmp_path: Path) -> None:
    checkpoint = random_checkpoint(tmp_path / "wide", wide_llama())
    floats = 2 * sum(file.stat().st_size for file in checkpoint.glob("*.safetensors"))  # bfloat16 to float32
    limit = SHARE * floats / 8 + FIXED  # four bits of 32; embeddings, in eight, and scales make the bundle larger
    words = ["export", checkpoint, "--target", "android-arm64", "--context", 256, "-o", tmp_path / "bundle"]
    words += ["--gate", "report", "--fresh", "--json"]
    command = [sys.executable, "-c", LIMITED, *map(str, [int(limit), *words])]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    document = json.loads(done.stdout)
    (bundle,) = document["bundles"]
    assert limit <= SHARE * bundle["size"] + FIXED
    assert max(document["memory"].values()) == document["peak_memory"] <= limit
    assert document["peak_memory"] < floats, "so large a model that a copy of it would show"
