"""A tiny checkpoint, and the command line run on it: in a process of its own, or in this one where that is enough."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from gemcut.cli import main

from tests.support import command
from tests.support.exports import exported

CONTEXT = 256  # the shortest that the built-in golden prompts fit
RECIPE = """
description = "Four bits a weight, one scale per output channel"

[schemes.embedding]
weight = "int8"

[schemes.linear]
weight = "int4"
activation = "int8-dynamic"

[[rules]]
match = 'model\\.embed_tokens'
scheme = "embedding"
reason = "Embeddings are stored so."

[[rules]]
match = '.*'
scheme = "linear"
reason = "As coarse as it gets."

[gate]
mean_kl = 0.001
top1 = 0.999
reason = "A random model's logits can't be kept by so few bits."
"""


def start(*words: object, cwd: Path, **variables: str) -> Any:
    """Starts ``gemcut`` in a process of its own, with no hub to ask."""
    return command.begin(*words, cwd=cwd, env=variables)


@pytest.fixture(scope="session")
def begin() -> Callable[..., subprocess.Popen[str]]:
    """``begin(*words, cwd=...)``: a command line that has been started."""
    return start


@pytest.fixture(scope="session")
def run() -> Callable[..., subprocess.CompletedProcess[str]]:
    """``run(*words, cwd=...)``: a command line that has ended."""

    def run(*words: object, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
        return command.gemcut(*words, cwd=cwd, env=variables)

    return run


@dataclass(frozen=True)
class Said:
    """The exit code, and what was said on stdout and stderr."""

    code: int
    out: str
    err: str


@pytest.fixture
def here(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Said]:
    """``here(*words)``: the command line within this process, for what ends before anything is loaded."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def run(*words: object) -> Said:
        capsys.readouterr()
        code = main([str(word) for word in words])
        shown = capsys.readouterr()
        return Said(code, shown.out, shown.err)

    return run


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sharded Gemma 3 checkpoint of two small layers with random weights; no test may change it."""
    from gemcut.checkpoint.random import random_checkpoint
    from transformers import Gemma3TextConfig

    config = Gemma3TextConfig(
        vocab_size=512,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        query_pre_attn_scalar=16,
        sliding_window=16,
        layer_types=["sliding_attention", "full_attention"],
        max_position_embeddings=CONTEXT,
    )
    folder = tmp_path_factory.mktemp("checkpoint") / "tiny"
    return random_checkpoint(folder, config, max_shard_size=30_000)


@pytest.fixture
def fresh(tiny: Path, tmp_path: Path) -> Path:
    """A copy of the tiny checkpoint that the test may break, beside an otherwise empty working folder."""
    return Path(shutil.copytree(tiny, tmp_path / "checkpoint" / "tiny"))


@pytest.fixture(scope="session")
def coarse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe whose gate the tiny checkpoint can't pass."""
    path = tmp_path_factory.mktemp("recipe") / "coarse.toml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


@dataclass(frozen=True)
class Unproven:
    """A bundle that failed its gate, what ``export --gate report --json`` said, and its stderr."""

    path: Path
    document: dict[str, Any]
    stderr: str


@pytest.fixture(scope="session")
def export_unproven(
    tiny: Path, coarse: Path, tmp_path_factory: pytest.TempPathFactory, run: Callable[..., Any]
) -> Callable[..., Unproven]:
    """Exports a copy of the tiny checkpoint, in a folder of its own, and deletes that copy."""

    def export(**variables: str) -> Unproven:
        folder = tmp_path_factory.mktemp("unproven")
        checkpoint = Path(shutil.copytree(tiny, folder / "tiny"))
        out = folder / "bundle.gemcut"
        done = run(
            "export",
            checkpoint,
            "--target",
            "linux-x86_64",
            "--recipe",
            coarse,
            "--context",
            CONTEXT,
            "--format",
            "zip",
            "--gate",
            "report",
            "--fresh",
            "-o",
            out,
            "--json",
            cwd=folder,
            **variables,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        shutil.rmtree(checkpoint)
        return Unproven(out, json.loads(done.stdout)["bundles"][0], done.stderr)

    return export


@pytest.fixture(scope="session")
def unproven(tiny: Path, coarse: Path, tmp_path_factory: pytest.TempPathFactory) -> Unproven:
    """A bundle published with ``--gate report``; its checkpoint is gone."""
    checkpoint = Path(shutil.copytree(tiny, tmp_path_factory.mktemp("unproven") / "tiny"))
    words = ("--target", "linux-x86_64", "--recipe", coarse, "--context", CONTEXT, "--format", "zip")
    made = exported(checkpoint, *words, "--gate", "report", name="bundle.gemcut")
    shutil.rmtree(checkpoint)
    return Unproven(made.path, made.document, made.stderr)
