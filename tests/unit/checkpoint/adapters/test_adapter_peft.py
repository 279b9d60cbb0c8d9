"""A merge of ours is PEFT's own, to float32 rounding: per kind of adapter, and per family."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from gemcut.checkpoint.mapped import map_float_model
from gemcut.checkpoint.opening import describe, open_checkpoint
from gemcut.checkpoint.random import random_checkpoint
from gemcut.checkpoint.weights import load_float_model
from gemcut.errors import CheckpointError
from gemcut.estimate.overview import _adapted
from gemcut.util.file_tensors import Scratch
from safetensors.torch import load_file, save_file

from tests.support.adapters import CONFIGS, LINEARS, base_model

IDS = torch.tensor([[2, 17, 300, 44, 5, 401, 402, 9, 17, 23, 60, 61, 62, 63]])
BOTH = [*LINEARS, "embed_tokens", "lm_head"]
BIASED = {"attention_bias": True, "mlp_bias": True}
WEIGHTS = "adapter_model.safetensors"

KINDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "lora": ({}, {}),
    "rslora": ({"use_rslora": True}, {}),
    "dora": ({"use_dora": True}, {}),
    "rsdora": ({"use_dora": True, "use_rslora": True}, {}),
    "ranks of their own": (
        {
            "rank_pattern": {"layers.1.self_attn.q_proj": 2, "down_proj": 7, r"layers\.[23]\.self_attn\.v_proj": 3},
            "alpha_pattern": {"o_proj": 3, "layers.1.self_attn.q_proj": 11},
            "use_rslora": True,
        },
        {},
    ),
    "fan_in_fan_out": ({"fan_in_fan_out": True}, {}),
    "embedding and head": ({"target_modules": BOTH}, {}),
    "embedding and head, dora": ({"target_modules": BOTH, "use_dora": True}, {}),
    "modules_to_save": ({"modules_to_save": ["lm_head", "embed_tokens", "input_layernorm"]}, {}),
    "bias all": ({"bias": "all"}, BIASED),
    "bias lora_only": ({"bias": "lora_only"}, BIASED),
    "lora_bias": ({"lora_bias": True}, BIASED),
    "eva": ({"init_lora_weights": "eva"}, {}),
    "a regular expression of modules": ({"target_modules": r".*\.layers\.[02]\.(self_attn\.q|mlp\.down)_proj"}, {}),
    "layers_to_transform": ({"layers_to_transform": [1, 3]}, {}),
}
CHANGED = {"a regular expression of modules": 4, "layers_to_transform": 10}  # parameters, at least; else 20


def compare(base: Path, adapter: Path, wanted: Any, least: int) -> Any:
    """Ours against PEFT's, parameter by parameter; at least so many must differ from the base. Returns ours."""
    ours = load_float_model(open_checkpoint(str(base), adapter=adapter))
    before = load_float_model(open_checkpoint(str(base))).state_dict()
    theirs = wanted.state_dict()
    changed = 0
    for name, weight in ours.state_dict().items():
        other = theirs[name if name in theirs else name.replace("model.", "model.language_model.", 1)]
        torch.testing.assert_close(weight, other, rtol=2e-6, atol=2e-6, msg=lambda said, name=name: f"{name}: {said}")
        changed += not torch.equal(weight, before[name])
    assert changed >= least
    return ours


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_merged_as_peft_merges_it(
    kind: str, tmp_path: Path, make_adapter: Callable[..., Path], peft_merge: Callable[..., Any]
) -> None:
    options, changes = KINDS[kind]
    base = random_checkpoint(tmp_path / "base", CONFIGS["llama"](**changes), max_shard_size=100_000)
    adapter = make_adapter(base, **options)
    if kind == "eva":  # which starts from the data; what is saved is plain LoRA
        assert json.loads((adapter / "adapter_config.json").read_text())["init_lora_weights"] == "eva"
    wanted = peft_merge(base, adapter)
    ours = compare(base, adapter, wanted, CHANGED.get(kind, 20))
    with torch.no_grad():
        torch.testing.assert_close(ours(input_ids=IDS).logits, wanted(input_ids=IDS).logits, rtol=0, atol=1e-4)


