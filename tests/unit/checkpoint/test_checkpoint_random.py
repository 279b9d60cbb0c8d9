"""Random checkpoints: deterministic, whatever the shards; usable at any shape."""

from __future__ import annotations

import hashlib
import json

import pytest
import torch
from gemcut.checkpoint.opening import open_checkpoint
from gemcut.checkpoint.random import random_checkpoint
from gemcut.checkpoint.weights import load_float_model
from gemcut.errors import UsageError


def digests(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_same_seed_gives_the_same_bytes_and_another_seed_others(make_config, tmp_path):
    config = make_config("gemma4_text")
    first = digests(random_checkpoint(tmp_path / "a", config))
    assert digests(random_checkpoint(tmp_path / "b", config)) == first
    other = digests(random_checkpoint(tmp_path / "c", config, seed=1))
    assert {name for name in first if first[name] != other[name]} == {"model.safetensors"}


def test_weights_do_not_depend_on_the_shards(make_config, tmp_path, load_all):
    config = make_config("gemma3_text")
    whole = load_all(random_checkpoint(tmp_path / "a", config))
    parts = load_all(random_checkpoint(tmp_path / "b", config, max_shard_size=30_000))
    assert len(list((tmp_path / "b").glob("model-*.safetensors"))) > 5
    assert set(whole) == set(parts)
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


@pytest.mark.parametrize("model_type", ["gemma3_text", "gemma4_text"])
def test_logits_are_spread_and_depend_on_the_context(pristine, model_type):
    model = load_float_model(open_checkpoint(str(pristine(model_type))))
    ids = torch.tensor([[2, 40, 300, 41, 7, 300], [2, 99, 260, 12, 8, 300]])
    with torch.no_grad():
        last = model(input_ids=ids).logits[:, -1]
    assert 1.5 < last.std() < 6
    assert (last[0] - last[1]).abs().mean() > 0.5


def test_every_id_of_the_vocabulary_has_a_name_and_text_goes_round(pristine):
    tokenizer = open_checkpoint(str(pristine("gemma3_text"))).tokenizer
    assert sorted(tokenizer.get_vocab().values()) == list(range(512))
    for text in ("hello there", "naïve 東京 😀", "a  b\n\nc", "<unused3> stays text"):
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert tokenizer.decode(ids) == text
        assert max(ids) < 380


def test_tokenizer_of_another_directory_is_padded_to_the_vocabulary(pristine, make_config, tmp_path):
    source = pristine("gemma3_text")
    config = make_config("gemma3_text", vocab_size=3000)
    folder = random_checkpoint(tmp_path / "a", config, tokenizer_from=source)
    checkpoint = open_checkpoint(str(folder))
    assert len(checkpoint.tokenizer) == 3000
    small = open_checkpoint(str(source)).tokenizer
    assert checkpoint.tokenizer.encode("hello 😀") == small.encode("hello 😀")


def test_vocabulary_too_small_and_directory_without_a_tokenizer(make_config, tmp_path):
    with pytest.raises(UsageError, match="a vocabulary of 128 is too small"):
        random_checkpoint(tmp_path / "a", make_config("gemma3_text", vocab_size=128))
    with pytest.raises(UsageError, match=r"lacks one of tokenizer\.json"):
        random_checkpoint(tmp_path / "b", make_config("gemma3_text"), tokenizer_from=tmp_path)


def test_config_states_the_turn_ends_and_the_dtype(pristine):
    config = json.loads((pristine("gemma3") / "config.json").read_text())
    assert config["architectures"] == ["Gemma3ForConditionalGeneration"]
    assert config["dtype"] == "bfloat16"
    assert config["eos_token_id"] == [1, 6]


def test_vocabulary_with_room_takes_the_samples_tokenizer_and_template(make_config, tmp_path):
    folder = random_checkpoint(tmp_path / "a", make_config("gemma3_text", vocab_size=4096))
    checkpoint = open_checkpoint(str(folder))
    turn_end = checkpoint.tokenizer.convert_tokens_to_ids("<turn|>")
    assert checkpoint.stop_ids == (checkpoint.tokenizer.eos_token_id, turn_end)
    assert "<|turn>" in checkpoint.chat_template
    assert len(checkpoint.tokenizer) == 4096
