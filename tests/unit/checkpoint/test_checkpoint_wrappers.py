"""Weights under the names that wrappers give them: read as the model's own, or refused by what they are."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from gemcut.checkpoint.mapped import map_float_model
from gemcut.checkpoint.opening import open_checkpoint
from gemcut.checkpoint.weights import load_float_model
from gemcut.errors import CheckpointError
from gemcut.util.file_tensors import Scratch

LAYER = re.compile(r"(layers\.\d+)\.")
WAYS: dict[str, Callable[[str], str]] = {
    "torch.compile": lambda name: f"_orig_mod.{name}",
    "DistributedDataParallel": lambda name: f"module.{name}",
    "both": lambda name: f"module._orig_mod.{name}",
    "Lightning": lambda name: f"model.{name}",
    "PEFT": lambda name: f"base_model.model.{name}",
    "TRL": lambda name: f"pretrained_model.{name}",
    "a compiled layer": lambda name: LAYER.sub(r"\1._orig_mod.", name),
    "checkpointed activations": lambda name: LAYER.sub(r"\1._checkpoint_wrapped_module.", name),
    "FSDP": lambda name: "_fsdp_wrapped_module." + LAYER.sub(r"\1._fsdp_wrapped_module.", name),
    "PEFT's layers": lambda name: "base_model.model." + name.replace("_proj.weight", "_proj.base_layer.weight"),
}


@pytest.mark.parametrize("family", ["gemma3_text", "llama", "gemma4"])
@pytest.mark.parametrize("way", WAYS)
def test_a_wrappers_names_are_read_as_the_models_own(
    family: str, way: str, fresh: Any, load_all: Any, save_single: Any, tmp_path: Path
) -> None:
    folder = fresh(family)
    plain = open_checkpoint(str(folder))
    right = load_float_model(plain).state_dict()
    tensors = load_all(folder)
    assert not [note for note in plain.notes if "wrapper" in note]
    save_single(folder, {WAYS[way](name): tensor for name, tensor in tensors.items()})
    found = open_checkpoint(str(folder))
    (note,) = (note for note in found.notes if "a wrapper's names" in note)
    assert set(found.notes) - {note} == set(plain.notes)
    for model in (load_float_model(found), map_float_model(found, Scratch(tmp_path))):
        state = model.state_dict()
        assert all(torch.equal(state[name].float(), tensor) for name, tensor in right.items())


@pytest.mark.parametrize("prefix", ["", "pretrained_model."])
def test_a_value_head_is_left_out_and_said(prefix: str, fresh: Any, load_all: Any, save_single: Any) -> None:
    folder = fresh("llama")
    tensors = {prefix + name: tensor for name, tensor in load_all(folder).items()}
    save_single(folder, tensors | {"v_head.summary.weight": torch.ones(1, 64), "v_head.summary.bias": torch.ones(1)})
    found = open_checkpoint(str(folder))
    assert any("2 tensors of a value head" in note for note in found.notes)
    assert load_float_model(found)(torch.tensor([[2, 3]])).logits.isfinite().all()


def test_two_tensors_of_one_name_are_refused(fresh: Any, load_all: Any, save_single: Any) -> None:
    folder = fresh()
    tensors = load_all(folder)
    name = "model.layers.1.mlp.up_proj.weight"
    save_single(folder, tensors | {f"_orig_mod.{name}": tensors[name] + 1})
    with pytest.raises(CheckpointError, match=f"are both '{name}'") as caught:
        open_checkpoint(str(folder))
    assert "save_pretrained" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("gone", "added", "hint"),
    [
        ("lm_head.weight", None, "saved without its head"),
        ("lm_head.weight", "score.weight", "a classifier"),
        ("model.norm.weight", None, "save both with save_pretrained"),
    ],
)
def test_what_lacks_is_explained_and_nobody_is_sent_for_a_whole_file_again(
    gone: str, added: str | None, hint: str, fresh: Any, load_all: Any, save_single: Any
) -> None:
    folder = fresh("llama")
    tensors = load_all(folder)
    del tensors[gone]
    save_single(folder, tensors | ({added: torch.ones(2, 64)} if added else {}))
    with pytest.raises(CheckpointError, match=f"'{gone}' is missing") as caught:
        open_checkpoint(str(folder))
    assert hint in str(caught.value.hint)
    assert "fetch" not in str(caught.value.hint)


def test_more_rows_than_config_json_says(fresh: Any, load_all: Any, save_single: Any) -> None:
    folder = fresh("gemma3_text")
    tensors = load_all(folder)
    name = "model.embed_tokens.weight"
    save_single(folder, tensors | {name: torch.cat([tensors[name], tensors[name][:3]])})
    with pytest.raises(CheckpointError, match=r"is \[515, 64\], but config.json makes it \[512, 64\]") as caught:
        open_checkpoint(str(folder))
    assert '"vocab_size": 515' in str(caught.value.hint)


def test_weights_of_another_size_are_not_taken_for_more_tokens(fresh: Any, load_all: Any, save_single: Any) -> None:
    folder = fresh("gemma3_text")
    tensors = load_all(folder)
    name = "model.embed_tokens.weight"
    save_single(folder, tensors | {name: torch.ones(512, 96)})
    with pytest.raises(CheckpointError, match=r"is \[512, 96\], but config.json makes it \[512, 64\]") as caught:
        open_checkpoint(str(folder))
    assert "aren't of one model" in str(caught.value.hint)
