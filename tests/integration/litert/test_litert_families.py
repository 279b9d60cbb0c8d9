"""Every family against transformers: the unquantized program in LiteRT's own Interpreter, fed as the engine feeds it.

Tiny random models with odd sizes; every feature of theirs is shown to matter, so that the comparison would see it fail.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.litert_families import (
    CASES,
    CONTEXT,
    LIMIT,
    NOISES,
    OPTIONS,
    PREFILL,
    WINDOW,
    build,
    load,
    logits,
    with_experts_swapped,
)

ROOT = Path(__file__).resolve().parents[3]
FEATURES = [pytest.param(n, f, id=f"{n}: {f}") for n, case in CASES.items() for f in case.features]


@dataclass(frozen=True)
class Made:
    """A family's program, what the build says of it, and two conversations with their float logits [tokens, V].

    noise: how far transformers' own float32 is off.
    """

    folder: Path
    program: Path
    lowered: Any
    conversations: list[tuple[list[int], np.ndarray]]
    noise: float


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """``checkpoint(name)``: the family's random checkpoint in float32."""
    from gemcut.checkpoint.random import random_checkpoint

    made: dict[str, Path] = {}

    def of(name: str) -> Path:
        if name not in made:
            folder = tmp_path_factory.mktemp("family") / "checkpoint"
            made[name] = random_checkpoint(folder, CASES[name].make(), seed=5, dtype=torch.float32)
        return made[name]

    return of


@pytest.fixture(scope="session")
def make(checkpoint: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Made]:
    """``make(name)``: the family's float32 program."""
    made: dict[str, Made] = {}

    def of(name: str) -> Made:
        if name not in made:
            folder = checkpoint(name)
            model = load(folder)
            generator = np.random.default_rng(7)
            talks = [generator.integers(3, 397, length).tolist() for length in (CONTEXT, 37)]
            wanted = [(ids, logits(model, ids)) for ids in talks]
            lowered = build(folder, tmp_path_factory.mktemp("program"), "float32")
            exact = load(folder).double()
            exact.config._experts_implementation = "eager"  # the only one that takes float64
            noise = max(float(np.abs(logits(exact, ids) - found).max()) for ids, found in wanted)
            made[name] = Made(folder, lowered.artifacts.path, lowered, wanted, noise)
        return made[name]

    return of


def fed(runner: Any, ids: list[int], pieces: list[tuple[str, int]]) -> Iterator[tuple[int, np.ndarray]]:
    """Feeds a conversation in pieces; yields positions with the logits that the program has for them."""
    at = 0
    for kind, count in pieces:
        if kind == "prefill":
            yield at + count - 1, runner.prefill(ids[at : at + count], at)
        else:
            for position in range(at, at + count):
                yield position, runner.step(ids[position], position)
        at += count
    assert at == len(ids)


# Past three windows and to the context's last slot; lengths that fill signatures, pad them, and are a single token.
FIRST = [("prefill", 29), ("step", 13), ("prefill", 16), ("step", 1), ("prefill", 7), ("prefill", 1), ("step", 13)]
SECOND = [("prefill", 3), ("step", 15), ("prefill", 10), ("step", 9)]


@pytest.mark.parametrize("name", list(CASES))
def test_program_gives_the_logits_of_transformers(make: Callable[[str], Made], name: str) -> None:
    from gemcut.runtimes.litert.runner import LiteRTRunner

    made = make(name)
    runner = LiteRTRunner(made.program, threads=2, context=CONTEXT)
    assert runner.vocab_size == 397
    assert (runner.max_context, runner.prefill_chunk) == (CONTEXT, max(PREFILL))
    worst, agreed = 0.0, []
    for pieces, (ids, wanted) in zip((FIRST, SECOND), made.conversations, strict=True):  # one cache, never cleared
        for position, found in fed(runner, ids, pieces):
            worst = max(worst, float(np.abs(found - wanted[position]).max()))
            agreed.append(found.argmax() == wanted[position].argmax())
    assert len(agreed) == 4 + 13 + 1 + 13 + 2 + 15 + 9
    assert worst <= LIMIT
    assert worst <= NOISES * made.noise
    assert all(agreed)


@pytest.mark.parametrize(("name", "feature"), FEATURES)
def test_feature_matters_far_beyond_the_limit(checkpoint: Callable[[str], Path], name: str, feature: str) -> None:
    """Else the comparison above would pass without it."""
    model = load(checkpoint(name))
    ids = list(range(40, 80))
    whole = logits(model, ids)
    with torch.no_grad():
        CASES[name].features[feature](model)
    assert np.abs(logits(model, ids) - whole).max() > 50 * LIMIT


@pytest.mark.parametrize("name", list(CASES))
def test_cache_has_the_shape_that_transformers_own_has(checkpoint: Callable[[str], Path], name: str) -> None:
    from gemcut.runtimes.litert import PLUGIN
    from gemcut.runtimes.program import Shape

    model = load(checkpoint(name))
    with torch.no_grad():
        kept = model(input_ids=torch.arange(40, 43)[None], use_cache=True).past_key_values.layers
    kept = [layer for layer in kept if layer.keys is not None]
    spec = PLUGIN.exporter.cache(model.config, Shape(CONTEXT, PREFILL), OPTIONS)
    assert len(spec.layers) == model.config.num_hidden_layers
    own = [layer for layer in spec.layers if layer is not None]
    assert spec.layers[: len(own)] == tuple(own)  # those that share another's come last
    assert [(layer.heads, layer.head_dim) for layer in own] == [(k.keys.shape[1], k.keys.shape[3]) for k in kept]
    for layer, kind in zip(own, getattr(model.config, "layer_types", None) or ["full_attention"] * 2, strict=False):
        assert layer.ring == (kind == "sliding_attention")
        assert layer.slots == (WINDOW + PREFILL[-1] - 1 if layer.ring else CONTEXT + PREFILL[0] - 1)


