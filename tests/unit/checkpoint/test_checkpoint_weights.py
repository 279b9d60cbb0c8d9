"""The float model of the text part: the same numbers as transformers, or an error that names the tensor."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
import torch
from gemcut.checkpoint.opening import open_checkpoint
from gemcut.checkpoint.weights import load_float_model
from gemcut.errors import CheckpointError, UnsupportedError

IDS = torch.tensor([[2, 17, 300, 44, 5, 401, 402, 9, 17, 23, 60, 61, 62, 63, 64, 65, 66, 67, 300, 12]])


def logits(model):
    with torch.no_grad():
        return model(input_ids=IDS).logits[0]


def oracle(folder):
    """transformers' own loading of the whole checkpoint, multimodal ones through their text path."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    return type(model).__name__, logits(model)


def renamed(tensors, pairs):
    """The tensors with the first matching prefix of each name replaced."""

    def rename(name):
        for old, new in pairs:
            if name.startswith(old):
                return new + name.removeprefix(old)
        return name

    return {rename(name): tensor for name, tensor in tensors.items()}


@pytest.mark.parametrize(
    ("model_type", "whole", "text"),
    [
        ("gemma3_text", "Gemma3ForCausalLM", "Gemma3ForCausalLM"),
        ("gemma4_text", "Gemma4ForCausalLM", "Gemma4ForCausalLM"),
        ("gemma3", "Gemma3ForConditionalGeneration", "Gemma3ForCausalLM"),
        ("gemma4", "Gemma4ForConditionalGeneration", "Gemma4ForCausalLM"),
    ],
)
def test_text_part_of_a_sharded_checkpoint_gives_the_logits_of_transformers(pristine, model_type, whole, text):
    checkpoint = open_checkpoint(str(pristine(model_type)))
    model = load_float_model(checkpoint)
    name, expected = oracle(pristine(model_type))
    assert (name, type(model).__name__) == (whole, text)
    assert len(checkpoint.tensors.shards) > 2
    assert expected.std() > 1
    torch.testing.assert_close(logits(model), expected, rtol=0, atol=1e-5)
    assert model.lm_head.weight.data_ptr() == model.model.embed_tokens.weight.data_ptr()
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_buffers_are_those_that_transformers_loads(pristine):
    from transformers import AutoModelForCausalLM

    for model_type in ("gemma3_text", "gemma4_text"):
        ours = load_float_model(open_checkpoint(str(pristine(model_type))))
        theirs = AutoModelForCausalLM.from_pretrained(pristine(model_type), dtype=torch.float32)
        expected = dict(theirs.named_buffers())
        assert {name for name, _ in ours.named_buffers()} == set(expected)
        for name, buffer in ours.named_buffers():
            assert torch.equal(buffer, expected[name]), name


@pytest.mark.parametrize(
    "pairs",
    [
        pytest.param([("model.language_model.", "language_model.model."), ("model.", "")], id="first-published"),
        pytest.param([("model.", "")], id="without-head"),
    ],
)
@pytest.mark.parametrize("model_type", ["gemma3", "gemma4"])
def test_older_names_of_a_multimodal_checkpoint_give_the_same_logits(fresh, load_all, save_single, model_type, pairs):
    folder = fresh(model_type)
    expected = logits(load_float_model(open_checkpoint(str(folder))))
    save_single(folder, renamed(load_all(folder), pairs))
    checkpoint = open_checkpoint(str(folder))
    assert "language_model.model.embed_tokens.weight" in checkpoint.tensors or len(pairs) == 1
    assert torch.equal(logits(load_float_model(checkpoint)), expected)
    assert any("left out: text only" in note for note in checkpoint.notes)


@pytest.mark.parametrize("model_type", ["gemma3", "gemma4"])
def test_multimodal_checkpoint_saved_by_transformers_opens(pristine, tmp_path, model_type):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(pristine(model_type), dtype=torch.bfloat16)
    model.save_pretrained(tmp_path, max_shard_size="50KB")
    AutoTokenizer.from_pretrained(pristine(model_type)).save_pretrained(tmp_path)
    checkpoint = open_checkpoint(str(tmp_path))
    torch.testing.assert_close(logits(load_float_model(checkpoint)), oracle(tmp_path)[1], rtol=0, atol=1e-5)


