"""The float model over mapped files computes what the float32 model in memory does, to the bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from gemcut.checkpoint.mapped import map_float_model
from gemcut.checkpoint.opening import open_checkpoint
from gemcut.checkpoint.weights import load_float_model
from gemcut.errors import CheckpointError
from gemcut.reference.greedy import DecodeRequest
from gemcut.reference.transformers_model import TransformersReference
from gemcut.util.file_tensors import Scratch

FAMILIES = ["llama", "gemma", "gemma2", "gemma3_text", "gemma3n_text", "gemma4_text"]
FAMILIES += ["gemma4_unified_text", "gemma4_moe"]


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiny matrices are split as large ones are."""
    monkeypatch.setattr("gemcut.reference.upcast.PIECE", 1 << 13)


@pytest.mark.parametrize("model_type", FAMILIES)
def test_logits_and_replies_are_those_of_the_float32_model(pristine, tmp_path, model_type):
    checkpoint = open_checkpoint(str(pristine(model_type)))
    mapped = map_float_model(checkpoint, Scratch(tmp_path))
    stored = {p.dtype for p in mapped.parameters() if p.dim() > 1}
    assert stored == {torch.bfloat16}, "matrices are as the checkpoint has them"
    whole = load_float_model(checkpoint)
    whole.set_experts_implementation("eager")  # experts' sums in the same order
    ours, theirs = TransformersReference(mapped), TransformersReference(whole)
    ids = [int(i) for i in np.random.default_rng(3).integers(3, ours.vocab_size, 40)]
    assert np.array_equal(ours.logits(ids, 5), theirs.logits(ids, 5))
    asks = [DecodeRequest(tuple(part), 12) for part in (ids[:9], ids[4:11], ids[:30])]
    sinks = [lambda position, rows: None] * 3
    assert ours.decode(asks, frozenset(), sinks) == theirs.decode(asks, frozenset(), sinks)
    assert {p.dtype for p in mapped.parameters() if p.dim() > 1} == stored, "what was float32 in use is as it was"
    buffers = dict(load_float_model(checkpoint).named_buffers())
    for name, buffer in mapped.named_buffers():
        assert torch.equal(buffer, buffers[name]), name


def test_matrices_lie_in_the_files(pristine, tmp_path):
    checkpoint = open_checkpoint(str(pristine("gemma4_text")))
    model = map_float_model(checkpoint, Scratch(tmp_path))
    spans = _mapped_from(checkpoint.path)
    for name, parameter in model.named_parameters():
        at = parameter.data_ptr()
        inside = any(first <= at < last for first, last in spans)
        assert inside == (parameter.dim() > 1), name


def _mapped_from(folder: Path) -> list[tuple[int, int]]:
    spans = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        if line.endswith(".safetensors") and str(folder) in line:
            first, last = line.split()[0].split("-")
            spans.append((int(first, 16), int(last, 16)))
    return spans


def test_a_weight_that_is_no_number_is_refused(fresh, load_all, save_single, tmp_path):
    folder = fresh("gemma3_text")
    tensors = load_all(folder)
    name = "model.layers.1.mlp.up_proj.weight"
    tensors[name][-1, -1] = float("nan")
    save_single(folder, tensors)
    with pytest.raises(CheckpointError, match=name):
        map_float_model(open_checkpoint(str(folder)), Scratch(tmp_path))
