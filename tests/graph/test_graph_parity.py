"""Every family against transformers in float32, in ExecuTorch's own runtime, past three sliding windows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

WINDOW, CONTEXT, CHUNK, LENGTH = 16, 96, 8, 70
LOCAL, FULL = "sliding_attention", "full_attention"
# Uneven pieces: whole chunks, parts, single steps, across the ring's end and back.
PIECES = (8, 5, 1, 8, 8, 3, 1, 1, 8, 8, 8, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1)


def gemma3(**changes: Any) -> Any:
    from transformers import Gemma3TextConfig

    settings: dict[str, Any] = {
        "vocab_size": 500, "hidden_size": 72, "intermediate_size": 104, "num_hidden_layers": 4,
        "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 24, "query_pre_attn_scalar": 20,
        "sliding_window": WINDOW, "layer_types": [LOCAL, LOCAL, FULL, LOCAL], "max_position_embeddings": 256,
    }  # fmt: skip
    return Gemma3TextConfig(**settings | changes)


def gemma4(**changes: Any) -> Any:
    from transformers import Gemma4TextConfig

    settings: dict[str, Any] = {
        "vocab_size": 500, "vocab_size_per_layer_input": 500, "hidden_size": 72, "intermediate_size": 104,
        "num_hidden_layers": 7, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 24,
        "global_head_dim": 40, "sliding_window": WINDOW, "hidden_size_per_layer_input": 12,
        "num_kv_shared_layers": 3, "use_double_wide_mlp": True, "final_logit_softcapping": 30.0,
        "layer_types": [LOCAL, LOCAL, FULL, LOCAL, LOCAL, LOCAL, FULL], "max_position_embeddings": 256,
    }  # fmt: skip
    return Gemma4TextConfig(**settings | changes)


def gemma3_4b() -> Any:
    """As the 4B has it: linear rotary scaling by 8 in full layers."""
    return gemma3(
        rope_parameters={
            FULL: {"rope_type": "linear", "factor": 8.0, "rope_theta": 1_000_000.0},
            LOCAL: {"rope_type": "default", "rope_theta": 10_000.0},
        }
    )


def gemma4_dense() -> Any:
    """As the 31B has it: no per-layer embeddings, no KV sharing, V from K in full layers, own KV heads there."""
    return gemma4(
        num_hidden_layers=4,
        hidden_size_per_layer_input=0,
        num_kv_shared_layers=0,
        use_double_wide_mlp=False,
        attention_k_eq_v=True,
        num_global_key_value_heads=1,
        layer_types=[LOCAL, LOCAL, LOCAL, FULL],
    )


def wanted_logits(model: Any, ids: list[int]) -> np.ndarray:
    import torch

    with torch.inference_mode():
        return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].numpy()


def some_ids(seed: int, vocabulary: int = 500) -> list[int]:
    return np.random.default_rng(seed).integers(3, vocabulary, LENGTH).tolist()


@pytest.fixture(scope="module", params=[gemma3, gemma3_4b, gemma4, gemma4_dense], ids=lambda f: f.__name__)
def made(request: pytest.FixtureRequest, make: Callable[..., Any]) -> Any:
    return make(request.param(), context=CONTEXT, chunk=CHUNK)


def test_every_position_past_three_windows_in_uneven_pieces_and_two_conversations(made: Any) -> None:
    from gemcut.runtimes.executorch import open_runner

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
            assert np.abs(got - wanted[at - 1]).max() <= 1e-3
            assert got.argmax() == wanted[at - 1].argmax()


def test_every_position_one_by_one(made: Any) -> None:
    from gemcut.runtimes.executorch import open_runner

    runner, ids = open_runner(made.program), some_ids(3)
    wanted = wanted_logits(made.float_model, ids)
    got = np.stack([runner.step(token, at) for at, token in enumerate(ids)])
    assert np.abs(got - wanted).max() <= 1e-3
    assert (got.argmax(-1) == wanted.argmax(-1)).all()


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
    assert "llama::custom_sdpa.out" in made.lowered.operators
    assert set(made.lowered.operators) < set(made.lowered.kernels)
    assert not {"aten::linear.out", "aten::mm.out", "aten::mean.out", "aten::gelu.out"} & set(made.lowered.operators)


def test_the_oldest_runtime_of_every_target_has_all_that_the_program_needs(made: Any) -> None:
    from gemcut.target import list_targets, load_target

    for name in list_targets():
        made.plan.runtime.refuse_lacking(made.lowered, load_target(name).oldest_runtime["executorch"])
    assert made.plan.runtime.oldest_with(made.lowered.kernels, made.lowered.delegates) == "1.0.1"
