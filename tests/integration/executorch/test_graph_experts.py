"""Experts: those that no token chose are not computed, in decode and in prefill; each is quantized as a matrix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from gemcut.util.progress import Silent

from tests.support.executorch_programs import load_uneven, target_with_chunk
from tests.support.families_cases import FULL, gemma4_experts

CONTEXT, CHUNK, NEVER = 48, 8, 3
RECIPE = """
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
mean_kl = 1.0
reason = "a test"
"""


def small() -> Any:
    return gemma4_experts(num_hidden_layers=1, layer_types=[FULL])


def plan_of(folder: Path, recipe: str) -> Any:
    from gemcut.checkpoint.random import random_checkpoint
    from gemcut.pipeline.plan import make_plans
    from gemcut.pipeline.request import ExportRequest

    random_checkpoint(folder / "checkpoint", small(), seed=7)
    target = str(target_with_chunk(folder, CHUNK))
    request = ExportRequest(
        model=str(folder / "checkpoint"), target=target, recipe=recipe, context=CONTEXT, output=folder / "out"
    )
    return make_plans(request)[0]


def logits(model: Any, ids: list[int]) -> np.ndarray:
    import torch

    with torch.inference_mode():
        return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].numpy()


def keep_from_choosing(model: Any) -> None:
    """Gives one expert no chance: it scores nothing, and two of the others are two more's opposites.

    Of each such pair one scores above nothing, so two experts always score higher.
    """
    weight = model.model.layers[0].router.proj.weight
    weight[NEVER] = 0.0
    weight[0], weight[1] = -weight[2], -weight[4]


def build(plan: Any, model: Any, folder: Path) -> Any:
    from gemcut.util.stage_clock import StageClock

    exporter = plan.runtime.exporter
    return exporter.build(plan.spec, model, folder, StageClock(Silent(), exporter.steps))


def test_an_expert_that_no_token_chose_is_not_computed(tmp_path: Path) -> None:
    """Its weights are NaN: had it been computed for any token, all of that token's logits would be."""
    import torch
    from gemcut.runtimes.executorch.runner import ExecuTorchRunner

    plan = plan_of(tmp_path, "float32")
    ids = np.random.default_rng(1).integers(3, 500, 30).tolist()
    whole, poisoned = load_uneven(plan.checkpoint), load_uneven(plan.checkpoint)
    chosen: set[int] = set()
    whole.model.layers[0].router.register_forward_hook(lambda _, __, out: chosen.update(out[2].reshape(-1).tolist()))
    with torch.no_grad():
        for model in (whole, poisoned):
            keep_from_choosing(model)
    wanted = logits(whole, ids)
    assert chosen == set(range(5)) - {NEVER}
    with torch.no_grad():
        poisoned.model.layers[0].experts.down_proj[NEVER] = float("nan")
    lowered = build(plan, poisoned, tmp_path)
    runner = ExecuTorchRunner(lowered.artifacts.path)
    assert np.abs(runner.prefill(ids[:13], 0) - wanted[12]).max() <= 1e-3
    for at in range(13, len(ids)):
        assert np.abs(runner.step(ids[at], at) - wanted[at]).max() <= 1e-3


def test_each_expert_is_quantized_as_a_matrix_of_its_own(tmp_path: Path) -> None:
    from gemcut.runtimes.executorch.runner import ExecuTorchRunner

    recipe = tmp_path / "experts.toml"
    recipe.write_text(RECIPE)
    plan = plan_of(tmp_path, str(recipe))
    ids = np.random.default_rng(1).integers(3, 500, 30).tolist()
    model = load_uneven(plan.checkpoint)
    wanted = logits(model, ids)
    lowered = build(plan, load_uneven(plan.checkpoint), tmp_path)
    assert lowered.quantized["experts"] == 2 * 5
    assert lowered.tensors["experts"] == 5 * (80 * 72 + 4 * 80 + 72 * 40 + 4 * 72)
    assert lowered.delegated_macs > 0.5
    runner = ExecuTorchRunner(lowered.artifacts.path)
    apart = np.abs(runner.prefill(ids, 0) - wanted[-1]).max()
    assert 0 < apart < 0.2 * wanted.std()
