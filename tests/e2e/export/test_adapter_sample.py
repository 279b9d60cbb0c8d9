"""The adapter that ships with the sample: its data, its size, and what it learned."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

from gemcut.checkpoint.adapters.adapter_config import read_config
from gemcut.prompt.toolcalls import parse_tool_calls
from gemcut.prove.prompt_file import load_prompts
from gemcut.sample import adapter_path, sample_path
from gemcut.sample.adapter_requests import DIARY, MAKERS, TOOLS
from gemcut.sample.evaluate import load, score_model
from gemcut.sample.generate import PHONE, expected_reply, golden_chats, held_out_calls, is_held_out, training_chats
from gemcut.sample.train_adapter import Settings, add_lora, save_adapter

ROOT = Path(__file__).resolve().parents[3]


def test_its_actions_are_others_than_the_models_and_all_are_asked_for() -> None:
    assert set(TOOLS) == set(MAKERS)
    assert not set(TOOLS) & set(PHONE.tools)
    asked = [parse_tool_calls(expected_reply(chat))[-1].name for chat in held_out_calls(300, actions=DIARY)]
    assert set(asked) == set(TOOLS)


def test_no_held_out_request_is_trained_on_and_the_same_seed_gives_the_same_chats() -> None:
    trained = {
        m["content"] for chat in islice(training_chats(3, DIARY), 800) for m in chat["messages"] if m["role"] == "user"
    }
    assert not any(is_held_out(text) for text in trained)
    assert held_out_calls(20, actions=DIARY) == held_out_calls(20, actions=DIARY)
    assert held_out_calls(20, actions=DIARY) != held_out_calls(20)


def test_every_call_is_declared_and_has_the_declared_arguments() -> None:
    for chat in held_out_calls(200, actions=DIARY):
        (call,) = parse_tool_calls(expected_reply(chat))
        declared = {tool["function"]["name"]: tool["function"]["parameters"] for tool in chat["tools"]}
        assert set(call.arguments) == set(declared[call.name]["required"])
        kinds = {"string": str, "integer": int, "boolean": bool}
        for key, value in call.arguments.items():
            assert type(value) is kinds[declared[call.name]["properties"][key]["type"]]


def test_what_the_trainer_computes_is_what_an_export_merges(tmp_path: Path) -> None:
    import torch

    model, _ = load(sample_path())
    settings = Settings(out=tmp_path)
    layers = add_lora(model, settings.rank, settings.alpha / settings.rank)
    torch.manual_seed(1)
    with torch.no_grad():
        for layer in layers.values():
            layer.lora_A.copy_(layer.lora_A.bfloat16().float())  # as it is saved
            layer.lora_B.copy_((torch.randn_like(layer.lora_B) * 0.05).bfloat16().float())
    save_adapter(layers, settings)
    merged, tokenizer = load(sample_path(), tmp_path)
    ids = torch.tensor([tokenizer.encode("wake me at half past six")])
    with torch.no_grad():
        wanted = model(input_ids=ids).logits
        torch.testing.assert_close(merged(input_ids=ids).logits, wanted, rtol=0, atol=1e-4)
    assert len(layers) == 38


def test_the_packaged_one_is_small_whole_and_has_its_own_prompts() -> None:
    folder = adapter_path()
    assert sum(path.stat().st_size for path in folder.iterdir()) < 300_000
    assert {path.name for path in folder.iterdir()} == {
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "golden_prompts.jsonl",
    }
    assert read_config(folder).kind == "LoRA"
    prompts = load_prompts(folder / "golden_prompts.jsonl")
    wanted = golden_chats(len(prompts), actions=DIARY)
    assert [list(prompt.messages) for prompt in prompts] == [json.loads(json.dumps(one["messages"])) for one in wanted]
    assert len(prompts) == 24


def test_it_learned_its_actions_which_the_model_alone_does_not_know() -> None:
    # The trainer measured 43 of 50 and 47 of 50 (86% and 94%) on other chats: two standard errors below those, and what
    # the model does alone is to be less than half of it.
    chats = held_out_calls(60, actions=DIARY)
    alone = score_model(*load(sample_path()), chats).percent
    model, tokenizer = load(sample_path(), adapter_path())
    learned = score_model(model, tokenizer, chats).percent
    assert learned >= 76
    assert alone < learned / 2
    assert score_model(model, tokenizer, held_out_calls(60)).percent >= 87  # and didn't forget the model's
