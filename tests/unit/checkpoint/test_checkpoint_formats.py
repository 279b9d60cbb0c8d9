"""Checkpoints that are quantized already or in another layout: recognized by name, with what to take instead."""

from __future__ import annotations

import json
import re
import tomllib
from importlib import resources

import pytest
import torch
from gemcut.checkpoint.formats import original_of
from gemcut.checkpoint.opening import describe, open_checkpoint
from gemcut.checkpoint.weights import load_float_model
from gemcut.errors import CheckpointError, UnsupportedError

from tests.support.checkpoints import as_bytes

DATA = tomllib.loads(resources.files("gemcut.checkpoint").joinpath("formats.toml").read_text(encoding="utf-8"))


def refused(model, pattern):
    with pytest.raises(UnsupportedError, match=pattern) as caught:
        open_checkpoint(str(model))
    assert caught.value.exit_code == 4
    assert caught.value.hint
    return caught.value


def test_every_method_of_transformers_has_a_name():
    from transformers.utils.quantization_config import QuantizationMethod

    assert {method.value for method in QuantizationMethod} <= set(DATA["methods"]["titles"])


def test_every_fact_has_its_source():
    rows = [DATA["methods"], DATA["suffixes"]]
    for part in ("member", "side_file", "tensor", "architecture", "config", "files", "original"):
        rows += DATA[part]
    assert len(rows) > 40
    assert all(row["source"] for row in rows)


@pytest.mark.parametrize("method", sorted(DATA["methods"]["titles"]))
def test_method_in_the_configuration_is_named(fresh, edit_json, method):
    folder = as_bytes(fresh())
    edit_json(folder / "config.json", quantization_config={"quant_method": method, "bits": 4})
    error = refused(folder, r"config\.json: the checkpoint is already quantized \(")
    assert method in error.message.lower()
    with pytest.raises(UnsupportedError):  # and before a weight is fetched
        describe(str(folder))


@pytest.mark.parametrize("method", sorted(DATA["methods"]["titles"]))
def test_a_method_that_is_named_over_floats(fresh, edit_json, method):
    """What a merge of QLoRA leaves; a method that rounds floats as it runs is another matter."""
    folder = fresh()
    plain = open_checkpoint(str(folder))
    edit_json(folder / "config.json", quantization_config={"quant_method": method, "bits": 4})
    if method not in DATA["methods"]["leave_floats"]:
        refused(folder, "already quantized")
        return
    found = open_checkpoint(str(folder))
    (note,) = (note for note in found.notes if "every tensor is a float" in note)
    assert method in note.lower()
    assert describe(str(folder)).notes == (note,)
    assert not hasattr(found.config, "quantization_config")
    ids = torch.tensor([[2, 9, 8]])
    with torch.no_grad():
        assert torch.equal(load_float_model(found)(ids).logits, load_float_model(plain)(ids).logits)


def test_a_method_without_weights_to_look_at_is_believed(fresh, edit_json):
    folder = fresh()
    for file in folder.glob("*.safetensors*"):
        file.unlink()
    edit_json(folder / "config.json", quantization_config={"quant_method": "bitsandbytes"})
    with pytest.raises(UnsupportedError, match="already quantized"):
        describe(str(folder))


@pytest.mark.parametrize("row", DATA["architecture"], ids=lambda row: row["ends"])
def test_a_model_for_another_task_is_refused_by_its_right_name(fresh, edit_json, row):
    folder = fresh()
    edit_json(folder / "config.json", architectures=[f"Gemma3Text{row['ends']}"])
    error = refused(folder, f"describes {row['title']} .Gemma3Text{row['ends']}., which can't continue a text")
    assert "ForCausalLM" in error.hint
    with pytest.raises(UnsupportedError, match=row["title"]):
        describe(str(folder))


@pytest.mark.parametrize(("kind", "file"), [("MLX", None), *((row["title"], row["file"]) for row in DATA["side_file"])])
def test_other_statements_of_quantization_are_found(fresh, edit_json, kind, file):
    folder = fresh()
    if file is None:
        edit_json(folder / "config.json", quantization={"group_size": 64, "bits": 4})
    else:
        (folder / file).write_text("{}")
    refused(folder, rf"{file or 'config.json'}: the checkpoint is already quantized \(.*(?i:{kind})")


@pytest.mark.parametrize(("named", "suffix"), [(row["name"], end) for row in DATA["tensor"] for end in row["ends"]])
def test_quantized_tensors_are_known_where_nothing_else_says_so(fresh, load_all, save_single, named, suffix):
    folder = fresh()
    tensors = load_all(folder)
    stem = "model.layers.1.mlp.up" if suffix.startswith("_proj") else "model.layers.1.mlp.up_proj"
    tensors[stem + suffix] = torch.ones(4, 4, dtype=torch.uint8)
    save_single(folder, tensors)
    error = refused(folder, r"already quantized")
    assert stem + suffix in error.message
    assert named in error.message


def test_tensors_as_transformers_saves_them_in_fp8_are_known(fresh, load_all, save_single):
    folder = fresh()
    tensors = load_all(folder)
    name = "model.layers.0.self_attn.q_proj.weight"
    tensors[name] = tensors[name].to(torch.float8_e4m3fn)
    tensors[f"{name}_scale_inv"] = torch.ones(1, 1)
    save_single(folder, tensors)
    refused(folder, r"weight_scale_inv': the checkpoint is already quantized \(fp8\)")


