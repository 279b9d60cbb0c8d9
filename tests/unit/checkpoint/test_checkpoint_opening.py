"""Opening a directory: what a checkpoint says of itself, and every way in which it can be wrong."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys

import pytest
from gemcut.checkpoint.opening import check_context, describe, open_checkpoint
from gemcut.errors import CheckpointError, UnsupportedError, UsageError

from tests.support.checkpoints import as_bytes


def refused(folder, message, kind=CheckpointError, code=3, **asked):
    with pytest.raises(kind, match=message) as caught:
        open_checkpoint(str(folder), **asked)
    assert caught.value.exit_code == code
    assert caught.value.hint
    return caught.value


def test_opened_checkpoint_says_what_it_is(pristine):
    folder = pristine("gemma4")
    checkpoint = open_checkpoint(str(folder))
    assert (checkpoint.name, checkpoint.path, checkpoint.source) == ("tiny-gemma4", folder, str(folder))
    assert checkpoint.revision is None
    assert checkpoint.config.model_type == "gemma4"
    assert checkpoint.text_config.model_type == "gemma4_text"
    assert checkpoint.text_config.num_kv_shared_layers == 3
    assert checkpoint.bos_id == checkpoint.tokenizer.convert_tokens_to_ids("<bos>") == 2
    assert checkpoint.stop_ids == (1, 6)
    assert checkpoint.generation == {"bos_token_id": 2, "eos_token_id": [1, 6]}


def test_hashes_are_of_every_source_file(fresh):
    folder = fresh()
    (folder / "notes.txt").write_text("not a source")
    hashes = open_checkpoint(str(folder)).hashes
    used = {path.name for path in folder.iterdir()} - {"notes.txt"}
    assert set(hashes) == used
    for name in used:
        assert hashes[name] == hashlib.sha256((folder / name).read_bytes()).hexdigest()


def test_import_is_light():
    code = "import sys, gemcut.checkpoint; print([m for m in ('torch','transformers','jinja2') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_stop_ids_are_those_of_generation_and_config_together(fresh, edit_json):
    folder = fresh()
    edit_json(folder / "generation_config.json", eos_token_id=[1, 50])
    edit_json(folder / "config.json", eos_token_id=106)
    # 6 is the template's <end_of_turn>.
    assert open_checkpoint(str(folder)).stop_ids == (1, 6, 50, 106)


def test_stop_ids_fall_back_to_the_tokenizer_with_a_note(fresh, edit_json):
    folder = fresh()
    (folder / "generation_config.json").unlink()
    edit_json(folder / "config.json", eos_token_id=None)
    checkpoint = open_checkpoint(str(folder))
    assert checkpoint.stop_ids == (1, 6)
    assert checkpoint.generation == {}
    said = [note for note in checkpoint.notes if "no eos_token_id names it" in note]
    assert ["<end_of_turn>" in note for note in said] == [True, False]
    assert "the tokenizer's end of sequence" in said[1]


@pytest.mark.parametrize("bad", [512, -1, "</s>", [1, 9999]])
def test_stop_id_outside_the_vocabulary_is_named(fresh, edit_json, bad):
    folder = fresh()
    edit_json(folder / "generation_config.json", eos_token_id=bad)
    refused(folder, r"eos_token_id .* is not an id in a vocabulary of 512")


def test_licence_is_read_and_never_guessed(fresh):
    folder = fresh()
    checkpoint = open_checkpoint(str(folder))
    assert checkpoint.licence.id == "unknown"
    assert any("states no licence; Gemma 3 itself" in note for note in checkpoint.notes)
    (folder / "README.md").write_text("---\nlicense: other\nlicense_name: my-terms\n---\n# A model\n")
    (folder / "LICENSE").write_text("Do as you like.\n")
    checkpoint = open_checkpoint(str(folder))
    assert (checkpoint.licence.id, checkpoint.licence.name) == ("other", "my-terms")
    assert checkpoint.licence.text == "Do as you like.\n"
    assert {"LICENSE", "README.md"} <= set(checkpoint.hashes)
    (folder / "README.md").write_text("---\nlicense: [\n---\n")
    assert any("front matter can't be read" in note for note in open_checkpoint(str(folder)).notes)


def test_description_needs_neither_weights_nor_tokenizer(pristine, tmp_path):
    shutil.copy(pristine("gemma4") / "config.json", tmp_path)
    described = describe(str(tmp_path))
    assert described.config.model_type == "gemma4"
    assert described.text_config.hidden_size == 64
    assert described.family.family == "Gemma 4"


def test_configuration_as_published_for_gemma3_4b_is_read(tmp_path):
    """Its text part states only what differs from the defaults, and rotary scaling in the older way."""
    text = {"hidden_size": 2560, "intermediate_size": 10240, "model_type": "gemma3_text", "num_hidden_layers": 34}
    text |= {"rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "sliding_window": 1024}
    vision = {"hidden_size": 1152, "image_size": 896, "intermediate_size": 4304, "model_type": "siglip_vision_model"}
    vision |= {"num_attention_heads": 16, "num_hidden_layers": 27, "patch_size": 14, "vision_use_head": False}
    whole = {"architectures": ["Gemma3ForConditionalGeneration"], "eos_token_id": [1, 106], "model_type": "gemma3"}
    (tmp_path / "config.json").write_text(json.dumps(whole | {"text_config": text, "vision_config": vision}))
    found = describe(str(tmp_path)).text_config
    assert (found.num_hidden_layers, found.sliding_window, found.vocab_size) == (34, 1024, 262208)
    assert found.layer_types.count("full_attention") == 5
    assert found.rope_parameters["full_attention"]["factor"] == 8.0
    assert found.rope_parameters["full_attention"]["rope_theta"] == 1_000_000
    assert found.rope_parameters["sliding_attention"]["rope_theta"] == 10_000


def test_whole_models_tying_holds_for_its_text_part(fresh, edit_json):
    folder = fresh("gemma3")
    edit_json(folder / "config.json", tie_word_embeddings=False)
    assert describe(str(folder)).text_config.tie_word_embeddings is False


@pytest.mark.parametrize("context", [31, 0, -5])
def test_context_too_short(pristine, context):
    with pytest.raises(UsageError, match=f"{context} tokens is too short") as caught:
        check_context(describe(str(pristine("gemma3_text"))), context)
    assert caught.value.exit_code == 2


def test_context_longer_than_the_models_names_both(pristine):
    described = describe(str(pristine("gemma3_text")))
    check_context(described, 256)
    check_context(described, 32)
    with pytest.raises(UsageError, match=r"257 tokens is longer than the model's 256") as caught:
        check_context(described, 257)
    assert "--context 256" in caught.value.hint


def test_directory_without_config(fresh):
    folder = fresh()
    (folder / "config.json").unlink()
    refused(folder, r"tiny-gemma3_text has no config\.json")
    (folder / "adapter_config.json").write_text("{}")
    assert "base model" in refused(folder, r"holds an adapter .* but no config\.json").hint


@pytest.mark.parametrize("model", ["./nowhere", "a/b/c", "nowhere", "~/no-such-place-at-all", "../x/y"])
def test_path_that_is_not_there_is_never_asked_of_the_hub(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(model, f"no such directory: {model}")


def test_file_instead_of_a_directory(fresh):
    refused(fresh() / "config.json", r"config\.json is a file, not a directory")


def test_directory_wins_over_a_hub_id_of_the_same_spelling(pristine, tmp_path, monkeypatch):
    shutil.copytree(pristine("gemma3_text"), tmp_path / "google" / "gemma-3-270m")
    monkeypatch.chdir(tmp_path)
    checkpoint = open_checkpoint("google/gemma-3-270m")
    assert (checkpoint.name, checkpoint.revision) == ("gemma-3-270m", None)
    assert checkpoint.path == tmp_path / "google" / "gemma-3-270m"


def test_snapshot_in_the_hubs_cache_has_its_models_name(pristine, tmp_path):
    place = tmp_path / "models--google--gemma-3-270m" / "snapshots" / ("a" * 40)
    shutil.copytree(pristine("gemma3_text"), place)
    checkpoint = open_checkpoint(str(place))
    assert (checkpoint.name, checkpoint.revision) == ("gemma-3-270m", "a" * 40)


def test_name_is_safe_for_files(pristine, tmp_path, monkeypatch):
    odd = tmp_path / "my model: v2 (best)"
    shutil.copytree(pristine("gemma3_text"), odd)
    monkeypatch.chdir(odd)
    assert open_checkpoint(".").name == "my-model-v2-best"


@pytest.mark.parametrize("content", ["{", "[]", "", '{"model_type": }'])
def test_config_that_is_no_json_object(fresh, content):
    folder = fresh()
    (folder / "config.json").write_text(content)
    refused(folder, r"config\.json (can't be read|is not a JSON object)")


def test_config_without_a_model_type(fresh, edit_json):
    folder = fresh()
    edit_json(folder / "config.json", model_type=None)
    assert "gemma3_text" in refused(folder, r"config\.json has no model_type").hint


def test_unknown_model_type_names_the_nearest(fresh, edit_json):
    folder = fresh()
    edit_json(folder / "config.json", model_type="gema3_text")
    refused(folder, r"unknown model_type 'gema3_text': did you mean 'gemma3_text'\?", UnsupportedError, 4)


@pytest.mark.parametrize("model_type", ["gemma4_assistant", "gemma4_unified_assistant"])
def test_families_to_come_are_refused_as_not_yet(fresh, edit_json, model_type):
    folder = fresh()
    edit_json(folder / "config.json", model_type=model_type)
    error = refused(folder, rf"model_type '{model_type}' .* is not supported yet", UnsupportedError, 4)
    assert all(name in error.hint for name in ("gemma3_text", "gemma2", "gemma3n", "gemma4", "llama"))


def test_embedding_model_is_refused(fresh, edit_json):
    folder = fresh()
    edit_json(folder / "config.json", use_bidirectional_attention=True)
    refused(folder, r"an embedding model \(use_bidirectional_attention\)", UnsupportedError, 4)


def test_text_part_of_another_family(fresh):
    folder = fresh("gemma3")
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["model_type"] = "llama"
    (folder / "config.json").write_text(json.dumps(config))
    refused(folder, r"the text part of a 'gemma3' model is 'gemma3_text', not 'llama'", UnsupportedError, 4)


@pytest.mark.parametrize(
    "changes",
    [{"hidden_size": "wide"}, {"num_attention_heads": 7}, {"layer_types": ["magic"] * 4}, {"num_hidden_layers": 9}],
)
def test_unsound_configuration_is_refused(fresh, edit_json, changes):
    folder = fresh()
    edit_json(folder / "config.json", **changes)
    refused(folder, r"config\.json|is missing")


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bitsandbytes"),
        ({"load_in_8bit": True}, "bitsandbytes"),
        ({"quant_method": "gptq", "bits": 4}, "gptq"),
        ({"quant_method": "awq"}, "awq"),
        ({"quant_method": "compressed-tensors"}, "compressed-tensors"),
        ({"quant_method": "torchao"}, "torchao"),
    ],
)
def test_quantized_checkpoint_is_refused_by_name(fresh, edit_json, settings, named):
    folder = as_bytes(fresh())
    edit_json(folder / "config.json", quantization_config=settings)
    error = refused(folder, rf"already quantized \({named}\)", UnsupportedError, 4)
    assert "float checkpoint" in error.hint


def test_quantization_of_the_text_part_alone_is_found(fresh):
    folder = as_bytes(fresh("gemma4"))
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["quantization_config"] = {"quant_method": "awq"}
    (folder / "config.json").write_text(json.dumps(config))
    refused(folder, r"already quantized \(awq\)", UnsupportedError, 4)


def test_missing_and_broken_tokenizer(fresh):
    folder = fresh()
    (folder / "tokenizer.json").write_text("{]")
    refused(folder, r"the tokenizer in .* can't be read")
    (folder / "tokenizer.json").unlink()
    refused(folder, r"has no tokenizer: no tokenizer\.json")


def add_tokens(folder, extra):
    """Adds (token, id) pairs to tokenizer.json as published checkpoints hold them."""
    state = json.loads((folder / "tokenizer.json").read_text())
    for token, index in extra:
        state["added_tokens"].append(
            {"id": index, "content": token, "special": True}
            | dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        )
    (folder / "tokenizer.json").write_text(json.dumps(state))


def test_tokenizer_with_more_tokens_than_the_embedding_has_rows(fresh):
    folder = fresh()
    add_tokens(folder, [("<extra_a>", 512), ("<extra_b>", 513)])
    refused(folder, r"2 of its tokens have no row in the embedding's 512, '<extra_a>' \(id 512\) first")


def test_one_image_token_more_is_allowed_and_noted_for_gemma3_text_alone(fresh):
    folder = fresh()
    add_tokens(folder, [("<image_soft_token>", 512)])
    notes = open_checkpoint(str(folder)).notes
    assert any("<image_soft_token>, id 512" in note and "as published" in note for note in notes)
    other = fresh("gemma4_text")
    add_tokens(other, [("<image_soft_token>", 512)])
    refused(other, r"'<image_soft_token>' \(id 512\) first")


def test_another_single_token_more_is_not_allowed(fresh):
    folder = fresh()
    add_tokens(folder, [("<thinking>", 512)])
    refused(folder, r"1 of its tokens have no row .*'<thinking>'")


def test_fewer_tokens_than_rows_are_noted(fresh):
    folder = fresh()
    state = json.loads((folder / "tokenizer.json").read_text())
    for name in [name for name, index in state["model"]["vocab"].items() if index >= 500]:
        del state["model"]["vocab"][name]
    (folder / "tokenizer.json").write_text(json.dumps(state))
    assert "the embedding has 12 rows more than the tokenizer has tokens" in open_checkpoint(str(folder)).notes


def test_code_in_the_checkpoint_is_never_run(fresh, edit_json, tmp_path):
    folder = fresh()
    mark = tmp_path / "ran"
    code = f"open({str(mark)!r}, 'w')\nfrom transformers import PreTrainedTokenizerFast as T, Gemma3TextConfig as C\n"
    (folder / "evil.py").write_text(code)
    edit_json(folder / "config.json", auto_map={"AutoConfig": "evil.C"})
    edit_json(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.T", "evil.T"]})
    open_checkpoint(str(folder))
    assert not mark.exists()
