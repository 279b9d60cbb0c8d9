"""Every family against transformers in float32, in ExecuTorch's own runtime, past three sliding windows.

What is found stands in a table that prints itself at the end of the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gemcut.compat.oldest import oldest_loading

from tests.support.executorch_programs import LENGTH, load_uneven, some_ids
from tests.support.families_cases import CASES, FEATURES, WINDOW
from tests.support.parity_table import ROWS, Row, noted

LIMIT = 1e-3
CONTEXT, CHUNK = 96, 8
# Uneven pieces: whole chunks, parts, single steps, across the ring's end and back.
PIECES = (8, 5, 1, 8, 8, 3, 1, 1, 8, 8, 8, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1)


def wanted_logits(model: Any, ids: list[int]) -> np.ndarray:
    import torch

    with torch.inference_mode():
        return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].numpy()


@pytest.fixture(scope="module", params=CASES)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def made(family: str, make: Callable[..., Any]) -> Any:
    return make(CASES[family](), context=CONTEXT, chunk=CHUNK)


@pytest.fixture(scope="module")
def row(family: str, made: Any) -> Row:
    lowered = made.lowered
    oldest = oldest_loading(made.program, (), ()) or "none known"
    found = Row(0, 0.0, 0, len(lowered.operators), lowered.delegates["XnnpackBackend"], made.seconds, oldest)
    return ROWS.setdefault(family, found)


@pytest.fixture(autouse=True)
def table(family: str, row: Row, request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    request.node.user_properties.append(noted(family, row))


def test_every_position_past_three_windows_in_uneven_pieces_and_two_conversations(made: Any, row: Row) -> None:
    from gemcut.runtimes.executorch.runner import ExecuTorchRunner as open_runner

    assert LENGTH > 3 * WINDOW
    assert sum(PIECES) <= LENGTH
    runner = open_runner(made.program)
    for seed in (1, 2):  # The second conversation starts in the cache that the first one left.
        ids = some_ids(seed)
        wanted = wanted_logits(made.float_model, ids)
        at = 0
        for piece in PIECES:
            got = runner.prefill(ids[at : at + piece], at) if piece > 1 else runner.step(ids[at], at)
            at += piece
            row.take(got, wanted[at - 1])
    assert row.worst <= LIMIT
    assert row.agreed == row.compared >= 2 * len(PIECES)


def test_every_position_one_by_one(made: Any, row: Row) -> None:
    from gemcut.runtimes.executorch.runner import ExecuTorchRunner as open_runner

    runner, ids = open_runner(made.program), some_ids(3)
    for at, (token, wanted) in enumerate(zip(ids, wanted_logits(made.float_model, ids), strict=True)):
        row.take(runner.step(token, at), wanted)
    assert row.worst <= LIMIT
    assert row.agreed == row.compared >= LENGTH


def test_the_random_model_can_tell_positions_apart(made: Any) -> None:
    """A mask or a rotary embedding that is wrong must show: the logits depend on what lies in the window."""
    ids = some_ids(4)
    other = [ids[0] + 1, *ids[1:]]
    near = np.abs(wanted_logits(made.float_model, ids) - wanted_logits(made.float_model, other))
    assert near[1:WINDOW].max() > 1e-2


def test_layers_cost_one_transformation_each_structure(made: Any) -> None:
    """Twins are lowered once: fewer partitions go through XNNPACK's passes than there are."""
    assert made.lowered.facts["partitions_shared"] > 0
    total = made.lowered.facts["partitions_transformed"] + made.lowered.facts["partitions_shared"]
    assert total == made.lowered.delegates["XnnpackBackend"]


def test_no_operator_of_our_own_is_left_in_the_program(made: Any) -> None:
    assert not [name for name in made.lowered.operators if name.startswith("gemcut::")]
    softcapped = getattr(made.plan.spec.config, "attn_logit_softcapping", None) is not None
    assert ("llama::custom_sdpa.out" in made.lowered.operators) != softcapped
    assert set(made.lowered.operators) < set(made.lowered.kernels)
    slow = {"aten::linear.out", "aten::mm.out", "aten::bmm.out", "aten::gelu.out", "aten::tanh.out", "aten::std.out"}
    assert not slow & set(made.lowered.operators)


def test_the_oldest_runtime_of_every_target_has_all_that_the_program_needs(made: Any) -> None:
    from gemcut.target import list_targets, load_target

    for name in list_targets():
        made.plan.runtime.exporter.check_release(made.lowered, load_target(name).oldest_runtime["executorch"])
    softcapped = getattr(made.plan.checkpoint.text_config, "attn_logit_softcapping", None)
    # Attention inside the delegate repeats keys and values for their queries: XNNCopy, which came with 1.1.
    assert oldest_loading(made.program, (), ()) == ("1.1.0" if softcapped else "1.0.1")


@pytest.mark.parametrize(("name", "feature"), [(name, feature) for name, all_ in FEATURES.items() for feature in all_])
def test_feature_matters_far_beyond_the_limit(name: str, feature: str, tmp_path: Path) -> None:
    """Else the comparison above would pass without it."""
    import torch
    from gemcut.checkpoint.opening import open_checkpoint
    from gemcut.checkpoint.random import random_checkpoint

    model = load_uneven(open_checkpoint(str(random_checkpoint(tmp_path, CASES[name](), seed=7))))
    ids = some_ids(1)
    whole = wanted_logits(model, ids)
    with torch.no_grad():
        FEATURES[name][feature](model)
    assert np.abs(wanted_logits(model, ids) - whole).max() > 20 * LIMIT