FILES = {
    "consolidated.00.pth params.json tokenizer.model": "Meta's original Llama checkpoint",
    "gemma-2b-it.ckpt tokenizer.model": "Gemma's PyTorch checkpoint",
    "model.ckpt tokenizer.model": "Gemma's PyTorch checkpoint",
    "2b-it/manifest.ocdbt 2b-it/ocdbt.process_0/d/0a": "Gemma's Flax checkpoint",
    "model.weights.h5 task.json": "Keras",
    "tf_model.h5": "TensorFlow",
    "flax_model.msgpack": "Flax",
    "2b-it-sfp.sbs tokenizer.spm": "gemma.cpp",
    "gemma3-1b-it-int4.litertlm": "LiteRT-LM",
    "gemma3-1b-it-int4.task": "MediaPipe task",
    "model.tflite": "LiteRT",
    "gemma-2b-it-cpu-int4.bin": "MediaPipe's model file",
    "onnx/model_q4.onnx genai_config.json": "ONNX",
    "weights.00.npz": "MLX",
    "model-Q4_K_M.gguf": "GGUF, already quantized",
    "model.pte": "ExecuTorch",
    "openvino_model.xml openvino_model.bin": "OpenVINO",
    "__0_0.distcp .metadata": "distributed training checkpoint",
    "zero_to_fp32.py latest": "DeepSpeed",
}


@pytest.mark.parametrize("config", [True, False])
@pytest.mark.parametrize("files", sorted(FILES))
def test_other_formats_are_named(fresh, files, config):
    folder = fresh()
    for old in folder.glob("model*.safetensors*"):
        old.unlink()
    if not config:
        (folder / "config.json").unlink()
    for name in files.split():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    error = refused(folder, re.escape(FILES[files]))
    assert files.split()[0].rpartition("/")[2][:6] in error.message or "manifest" in files


def test_files_of_other_formats_beside_the_weights_are_no_hindrance(fresh):
    folder = fresh()
    for name in ("model.onnx", "consolidated.00.pth", "params.json", "model-q4.gguf", "zero_to_fp32.py"):
        (folder / name).write_bytes(b"x")
    open_checkpoint(str(folder))


def test_configuration_of_keras_is_named(fresh):
    folder = fresh()
    keras = {"module": "keras_hub.src.models.gemma", "class_name": "GemmaBackbone", "config": {"vocabulary_size": 8}}
    (folder / "config.json").write_text(json.dumps(keras))
    refused(folder, r"config\.json belongs to Keras")


@pytest.mark.parametrize("name", ["model-q4_0.gguf", "gemma3-1b.task", "gemma3-1b.litertlm", "model.onnx"])
def test_file_instead_of_a_directory_is_named_too(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    refused(tmp_path / name, re.escape(name))
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(CheckpointError, match="is a file, not a directory"):
        open_checkpoint(str(tmp_path / "notes.txt"))


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("google/gemma-3-4b-it-qat-q4_0-gguf", "use google/gemma-3-4b-it-qat-q4_0-unquantized (trained for 4 bits"),
        ("google/gemma-2b-it-pytorch", "use google/gemma-2b-it"),
        ("google/gemma-2b-it-tflite@main", "use google/gemma-2b-it"),
        ("google/gemma-1.1-7b-it-keras", "use google/gemma-1.1-7b-it"),
        ("google/gemma-2-9b-flax", "use google/gemma-2-9b"),
        ("google/gemma-3n-E2B-it-litert-preview", "use google/gemma-3n-E2B-it"),
        ("meta-llama/Llama-2-7b-chat", "use meta-llama/Llama-2-7b-chat-hf (Meta publishes"),
        ("meta-llama/Llama-2-13b", "use meta-llama/Llama-2-13b-hf (Meta publishes"),
        ("llama-2-7b", "use meta-llama/Llama-2-7b-hf"),
        ("TheBloke/Llama-2-7B-Chat-GPTQ", "most likely named Llama-2-7B-Chat,"),
        ("unsloth/gemma-3-1b-it-unsloth-bnb-4bit", "most likely named gemma-3-1b-it,"),
        ("mlx-community/gemma-3-1b-it-4bit", "most likely named gemma-3-1b-it,"),
        ("someone/tuned", "use the float checkpoint that it was made from, in"),
    ],
)
def test_original_is_named_by_the_name(source, said):
    found = original_of(source, None)
    assert found.startswith(said) or ("most likely" in said and said in found)


def test_original_is_named_by_the_model_card(fresh, edit_json):
    folder = as_bytes(fresh())
    (folder / "README.md").write_text("---\nbase_model:\n- org/the-original\nbase_model_relation: quantized\n---\n")
    edit_json(folder / "config.json", quantization_config={"quant_method": "gptq"})
    assert "use org/the-original, which its model card names" in refused(folder, r"\(gptq\)").hint


@pytest.mark.parametrize("kind", ["sentence_transformers.models.Pooling", "my_package.Pooling"])
def test_an_embedding_model_under_its_familys_name_is_refused_as_what_it_is(fresh, kind):
    folder = fresh()
    modules = [{"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"}]
    (folder / "modules.json").write_text(json.dumps(modules))
    open_checkpoint(str(folder))
    (folder / "modules.json").write_text(json.dumps([*modules, {"idx": 1, "path": "1_Pooling", "type": kind}]))
    with pytest.raises(UnsupportedError, match=r"embedding model.* can't continue a text"):
        open_checkpoint(str(folder))
    with pytest.raises(UnsupportedError, match="embedding model"):
        describe(str(folder))
