"""A tiny model for LiteRT: its checkpoint, and its skeleton, converted once a session and linked in any precision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from gemcut.quantize.recipe import Scheme
from gemcut.util.progress import Silent

OPTIONS = {"dynamic_shape": False, "plain_tflite": False}

CONTEXT = 80
PREFILL = (8, 16)
FLOAT = Scheme("float32", "float32")


@dataclass(frozen=True)
class Converted:
    """A skeleton, and the weights that go into it by the names of its inputs."""

    checkpoint: Path
    skeleton: Path
    weights: dict[str, Any]

    def tensor(self, module: str) -> Any:
        """The float weight [N, K] of a module."""
        return next(weight.tensor for weight in self.weights.values() if weight.module == module)

    def link(self, out: Path, linear: Scheme = FLOAT, embedding: Scheme = FLOAT) -> dict[str, int]:
        """Writes a program whose linears and embeddings are stored so; returns the bytes of each by module."""
        from gemcut.runtimes.litert.link import link

        schemes = {weight.module: embedding if weight.gathered else linear for weight in self.weights.values()}
        sizes = link(self.skeleton, out, self.weights, schemes, {}, Silent())
        return {self.weights[name].module: size for name, size in sizes.items()}


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Gemma 3 whose head is its embedding, with an odd number of rows and widths that groups of 32 divide."""
    import torch
    from gemcut.checkpoint.random import random_checkpoint
    from transformers import Gemma3TextConfig

    config = Gemma3TextConfig(
        vocab_size=397,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        query_pre_attn_scalar=16,
        sliding_window=16,
        layer_types=["sliding_attention", "full_attention"],
        max_position_embeddings=96,
    )
    return random_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny", config, dtype=torch.float32)


@pytest.fixture(scope="session")
def float_model(tiny: Path) -> Callable[[], Any]:
    """``float_model()``: the float model, for the caller to change."""
    from gemcut.checkpoint.opening import open_checkpoint
    from gemcut.checkpoint.weights import load_float_model

    return lambda: load_float_model(open_checkpoint(str(tiny))).eval()


@pytest.fixture(scope="session")
def build(tiny: Path, float_model: Callable[[], Any]) -> Callable[[object, Path], Any]:
    """``build(recipe, work)``: what the runtime's own stages make of the tiny model, for a context of 80 tokens."""
    from gemcut.checkpoint.opening import open_checkpoint
    from gemcut.quantize.recipe import load_recipe
    from gemcut.runtimes.litert import PLUGIN
    from gemcut.runtimes.program import BuildSpec, Shape
    from gemcut.util.stage_clock import StageClock

    def run(name: object, work: Path) -> Any:
        config = open_checkpoint(str(tiny)).text_config
        recipe, shape = load_recipe(str(name)), Shape(CONTEXT, PREFILL)
        PLUGIN.exporter.check(config, recipe, ("xnnpack",))
        work.mkdir(exist_ok=True)
        cache = PLUGIN.exporter.cache(config, shape, OPTIONS)
        order = BuildSpec(config, recipe, shape, cache, (1,), 2, ("xnnpack",), OPTIONS)
        return PLUGIN.exporter.build(order, float_model(), work, StageClock(Silent(), PLUGIN.exporter.steps))

    return run


@pytest.fixture(scope="session")
def converted(
    build: Callable[[object, Path], Any],
    tiny: Path,
    float_model: Callable[[], Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Converted:
    """Signatures decode, prefill_8 and prefill_16 over a cache for 80 tokens."""
    from gemcut.runtimes.litert.weight_inputs import take_weights_as_inputs

    work = tmp_path_factory.mktemp("skeleton")
    build("float32", work)
    return Converted(tiny, work / "skeleton.tflite", take_weights_as_inputs(float_model()).weights)


@pytest.fixture(scope="session")
def float_program(converted: Converted) -> Path:
    """The program with nothing quantized; no test may change it."""
    return converted.skeleton.with_name("model.tflite")
