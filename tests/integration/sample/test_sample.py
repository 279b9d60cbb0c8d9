"""The sample model: its chats, its tokenizer in both forms, its template, its weights."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import pytest
import sentencepiece
import torch
import transformers
from gemcut.prompt.toolcalls import ToolCall, parse_tool_calls
from gemcut.sample import sample_path
from gemcut.sample.gemma_calls import format_tool_call
from gemcut.sample.generate import expected_reply, golden_chats, held_out_calls, is_held_out, training_chats
from gemcut.sample.phone_tools import TOOLS

ODD = "abc XYZ  ΑβγдЖ漢字かなأبت हिन्दी 🎉👩‍👩‍👧é\u0301\n\t\r'\".,:{}[]_0123456789\u00a0\u200d<>|\\/-"


def users(chat: dict[str, Any]) -> list[str]:
    """What the user says in a chat."""
    return [message["content"] for message in chat["messages"] if message["role"] == "user"]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """The packaged tokenizer as transformers loads it."""
    return transformers.AutoTokenizer.from_pretrained(str(sample_path()))


@pytest.fixture(scope="module")
def strings() -> list[str]:
    """Thousands of strings without markers: what is said in chats, and noise in several scripts."""
    said = [text for chat in islice(training_chats(5), 1500) for text in users(chat)]
    rng = Random(0)
    noise = ["".join(rng.choice(ODD) for _ in range(rng.randint(1, 40))) for _ in range(2500)]
    edges = ["  two  spaces   three ", "\n\n\t x\r\n", "time:{type:", "naïve café", "", "   ", "12345 6.7", "<turn"]
    return said + noise + edges


def test_generator_gives_the_same_chats_again() -> None:
    assert list(islice(training_chats(3), 50)) == list(islice(training_chats(3), 50))
    assert list(islice(training_chats(3), 50)) != list(islice(training_chats(4), 50))
    assert held_out_calls(20) == held_out_calls(20)
    assert golden_chats(20) == golden_chats(20)


def test_nothing_held_out_is_trained_on() -> None:
    trained = {text for chat in islice(training_chats(), 3000) for text in users(chat)}
    assert not any(is_held_out(text) for text in trained)
    held = [text for chat in held_out_calls(300) for text in users(chat)]
    assert all(is_held_out(text) for text in held)
    assert not trained & set(held)
    assert is_held_out(held[0]) == is_held_out(held[0].upper() + ".")


def test_chats_use_every_tool_and_every_call_is_declared() -> None:
    called = set()
    for chat in [*islice(training_chats(), 800), *held_out_calls(100)]:
        declared = {tool["function"]["name"]: tool["function"]["parameters"] for tool in chat["tools"]}
        assert len(declared) <= 4
        for message in chat["messages"]:
            for call in message.get("tool_calls", []):
                name, arguments = call["function"]["name"], call["function"]["arguments"]
                called.add(name)
                assert set(arguments) == set(declared[name]["required"])
    assert called == set(TOOLS)


def test_goldens_are_mostly_calls_and_never_show_the_answer() -> None:
    goldens = golden_chats(48)
    calls = [golden for golden in goldens if golden["expected"].get("calls")]
    assert all(set(golden["expected"]) in ({"calls"}, {"text"}) for golden in goldens)
    assert 30 <= len(calls) < 48
    assert all(golden["messages"][-1]["role"] in ("user", "tool") for golden in goldens)
    assert sum(bool(golden["tools"]) for golden in goldens) > 40


def test_both_tokenizers_agree(tokenizer: Any, strings: list[str]) -> None:
    trained = sentencepiece.SentencePieceProcessor(model_file=str(sample_path() / "tokenizer.model"))
    assert trained.get_piece_size() == len(tokenizer)
    for index in range(len(tokenizer)):
        assert trained.id_to_piece(index) == tokenizer.convert_ids_to_tokens(index)
    for text in strings:
        ids = tokenizer(text, add_special_tokens=False).input_ids
        assert ids == trained.encode(text)
        assert tokenizer.decode(ids) == text


def test_the_phone_side_tokenizers_agree(tokenizer: Any, strings: list[str]) -> None:
    import pytorch_tokenizers as cpp

    fast, piece = cpp.CppHFTokenizer(), cpp.CppSPTokenizer()
    fast.load(str(sample_path() / "tokenizer.json"))
    piece.load(str(sample_path() / "tokenizer.model"))
    assert (fast.bos_tok(), fast.eos_tok()) == (2, 1)
    for text in strings:
        ids = tokenizer(text, add_special_tokens=False).input_ids
        assert fast.encode(text, 0, 0) == ids
        assert piece.encode(text, 0, 0) == ids
    for chat in held_out_calls(30):
        rendered = tokenizer.apply_chat_template(chat["messages"], tools=chat["tools"], tokenize=False)
        assert fast.encode(rendered, 0, 0) == tokenizer(rendered, add_special_tokens=False).input_ids


def test_one_beginning_of_sequence_either_way(tokenizer: Any) -> None:
    assert tokenizer("hello").input_ids.count(tokenizer.bos_token_id) == 1
    for chat in held_out_calls(20):
        asked, options = chat["messages"][:-1], {"tools": chat["tools"], "add_generation_prompt": True}
        rendered = tokenizer.apply_chat_template(asked, tokenize=False, **options)
        ids = tokenizer.apply_chat_template(asked, tokenize=True, return_dict=False, **options)
        assert ids == tokenizer(rendered, add_special_tokens=False).input_ids
        assert ids.count(tokenizer.bos_token_id) == 1
        assert rendered.endswith("<|turn>model\n")


def test_template_renders_what_parses_back(tokenizer: Any) -> None:
    for chat in held_out_calls(60):
        rendered = tokenizer.apply_chat_template(chat["messages"], tools=chat["tools"], tokenize=False)
        wanted = parse_tool_calls(expected_reply(chat))
        assert rendered.endswith(f"<|turn>model\n{expected_reply(chat)}<turn|>\n")
        assert parse_tool_calls(rendered)[-1:] == wanted
        assert rendered.count("<|tool>declaration:") == len(chat["tools"])


def test_template_renders_results_and_extends_its_own_prefix(tokenizer: Any) -> None:
    call = {"name": "set_timer", "arguments": {"minutes": 5}}
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": "timer for five minutes"},
        {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": call}]},
        {"role": "tool", "content": {"status": "ok", "left": [1, None], "deep": {"on": True}}},
        {"role": "assistant", "content": "Done."},
    ]
    whole = tokenizer.apply_chat_template(messages, tokenize=False)
    result = 'response:set_timer{deep:{on:true},left:[1,null],status:<|"|>ok<|"|>}'
    assert f"<|tool_response>{result}<tool_response|>" in whole
    for count in (1, 2, 3):
        part = tokenizer.apply_chat_template(messages[:count], tokenize=False)
        assert whole.startswith(part)
    text = tokenizer.apply_chat_template([*messages[:2], {"role": "tool", "content": "fine"}], tokenize=False)
    assert 'response:set_timer{value:<|"|>fine<|"|>}' in text


def test_calls_survive_writing_and_reading() -> None:
    values = {"text": "it's {here}, at 5: [ok]", "n": -3, "x": 1.5, "on": False, "l": [1, "two"], "o": {}}
    call = ToolCall("a_b", values)
    assert parse_tool_calls(f"Well. {format_tool_call(call)}{format_tool_call(call)} Bye.") == [call, call]
    assert parse_tool_calls("no call at all") == []


@pytest.mark.parametrize(
    "text",
    [
        "<|tool_call>call:f{}",
        "call:f{}<tool_call|>",
        "<|tool_call>f{}<tool_call|>",
        "<|tool_call>call:{}<tool_call|>",
        '<|tool_call>call:f{a:<|"|>x}<tool_call|>',
        "<|tool_call>call:f{a:maybe}<tool_call|>",
        "<|tool_call>call:f{a:1,a:2}<tool_call|>",
        "<|tool_call>call:f{a:1}x<tool_call|>",
        "<|tool_call>call:f{a:1",
        "<|tool_call>call:f{a}<tool_call|>",
    ],
)
def test_malformed_calls_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="malformed tool call"):
        parse_tool_calls(text)


def test_files_are_small_and_the_features_are_there() -> None:
    from safetensors import safe_open

    folder = sample_path()
    config = json.loads((folder / "config.json").read_text())
    assert config["model_type"] == "gemma4_text"
    assert config["architectures"] == ["Gemma4ForCausalLM"]
    shared = config["num_kv_shared_layers"]
    assert shared >= 2
    assert config["use_double_wide_mlp"]
    assert config["tie_word_embeddings"]
    assert config["global_head_dim"] != config["head_dim"]
    assert (
        set(config["layer_types"][:-shared])
        == set(config["layer_types"][-shared:])
        == {
            "sliding_attention",
            "full_attention",
        }
    )
    assert config["rope_parameters"]["full_attention"]["rope_type"] == "proportional"
    assert config["final_logit_softcapping"] == 30.0
    assert (folder / "model.safetensors").stat().st_size <= 16 * 2**20
    with safe_open(str(folder / "model.safetensors"), framework="pt") as weights:
        tensors = {name: weights.get_tensor(name) for name in weights.keys()}  # noqa: SIM118
    assert 2e6 <= sum(tensor.numel() for tensor in tensors.values()) <= 8e6
    assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16}
    assert "model.embed_tokens_per_layer.weight" in tensors
    assert "lm_head.weight" not in tensors
    for name, tensor in tensors.items():
        assert torch.isfinite(tensor).all()
        if tensor.dim() == 2:
            assert tensor.shape[1] % 32 == 0, name
    ends = json.loads((folder / "generation_config.json").read_text())["eos_token_id"]
    assert ends == config["eos_token_id"] == [1, 6]


def test_weights_have_no_outliers_that_four_bits_cannot_hold() -> None:
    from safetensors.torch import load_file

    for name, tensor in load_file(str(sample_path() / "model.safetensors")).items():
        if tensor.dim() == 2 and "embed" not in name:
            values = tensor.float()
            assert values.abs().max() < 30 * values.std(), name


def test_held_out_calls_are_right() -> None:
    from gemcut.sample.evaluate import load, score_model

    score = score_model(*load(sample_path()), held_out_calls(100))
    assert score.percent >= 95.0, score.misses[:5]


def test_any_generator_can_be_scored(tokenizer: Any) -> None:
    from gemcut.sample.evaluate import prompt_of, score_callable

    chats = held_out_calls(6)
    answers = {
        tuple(prompt_of(tokenizer, chat)): tokenizer(expected_reply(chat), add_special_tokens=False).input_ids
        for chat in chats
    }
    assert score_callable(lambda ids: [*answers[tuple(ids)], 6, 6], tokenizer, chats).percent == 100.0
    assert score_callable(lambda ids: [], tokenizer, chats).exact == 0


def test_three_steps_of_training(tmp_path: Path, tokenizer: Any, capsys: pytest.CaptureFixture[str]) -> None:
    from gemcut.sample.train import main

    threads = torch.get_num_threads()
    try:
        arguments = ["--steps", "3", "--batch", "4", "--no-compile", "--check-every", "0", "--threads", "1"]
        assert main(["--out", str(tmp_path), *arguments]) == 0
    finally:
        torch.set_num_threads(threads)
    assert "trained on" in capsys.readouterr().out
    for name in ("config.json", "generation_config.json", "tokenizer_config.json", "chat_template.jinja"):
        assert (tmp_path / name).read_bytes() == (sample_path() / name).read_bytes()
    again = transformers.AutoTokenizer.from_pretrained(str(tmp_path))
    assert again.get_vocab() == tokenizer.get_vocab()
    model = transformers.AutoModelForCausalLM.from_pretrained(str(tmp_path), dtype=torch.float32)
    assert torch.isfinite(model(torch.tensor([[2, 5, 14]])).logits).all()
