"""The float reference: transformers' own logits and greedy replies, whatever they are batched with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest


@pytest.fixture(scope="module")
def model() -> Any:
    import torch
    from transformers import AutoModelForCausalLM, Gemma3TextConfig

    torch.manual_seed(5)
    config = Gemma3TextConfig(
        vocab_size=300, hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=1, head_dim=16, query_pre_attn_scalar=16, sliding_window=8,
        max_position_embeddings=128, layer_types=["sliding_attention", "full_attention", "sliding_attention"],
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


def greedy_one_by_one(model: Any, prompt: list[int], count: int) -> list[int]:
    import torch

    ids = list(prompt)
    with torch.inference_mode():
        for _ in range(count):
            ids.append(int(model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
    return ids[len(prompt) :]


def test_replies_in_one_batch_are_those_of_each_prompt_alone(model: Any) -> None:
    from gemcut.reference import TransformersReference

    draw = np.random.default_rng(0)
    prompts = [draw.integers(3, 300, n).tolist() for n in (5, 9, 10, 31, 6)]
    replies = TransformersReference(model).generate(prompts, 12, frozenset())
    assert replies == [greedy_one_by_one(model, prompt, 12) for prompt in prompts]


def test_a_reply_ends_with_its_first_stop_id_and_the_others_go_on(model: Any) -> None:
    from gemcut.reference import TransformersReference

    prompts = [[7, 8, 9, 10, 11], [20, 21, 22, 23]]
    long = [greedy_one_by_one(model, prompt, 12) for prompt in prompts]
    stop = frozenset({long[0][3]})
    wanted = [reply[: next((i for i, t in enumerate(reply) if t in stop), 11) + 1] for reply in long]
    assert TransformersReference(model).generate(prompts, 12, stop) == wanted
    assert wanted[0][-1] in stop


def test_logits_are_of_the_last_positions(model: Any) -> None:
    import torch
    from gemcut.reference import TransformersReference

    ids = list(range(3, 23))
    with torch.inference_mode():
        every = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].numpy()
    got = TransformersReference(model).logits(ids, 12)
    assert got.shape == (8, 300)
    assert np.abs(got - every[12:]).max() <= 1e-5
