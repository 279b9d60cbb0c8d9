"""Tiny random models of real families, lowered to real programs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gemcut.util.progress import Silent

LENGTH = 70


def some_ids(seed: int, vocabulary: int = 500) -> list[int]:
    """``LENGTH`` token ids."""
    return np.random.default_rng(seed).integers(3, vocabulary, LENGTH).tolist()


@dataclass(frozen=True)
class Made:
    """A lowered program and the float model that it was made from."""

    program: Path
    float_model: Any
    plan: Any
    lowered: Any
    seconds: float


def target_with_chunk(folder: Path, chunk: int) -> Path:
    """The linux-x86_64 target with a prefill chunk so short that the rings wrap within a test."""
    from importlib.resources import files

    text = (files("gemcut.targets") / "linux-x86_64.toml").read_text()
    assert "prefill_chunk = 128" in text
    path = folder / "short-chunk.toml"
    path.write_text(text.replace("prefill_chunk = 128", f"prefill_chunk = {chunk}"))
    return path


def load_uneven(checkpoint: Any) -> Any:
    """The float model with every vector and scalar of it away from its default."""
    import torch
    from gemcut.checkpoint.weights import load_float_model

    model = load_float_model(checkpoint)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for _, tensor in sorted(model.state_dict().items()):
            if tensor.dim() == 1:
                tensor.add_(torch.randn(tensor.shape, generator=generator), alpha=0.2)
    return model


@pytest.fixture(scope="session")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Made]:
    """Makes a program of a transformers text configuration: ``make(config, recipe, context, chunk)``."""

    def build(config: Any, recipe: str = "float32", context: int = 96, chunk: int = 8) -> Made:
        from gemcut.checkpoint.random import random_checkpoint
        from gemcut.pipeline.plan import make_plans
        from gemcut.pipeline.request import ExportRequest
        from gemcut.util.stage_clock import StageClock

        folder = tmp_path_factory.mktemp("model")
        random_checkpoint(folder / "checkpoint", config, seed=7)
        request = ExportRequest(
            model=str(folder / "checkpoint"),
            target=str(target_with_chunk(folder, chunk)),
            recipe=recipe,
            context=context,
            output=folder / "bundle",
        )
        (plan,) = make_plans(request)
        exporter = plan.runtime.exporter
        clock = StageClock(Silent(), exporter.steps)
        lowered = exporter.build(plan.spec, load_uneven(plan.checkpoint), folder, clock)
        return Made(lowered.artifacts.path, load_uneven(plan.checkpoint), plan, lowered, sum(clock.seconds.values()))

    return build