@pytest.mark.parametrize("family", [name for name in CONFIGS if name not in ("llama", "gemma4", "gemma4_unified")])
@pytest.mark.parametrize("dora", [False, True], ids=["lora", "dora"])
def test_every_family_is_merged_as_peft_merges_it(
    family: str,
    dora: bool,
    pristine: Callable[[str], Path],
    make_adapter: Callable[..., Path],
    peft_merge: Callable[..., Any],
) -> None:
    base = pristine(family)
    adapter = make_adapter(base, use_dora=dora)
    compare(base, adapter, peft_merge(base, adapter), 16)


def test_of_a_multimodal_adapter_the_text_part_is_merged(
    pristine: Callable[[str], Path], make_adapter: Callable[..., Path], peft_merge: Callable[..., Any]
) -> None:
    base = pristine("gemma4")
    adapter = make_adapter(base, target_modules="all-linear")
    compare(base, adapter, peft_merge(base, adapter), 40)
    notes = open_checkpoint(str(base), adapter=adapter).notes
    assert any("46 of the adapter's tensors are of parts that the text model doesn't have" in note for note in notes)


@pytest.mark.parametrize("dora", [False, True], ids=["lora", "dora"])
def test_a_tied_embedding_changes_with_its_head(
    dora: bool, pristine: Callable[[str], Path], make_adapter: Callable[..., Path], peft_merge: Callable[..., Any]
) -> None:
    base = pristine("gemma3_text")
    adapter = make_adapter(base, target_modules=[*LINEARS, "embed_tokens"], use_dora=dora)
    ours = compare(base, adapter, peft_merge(base, adapter), 22)
    assert ours.lm_head.weight.data_ptr() == ours.model.embed_tokens.weight.data_ptr()
    assert any("and with it the head" in note for note in open_checkpoint(str(base), adapter=adapter).notes)


def test_a_tied_embedding_that_was_trained_whole_and_tied_is_taken(
    pristine: Callable[[str], Path], make_adapter: Callable[..., Path], peft_merge: Callable[..., Any]
) -> None:
    base = pristine("gemma3_text")
    adapter = make_adapter(base, modules_to_save=["embed_tokens"], ensure_weight_tying=True)
    compare(base, adapter, peft_merge(base, adapter), 22)


@pytest.mark.parametrize("saved", [["embed_tokens"], ["lm_head"], ["embed_tokens", "lm_head"]])
@pytest.mark.parametrize("family", ["gemma3_text", "gemma3"])
def test_a_head_that_was_trained_apart_from_a_tied_embedding_becomes_one_of_its_own(
    family: str,
    saved: list[str],
    pristine: Callable[[str], Path],
    make_adapter: Callable[..., Path],
    peft_merge: Callable[..., Any],
    tmp_path: Path,
) -> None:
    base = pristine(family)
    adapter = make_adapter(base, modules_to_save=saved)
    ours = compare(base, adapter, peft_merge(base, adapter), 20 + len(saved))
    assert not torch.equal(ours.lm_head.weight, ours.model.embed_tokens.weight)
    checkpoint = open_checkpoint(str(base), adapter=adapter)
    assert checkpoint.text_config.tie_word_embeddings is False
    assert any("a head apart from the embedding" in note for note in checkpoint.notes)
    mapped = map_float_model(checkpoint, Scratch(tmp_path)).state_dict()
    for name, weight in ours.state_dict().items():
        assert torch.equal(mapped[name].float(), weight), name


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
def test_adapters_in_half_precision_are_merged_in_float32(
    dtype: torch.dtype,
    pristine: Callable[[str], Path],
    make_adapter: Callable[..., Path],
    peft_merge: Callable[..., Any],
) -> None:
    base = pristine("gemma3_text")
    adapter = make_adapter(base)
    halves = {name: tensor.to(dtype) for name, tensor in load_file(adapter / WEIGHTS).items()}
    save_file(halves, adapter / WEIGHTS, metadata={"format": "pt"})
    compare(base, adapter, peft_merge(base, adapter), 20)


