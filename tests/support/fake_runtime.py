"""The fake runtime for tests: installed as the distribution of a third party that it is, and a model that fits it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

SOURCE = Path(__file__).parent / "gemcut_fake"
TARGET = """
description = "A machine for tests"
architecture = "x86_64"
system = "linux"
runtimes = ["fake", "fake_two"]
recipe = "float32"
delegate = "lookup"
context = 256
prefill_chunk = 32
memory_bandwidth = 10.0
compute = 100.0

[oldest_runtime]
fake = "1.0"

[choices]
"""


def install(folder: Path) -> Path:
    """Installs the distribution into a folder of its own, with pip as a user would; returns the folder."""
    copy = folder.with_name("source")  # a build leaves its own folders beside what it builds
    shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info"))
    command = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps"]
    command += ["--no-build-isolation", "--target", str(folder), str(copy)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return folder


def environment(folder: Path) -> dict[str, str]:
    """What child processes need to find the distribution."""
    path = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": str(folder) if not path else f"{folder}{os.pathsep}{path}"}


@contextmanager
def importable(folder: Path) -> Iterator[None]:
    """While it holds, this process finds the distribution, its entry points and its modules."""
    from gemcut.runtimes import RUNTIMES
    from gemcut.target import target_file
    from gemcut.util import registry

    def forget() -> None:
        registry._entry_points.cache_clear()
        target_file.cache_clear()
        for name in ("fake", "fake_two"):
            RUNTIMES._loaded.pop(name, None)

    sys.path.insert(0, str(folder))
    forget()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        forget()


def write_target(folder: Path, changes: Mapping[str, str] | None = None) -> Path:
    """A target for it; ``changes``: text -> other text."""
    text = TARGET
    for old, new in (changes or {}).items():
        assert old in text
        text = text.replace(old, new)
    path = folder / "fake.toml"
    path.write_text(text, encoding="utf-8")
    return path


def make_checkpoint(folder: Path) -> Path:
    """A checkpoint of two small layers whose attention gives zeros: a token's logits depend on that token alone."""
    import torch
    from gemcut.checkpoint.random import random_checkpoint
    from safetensors.torch import load_file, save_file
    from transformers import Gemma3TextConfig

    config = Gemma3TextConfig(
        vocab_size=512,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        query_pre_attn_scalar=8,
        sliding_window=16,
        layer_types=["sliding_attention", "full_attention"],
        max_position_embeddings=256,
    )
    path = random_checkpoint(folder, config, dtype=torch.float32)
    for file in path.glob("*.safetensors"):
        tensors = load_file(file)
        for name, tensor in tensors.items():
            if name.endswith("o_proj.weight"):
                tensors[name] = torch.zeros_like(tensor)
        save_file(tensors, file, metadata={"format": "pt"})
    assert json.loads((path / "config.json").read_text())["vocab_size"] == 512
    return path