def test_untied_head_is_loaded_as_its_own(fresh, load_all, save_single, edit_json):
    folder = fresh()
    tensors = load_all(folder)
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].flip(0).contiguous()
    save_single(folder, tensors)
    edit_json(folder / "config.json", tie_word_embeddings=False)
    model = load_float_model(open_checkpoint(str(folder)))
    assert torch.equal(model.lm_head.weight, tensors["lm_head.weight"].float())
    assert torch.equal(logits(model), oracle(folder)[1])


def test_tied_head_may_be_stored_twice_but_must_be_the_embedding(fresh, load_all, save_single):
    folder = fresh()
    tensors = load_all(folder)
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    save_single(folder, tensors)
    load_float_model(open_checkpoint(str(folder)))
    tensors["lm_head.weight"][300, 3] += 1
    save_single(folder, tensors)
    with pytest.raises(
        CheckpointError, match=r"'lm_head\.weight' differs from 'model\.embed_tokens\.weight'"
    ) as caught:
        load_float_model(open_checkpoint(str(folder)))
    assert caught.value.exit_code == 3
    assert "tie_word_embeddings" in caught.value.hint


def test_key_and_value_weights_of_shared_layers_are_left_out_as_published(fresh, load_all, save_single):
    folder = fresh("gemma4_text")
    expected = logits(load_float_model(open_checkpoint(str(folder))))
    tensors = load_all(folder)
    for part in ("k_proj", "v_proj", "k_norm"):
        tensors[f"model.layers.4.self_attn.{part}.weight"] = torch.ones(16, 64, dtype=torch.bfloat16)
    save_single(folder, tensors)
    checkpoint = open_checkpoint(str(folder))
    assert any(note.startswith("3 key and value tensors") for note in checkpoint.notes)
    assert torch.equal(logits(load_float_model(checkpoint)), expected)


def test_other_float_dtypes_load_and_can_be_asked_for(fresh, load_all, save_single):
    folder = fresh()
    tensors = {name: tensor.half() for name, tensor in load_all(folder).items()}
    save_single(folder, tensors)
    model = load_float_model(open_checkpoint(str(folder)), torch.bfloat16)
    assert model.model.norm.weight.dtype == torch.bfloat16
    assert torch.equal(model.model.norm.weight, tensors["model.norm.weight"].bfloat16())


def test_missing_tensor_is_named_with_the_nearest(fresh, load_all, save_single):
    folder = fresh()
    tensors = load_all(folder)
    tensors["model.layers.2.mlp.up_project.weight"] = tensors.pop("model.layers.2.mlp.up_proj.weight")
    save_single(folder, tensors)
    message = r"'model\.layers\.2\.mlp\.up_proj\.weight' is missing; .*'model\.layers\.2\.mlp\.up_project\.weight'"
    with pytest.raises(CheckpointError, match=message) as caught:
        open_checkpoint(str(folder))
    assert caught.value.exit_code == 3


def test_missing_layer_scalar_of_gemma4_is_named(fresh, load_all, save_single):
    folder = fresh("gemma4_text")
    tensors = load_all(folder)
    del tensors["model.layers.5.layer_scalar"]
    save_single(folder, tensors)
    with pytest.raises(CheckpointError, match=r"'model\.layers\.5\.layer_scalar' is missing"):
        open_checkpoint(str(folder))


def test_checkpoint_without_an_embedding_says_what_it_looked_for(fresh, load_all, save_single):
    folder = fresh()
    tensors = load_all(folder)
    save_single(folder, {name.replace("embed_tokens", "wte"): tensor for name, tensor in tensors.items()})
    with pytest.raises(CheckpointError, match=r"no embedding .* 'model\.embed_tokens\.weight'"):
        open_checkpoint(str(folder))