def test_layers_that_share_a_cache_are_left_out_of_prefill(make: Callable[[str], Made]) -> None:
    """They write nothing, and prefill has no logits: their matrices are decode's alone."""
    from ai_edge_litert import schema_py_generated as schema

    made = make("gemma 3n")
    model = schema.ModelT.InitFromPackedBuf(made.program.read_bytes(), 0)
    graphs = {s.signatureKey.decode(): model.subgraphs[s.subgraphIndex] for s in model.signatureDefs}
    used = {key: {index for op in graph.operators for index in op.inputs} for key, graph in graphs.items()}
    names = {key: {(graphs[key].tensors[i].name or b"").decode() for i in indices} for key, indices in used.items()}
    assert "model.layers.3.mlp.down_proj" in names["decode"]
    assert "model.layers.1.self_attn.k_proj" in names["prefill_8"]
    assert not any(name.startswith(("model.layers.2.", "model.layers.3.")) for name in names["prefill_8"])


EXPERTS = """
description = "the experts alone in int8"
[schemes.float32]
weight = "float32"
[schemes.int8]
weight = "int8"
activation = "int8-dynamic"
[[rules]]
match = '.*\\.experts\\..*'
scheme = "int8"
reason = "a test"
[[rules]]
match = '.*'
scheme = "float32"
reason = "a test"
[gate]
reason = "a test"
"""


def test_each_expert_is_quantized_as_a_matrix_of_its_own(make: Callable[[str], Made], tmp_path: Path) -> None:
    from gemcut.modeling.parts import PARTS, TEXT_DECODER
    from gemcut.quantize.recipe import load_recipe
    from gemcut.quantize.schemes import decide
    from gemcut.runtimes.litert import PLUGIN
    from gemcut.runtimes.litert.adapt import adapt
    from gemcut.runtimes.litert.runner import LiteRTRunner

    made = make("gemma 4 experts")
    empty = adapt(PARTS.get(TEXT_DECODER).empty(CASES["gemma 4 experts"].make()))
    planned = [name for name, _, _ in decide(empty, load_recipe("int8"), PLUGIN.delegate("xnnpack").check_scheme)]
    assert [name for name in planned if ".experts." in name and "layers.1" in name] == [
        f"model.layers.1.experts.{part}.{number}" for part in ("gate_up_proj", "down_proj") for number in range(5)
    ]
    recipe = tmp_path / "experts.toml"
    recipe.write_text(EXPERTS)
    lowered = build(made.folder, tmp_path, str(recipe))
    assert lowered.quantized["experts"] == 2 * 5 * 2
    assert lowered.tensors["experts"] == 2 * 5 * (48 * 48 + 4 * 48 + 48 * 24 + 4 * 48)
    assert made.lowered.tensors["experts"] == 2 * 5 * 4 * (48 * 48 + 48 * 24)
    runner = LiteRTRunner(lowered.artifacts.path, threads=2, context=CONTEXT)
    ids, wanted = made.conversations[1]
    apart = []
    for position, found in fed(runner, ids, SECOND):
        apart.append(float(np.abs(found - wanted[position]).max()))
    model = load(made.folder)
    with torch.no_grad():
        with_experts_swapped(model)
    wrong = np.abs(logits(model, ids) - wanted).max(axis=-1)
    assert 0 < np.median(apart) < 0.1 * np.median(wrong)


AGAIN = """
import sys
from pathlib import Path
from tests.support.litert_families import build
print("program:", build(Path(sys.argv[1]), Path(sys.argv[2]), "float32").artifacts.path)
"""


def test_program_does_not_hang_on_the_hash_seed(checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    """transformers asks for rotary tables in the order of a set of strings."""
    folder = checkpoint("gemma 3")
    found = set()
    for seed in ("1", "2"):  # which order that set of two in the one way and in the other
        work = tmp_path / seed
        work.mkdir()
        environment = {**os.environ, "PYTHONHASHSEED": seed, "GEMCUT_CACHE": str(work)}
        command = [sys.executable, "-c", AGAIN, str(folder), str(work)]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        found.add(Path(done.stdout.rpartition("program: ")[2].strip()).read_bytes())
    assert len(found) == 1


def convert(module: torch.nn.Module, *inputs: torch.Tensor) -> Any:
    import litert_torch

    return litert_torch.convert(module.eval(), inputs)


def test_converter_still_lacks_the_inverse_error_function() -> None:
    """Where this fails, upstream has mended it: ``adapt.SparseGatedMLP`` can go."""

    class Quantile(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.erfinv(x)

    with pytest.raises(RuntimeError, match=r"Lowering not found: aten\.erfinv"):
        convert(Quantile(), torch.zeros(4))


def test_converter_still_lacks_what_transformers_experts_need() -> None:
    """Where this fails, upstream has mended it: see whether ``adapt.DenseExperts`` is still the better way."""
    from transformers import AutoModelForCausalLM

    experts = AutoModelForCausalLM.from_config(CASES["gemma 4 experts"].make()).model.layers[0].experts
    with pytest.raises(RuntimeError, match=r"Lowering not found: aten\.histc"):
        convert(experts, torch.zeros(4, 48), torch.zeros(4, 2, dtype=torch.long), torch.ones(4, 2))