@pytest.mark.parametrize(
    ("family", "prefix"),
    [
        ("gemma3", "model."),
        ("gemma3", "language_model.model."),
        ("gemma3_text", "model.language_model."),
        ("gemma3_text", "language_model."),
        ("gemma4_text", "language_model.model."),
    ],
)
def test_names_of_older_and_newer_transformers_and_of_other_wrappers_mean_the_same(
    family: str, prefix: str, pristine: Callable[[str], Path], make_adapter: Callable[..., Path], tmp_path: Path
) -> None:
    base, text = pristine(family), pristine({"gemma3": "gemma3_text"}.get(family, family))
    adapter = make_adapter(text)
    wanted = load_float_model(open_checkpoint(str(text), adapter=adapter)).state_dict()
    if base != text:  # the same weights under the other model's names
        plain = load_float_model(open_checkpoint(str(base))).state_dict()
        before = load_float_model(open_checkpoint(str(text))).state_dict()
        wanted = {name: plain[name] + (weight - before[name]) for name, weight in wanted.items()}
    start = "base_model.model."
    renamed = {
        name.replace(f"{start}model.", start + prefix).replace(".weight", ".default.weight"): tensor
        for name, tensor in load_file(adapter / WEIGHTS).items()
    }
    save_file(renamed, adapter / WEIGHTS, metadata={"format": "pt"})
    found = load_float_model(open_checkpoint(str(base), adapter=adapter)).state_dict()
    for name, weight in found.items():
        torch.testing.assert_close(weight, wanted[name], rtol=1e-5, atol=1e-5)


def test_older_keys_of_shared_layers_are_left_out(
    pristine: Callable[[str], Path], make_adapter: Callable[..., Path]
) -> None:
    base = pristine("gemma4_text")
    adapter = make_adapter(base)
    wanted = load_float_model(open_checkpoint(str(base), adapter=adapter)).state_dict()
    start = "base_model.model.model.layers.5.self_attn.k_proj.lora_"
    tensors = load_file(adapter / WEIGHTS)
    assert f"{start}A.weight" not in tensors
    more = {f"{start}A.weight": torch.ones(4, 64), f"{start}B.weight": torch.ones(32, 4)}
    save_file(tensors | more, adapter / WEIGHTS, metadata={"format": "pt"})
    checkpoint = open_checkpoint(str(base), adapter=adapter)
    for name, weight in load_float_model(checkpoint).state_dict().items():
        assert torch.equal(weight, wanted[name])
    assert any("2 of the adapter's tensors" in note for note in checkpoint.notes)


def test_the_mapped_model_is_merged_too_and_only_what_is_touched_leaves_the_files(
    pristine: Callable[[str], Path], make_adapter: Callable[..., Path], tmp_path: Path
) -> None:
    base = pristine("gemma4_text")
    adapter = make_adapter(base, target_modules=["q_proj"])
    checkpoint = open_checkpoint(str(base), adapter=adapter)
    wanted = load_float_model(checkpoint).state_dict()
    for name, weight in map_float_model(checkpoint, Scratch(tmp_path)).state_dict().items():
        assert torch.equal(weight.float(), wanted[name])
        touched = name.endswith("q_proj.weight")
        assert (weight.dtype == torch.float32) == (touched or weight.dim() < 2)


def test_the_base_is_not_written_to(pristine: Callable[[str], Path], make_adapter: Callable[..., Path]) -> None:
    base = pristine("gemma3_text")
    adapter = make_adapter(base, use_dora=True)
    checkpoint = open_checkpoint(str(base), adapter=adapter)
    name = "model.layers.0.self_attn.q_proj.weight"
    before = open_checkpoint(str(base)).tensors.get(name)
    first = checkpoint.tensors.get(name)
    assert torch.equal(first, checkpoint.tensors.get(name))
    assert not torch.equal(first, before.float())
    assert torch.equal(open_checkpoint(str(base)).tensors.get(name), before)
    assert first.dtype == torch.float32
    assert before.dtype == torch.bfloat16
    assert torch.equal(base_model(base).state_dict()[name], before.float())


def grown(base: Path) -> Any:
    """The base model with eight more tokens."""
    model = base_model(base)
    model.resize_token_embeddings(520)
    return model


