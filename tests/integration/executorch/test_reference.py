"""The float reference: transformers' own logits and greedy replies, whatever they are batched with."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from gemcut.reference.greedy import Decoded, DecodeRequest, Sink


@pytest.fixture(scope="module")
def model() -> Any:
    import torch
    from transformers import AutoModelForCausalLM, Gemma3TextConfig

    torch.manual_seed(5)
    config = Gemma3TextConfig(
        vocab_size=300,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=1,
        head_dim=16,
        query_pre_attn_scalar=16,
        sliding_window=8,
        max_position_embeddings=128,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
    )
    model = AutoModelForCausalLM.from_config(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


def followed(model: Any, asks: list[DecodeRequest], stop: frozenset[int]) -> tuple[list[Decoded], list[dict[int, Any]]]:
    """All prompts side by side, and the logits that each was given, by position."""
    from gemcut.reference.transformers_model import TransformersReference

    rows: list[dict[int, Any]] = [{} for _ in asks]

    def sink(given: dict[int, Any]) -> Sink:
        return lambda position, logits: given.update({position + at: row.copy() for at, row in enumerate(logits)})

    return TransformersReference(model).decode(asks, stop, [sink(given) for given in rows]), rows


def greedy_one_by_one(model: Any, prompt: list[int], count: int) -> list[int]:
    import torch

    ids = list(prompt)
    with torch.inference_mode():
        for _ in range(count):
            ids.append(int(model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
    return ids[len(prompt) :]


def test_replies_side_by_side_are_those_of_each_prompt_alone(model: Any) -> None:
    draw = np.random.default_rng(0)
    prompts = [draw.integers(3, 300, n).tolist() for n in (5, 9, 10, 31, 6)]
    found, _ = followed(model, [DecodeRequest(tuple(prompt), 12) for prompt in prompts], frozenset())
    assert [list(one.reply) for one in found] == [greedy_one_by_one(model, prompt, 12) for prompt in prompts]


def test_a_reply_ends_with_its_first_stop_id_and_the_others_go_on(model: Any) -> None:
    prompts = [[7, 8, 9, 10, 11], [20, 21, 22, 23]]
    long = [greedy_one_by_one(model, prompt, 12) for prompt in prompts]
    stop = frozenset({long[0][3]})
    wanted = [reply[: next((i for i, t in enumerate(reply) if t in stop), 11) + 1] for reply in long]
    found, _ = followed(model, [DecodeRequest(tuple(prompt), 12) for prompt in prompts], stop)
    assert [list(one.reply) for one in found] == wanted
    assert wanted[0][-1] in stop


def test_what_is_scored_goes_on_past_a_short_reply(model: Any) -> None:
    asks = [DecodeRequest((7, 8, 9, 10, 11), 3, scored=20), DecodeRequest(tuple(range(20, 60)), 3, scored=20)]
    found, rows = followed(model, asks, frozenset())
    assert [(len(one.reply), len(one.ids)) for one in found] == [(3, 21), (3, 43)]
    assert [ask.start for ask in asks] == [0, 20]
    for ask, one, given in zip(asks, found, rows, strict=True):
        assert sorted(given) == list(range(ask.start, len(one.ids) - 1))
        assert list(one.ids[len(ask.ids) :]) == greedy_one_by_one(model, list(ask.ids), len(one.ids) - len(ask.ids))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_cached_logits_side_by_side_are_those_without_a_cache(model: Any, dtype: str, monkeypatch: Any) -> None:
    """Also where a large vocabulary has the prompts' logits made a few at a time."""
    import torch
    from gemcut.reference import lockstep as together
    from gemcut.reference.transformers_model import TransformersReference

    stored = copy.deepcopy(model)
    for parameter in stored.parameters():
        if parameter.dim() == 2:
            parameter.data = parameter.data.to(getattr(torch, dtype))
    monkeypatch.setattr(together, "MOST", 4 * 300 * 30)
    draw = np.random.default_rng(1)
    asks = [DecodeRequest(tuple(draw.integers(3, 300, n).tolist()), 12, scored=16) for n in (5, 9, 33, 40)]
    found, rows = followed(stored, asks, frozenset())
    for one, given in zip(found, rows, strict=True):
        alone = TransformersReference(stored).logits(one.ids)
        assert max(np.abs(alone[at] - row).max() for at, row in given.items()) <= 1e-5


def test_an_error_in_one_prompt_ends_all_and_leaves_the_model_as_it_was(model: Any) -> None:
    from gemcut.reference.transformers_model import TransformersReference

    def full(position: int, rows: Any) -> None:
        raise OSError("the disk is full")

    asks = [DecodeRequest((7, 8, 9), 4), DecodeRequest((20, 21), 4)]
    with pytest.raises(OSError, match="disk is full"):
        TransformersReference(model).decode(asks, frozenset(), [lambda position, rows: None, full])
    assert not any("forward" in vars(module) for module in model.modules())
    assert followed(model, asks, frozenset())[0][0].reply == tuple(greedy_one_by_one(model, [7, 8, 9], 4))


def test_prompts_whose_caches_do_not_fit_run_in_several_groups(model: Any, monkeypatch: Any) -> None:
    from gemcut.reference import transformers_model as reference

    asks = [DecodeRequest(tuple(range(3, 3 + n)), 6) for n in (9, 5, 20, 7)]
    together, _ = followed(model, asks, frozenset())
    monkeypatch.setattr(reference, "CACHES", 0)
    monkeypatch.setattr(reference, "CACHES_OF_PARAMETER", 0.05)
    apart, _ = followed(model, asks, frozenset())
    assert [one.reply for one in apart] == [one.reply for one in together]


def test_logits_are_of_the_last_positions(model: Any) -> None:
    import torch
    from gemcut.reference.transformers_model import TransformersReference

    ids = list(range(3, 23))
    with torch.inference_mode():
        every = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].numpy()
    got = TransformersReference(model).logits(ids, 12)
    assert got.shape == (8, 300)
    assert np.abs(got - every[12:]).max() <= 1e-5