@pytest.mark.parametrize(
    ("extra", "hint"),
    [
        ("model.layers.0.self_attn.q_proj.bias", "save both with save_pretrained"),
        ("model.layers.9.mlp.up_proj.weight", "save both with save_pretrained"),
        ("score.weight", "This is a classifier"),
        ("model.layers.0.self_attn.q_proj.lora_A.weight", "--adapter"),
    ],
)
def test_unexpected_text_tensor_is_named(fresh, load_all, save_single, extra, hint):
    folder = fresh()
    save_single(folder, load_all(folder) | {extra: torch.ones(64)})
    with pytest.raises(CheckpointError, match=f"unexpected tensor '{re.escape(extra)}'; the nearest") as caught:
        open_checkpoint(str(folder))
    assert caught.value.exit_code == 3
    assert hint in caught.value.hint


def test_shared_names_are_unexpected_in_layers_that_share_nothing(fresh, load_all, save_single):
    folder = fresh("gemma4_text")
    save_single(folder, load_all(folder) | {"model.layers.1.self_attn.v_norm.weight": torch.ones(16)})
    with pytest.raises(CheckpointError, match=r"unexpected tensor 'model\.layers\.1\.self_attn\.v_norm"):
        open_checkpoint(str(folder))


def test_shape_that_disagrees_with_the_config_is_given_with_both(fresh, edit_json):
    folder = fresh()
    edit_json(folder / "config.json", intermediate_size=80)
    with pytest.raises(CheckpointError, match=r"mlp\.\w+_proj\.weight' is \[\d+, \d+\].*makes it") as caught:
        open_checkpoint(str(folder))
    assert "96" in str(caught.value)
    assert "80" in str(caught.value)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_tensor_that_is_not_finite_is_named(fresh, load_all, save_single, bad):
    folder = fresh()
    tensors = load_all(folder)
    tensors["model.layers.1.self_attn.k_norm.weight"][5] = bad
    save_single(folder, tensors)
    checkpoint = open_checkpoint(str(folder))
    with pytest.raises(CheckpointError, match=r"'model\.layers\.1\.self_attn\.k_norm\.weight' holds NaN or inf"):
        load_float_model(checkpoint)


@pytest.mark.parametrize(("dtype", "name"), [(torch.int8, "I8"), (torch.float8_e4m3fn, "F8_E4M3")])
def test_tensor_that_is_no_float_is_refused(fresh, load_all, save_single, dtype, name):
    folder = fresh()
    tensors = load_all(folder)
    tensors["model.layers.0.mlp.gate_proj.weight"] = tensors["model.layers.0.mlp.gate_proj.weight"].to(dtype)
    save_single(folder, tensors)
    with pytest.raises(UnsupportedError, match=rf"gate_proj\.weight' is {name}, not a float") as caught:
        open_checkpoint(str(folder))
    assert caught.value.exit_code == 4


PEAK = """
import sys, threading, psutil
from gemcut.checkpoint import load_float_model, open_checkpoint
load_float_model(open_checkpoint(sys.argv[1]))
process, done, seen = psutil.Process(), threading.Event(), []
def watch():
    while not done.wait(0.002):
        seen.append(process.memory_info().rss)
before = process.memory_info().rss
watcher = threading.Thread(target=watch)
watcher.start()
model = load_float_model(open_checkpoint(sys.argv[2]))
done.set()
watcher.join()
print((max(seen) - before) / sum(4 * p.numel() for p in model.parameters()))
"""


def test_loading_takes_one_float_model_of_memory_and_no_second_copy(pristine, make_config, tmp_path):
    from gemcut.checkpoint.random import random_checkpoint

    config = make_config("gemma3_text", hidden_size=512, intermediate_size=2048, num_hidden_layers=14, layer_types=None)
    folder = random_checkpoint(tmp_path / "larger", config)
    command = [sys.executable, "-c", PEAK, str(pristine("gemma3_text")), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert 0.8 < float(done.stdout) < 1.2