def test_added_tokens_without_a_head_for_them_are_refused(
    pristine: Callable[[str], Path], make_adapter: Callable[..., Path]
) -> None:
    base = pristine("llama")
    adapter = make_adapter(base, model=grown(base), target_modules=[*LINEARS, "embed_tokens"])
    assert not any("lm_head" in name for name in load_file(adapter / WEIGHTS)), "as PEFT leaves it"
    with pytest.raises(CheckpointError, match="520 rows, the base model's 512, and no head goes") as caught:
        open_checkpoint(str(base), adapter=adapter)
    assert "save_embedding_layers" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("family", "adapted"), [("gemma3_text", False), ("gemma3_text", True), ("llama", False)], ids=str
)
def test_tokens_that_were_added_for_the_fine_tune_are_taken(
    family: str, adapted: bool, pristine: Callable[[str], Path], make_adapter: Callable[..., Path]
) -> None:
    from peft import PeftModel

    base = pristine(family)
    more = {"target_modules": [*LINEARS, "embed_tokens"]} if adapted else {}
    adapter = make_adapter(base, model=grown(base), **more)
    saved = load_file(adapter / WEIGHTS)
    assert any(tensor.shape[0] == 520 for tensor in saved.values()), "PEFT saves a resized embedding whole"
    wanted = PeftModel.from_pretrained(grown(base), adapter).merge_and_unload()
    opened = open_checkpoint(str(base), adapter=adapter)
    assert opened.text_config.vocab_size == 520
    assert any("520 rows, the base model's 512" in note for note in opened.notes)
    ours = load_float_model(opened)
    ids = torch.cat([IDS, torch.tensor([[513, 519]])], dim=1)
    with torch.no_grad():
        torch.testing.assert_close(ours(input_ids=ids).logits, wanted(input_ids=ids).logits, rtol=0, atol=1e-4)
    described = _adapted(adapter, describe(str(base)).text_config)[0]
    assert described.vocab_size == 520


@pytest.mark.parametrize("family", ["gemma3_text", "llama"])
def test_added_tokens_whose_rows_were_trained_whole(
    family: str, pristine: Callable[[str], Path], make_adapter: Callable[..., Path]
) -> None:
    """The usual recipe, after which PEFT saves the wrappers' own copies too."""
    from peft import PeftModel

    base = pristine(family)
    adapter = make_adapter(base, model=grown(base), modules_to_save=["embed_tokens", "lm_head"])
    assert any(".original_module." in name for name in load_file(adapter / WEIGHTS))
    wanted = PeftModel.from_pretrained(grown(base), adapter).merge_and_unload()
    ours = load_float_model(open_checkpoint(str(base), adapter=adapter))
    ids = torch.cat([IDS, torch.tensor([[513, 519]])], dim=1)
    with torch.no_grad():
        torch.testing.assert_close(ours(input_ids=ids).logits, wanted(input_ids=ids).logits, rtol=0, atol=1e-4)


def test_added_tokens_of_a_tied_model_without_a_head_of_their_own_are_refused(
    pristine: Callable[[str], Path], make_adapter: Callable[..., Path]
) -> None:
    base = pristine("gemma3_text")
    adapter = make_adapter(base, model=grown(base), modules_to_save=["embed_tokens"])
    tensors = {name: tensor for name, tensor in load_file(adapter / WEIGHTS).items() if "lm_head" not in name}
    save_file(tensors, adapter / WEIGHTS)
    with pytest.raises(CheckpointError, match="520 rows, the base model's 512, and no head goes"):
        open_checkpoint(str(base), adapter=adapter)


def test_an_adapter_of_a_mixture_whose_experts_are_saved_one_by_one(
    tmp_path: Path, make_adapter: Callable[..., Path], peft_merge: Callable[..., Any]
) -> None:
    from transformers import AutoModelForCausalLM, MixtralConfig

    sizes = {"vocab_size": 512, "hidden_size": 64, "intermediate_size": 32, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "bos_token_id": 2, "eos_token_id": 1}
    config = MixtralConfig(**sizes, **heads, num_local_experts=3)
    base = random_checkpoint(tmp_path / "base", config)
    AutoModelForCausalLM.from_config(config).save_pretrained(base)
    assert any(".experts.2." in name for file in base.glob("*.safetensors") for name in load_file(file))
    adapter = make_adapter(base, target_modules=["q_proj", "o_proj"])
    wanted = peft_merge(base, adapter)
    compare(base, adapter, wanted, 4)
    mapped = map_float_model(open_checkpoint(str(base), adapter=adapter), Scratch(tmp_path)).state_dict()
    for name, right in wanted.state_dict().items():
        torch.testing.assert_close(mapped[name].float(), right, rtol=2e-6, atol=2e-6, msg=name)
