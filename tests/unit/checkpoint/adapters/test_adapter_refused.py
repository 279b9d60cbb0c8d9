"""What can't be merged is refused before any work, by the tensor's or the key's name."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from gemcut.checkpoint.adapters.adapter_config import read_config
from gemcut.checkpoint.opening import open_checkpoint
from gemcut.errors import GemcutError
from safetensors.torch import load_file, save_file

from tests.support.adapters import CONFIGS, LINEARS

WEIGHTS = "adapter_model.safetensors"
Q = "base_model.model.model.layers.1.self_attn.q_proj."
Tensors = dict[str, torch.Tensor]


@pytest.fixture
def adapter(pristine: Callable[[str], Path], make_adapter: Callable[..., Path]) -> Path:
    return make_adapter(pristine("gemma3_text"))


def refused(base: Path, folder: Path, pattern: str, code: int) -> GemcutError:
    with pytest.raises(GemcutError, match=pattern) as caught:
        open_checkpoint(str(base), adapter=folder)
    assert caught.value.exit_code == code
    return caught.value


def _without(name: str) -> Callable[[Tensors], None]:
    return lambda tensors: (tensors.pop(name), None)[1]


def _with(name: str, tensor: torch.Tensor) -> Callable[[Tensors], None]:
    return lambda tensors: tensors.update({name: tensor})


def _bad(value: float) -> Callable[[Tensors], None]:
    return lambda tensors: tensors[f"{Q}lora_B.weight"][3, 1].fill_(value) and None


TENSORS: dict[str, tuple[Callable[[Tensors], None], str, int]] = {
    "a without b": (_without(f"{Q}lora_B.weight"), r"layers\.1\.self_attn\.q_proj\.lora_A\.weight' has no lora_B", 3),
    "b without a": (_without(f"{Q}lora_A.weight"), r"layers\.1\.self_attn\.q_proj\.lora_B\.weight' has no lora_A", 3),
    "nan": (_bad(float("nan")), r"q_proj\.lora_B\.weight' holds NaN or infinity", 3),
    "infinity": (_bad(float("-inf")), r"q_proj\.lora_B\.weight' holds NaN or infinity", 3),
    "rank": (
        lambda t: t.update({f"{Q}lora_A.weight": torch.ones(5, 64), f"{Q}lora_B.weight": torch.ones(64, 5)}),
        r"q_proj\.lora_A\.weight' is \[5, 64\], not \[4, 64\]: .* makes the rank 4",
        3,
    ),
    "no such layer": (
        _with(f"{Q}lora_A.weight".replace("layers.1", "layers.9"), torch.ones(4, 64)),
        r"layers\.9\.self_attn\.q_proj\.lora_A\.weight' matches nothing: no 'model\.layers\.9",
        3,
    ),
    "no such module": (
        _with("base_model.model.score.weight", torch.ones(2, 64)),
        r"'base_model\.model\.score\.weight' matches",
        3,
    ),
    "no name of peft's": (_with("lora_te_text_model.q.alpha", torch.ones(1)), r"'lora_te_text_model\.q\.alpha' is", 3),
    "another method's part": (_with(f"{Q}lora_E", torch.ones(4, 1)), r"q_proj\.lora_E' is not one that PEFT's LoRA", 3),
    "dora's without use_dora": (
        _with(f"{Q}lora_magnitude_vector", torch.ones(64)),
        r"lora_magnitude_vector' is DoRA's, but use_dora is",
        3,
    ),
    "a bias that the base lacks": (_with(f"{Q}lora_B.bias", torch.ones(64)), r"lora_B\.bias': the base model", 3),
    "one parameter twice": (
        _with(f"{Q}lora_A.weight".replace("model.model.", "model.model.language_model."), torch.ones(4, 64)),
        r"language_model\..*' are for the same parameter",
        3,
    ),
    "integers": (_with(f"{Q}lora_A.weight", torch.ones(4, 64, dtype=torch.int8)), r"lora_A\.weight' is I8, not", 4),
    "factors of no matrix": (
        lambda t: t.update({f"base_model.model.model.norm.lora_{x}.weight": torch.ones(4, 64) for x in "AB"}),
        r"model\.norm\.lora_A\.weight': the base model's 'model\.norm\.weight' is not a matrix but \[64\]",
        3,
    ),
    "another model's vocabulary": (
        _with("base_model.model.model.embed_tokens.weight", torch.ones(600, 32)),
        r"embed_tokens\.weight' is \[600, 32\], not \[512, 64\]",
        3,
    ),
}


@pytest.mark.parametrize("what", TENSORS)
def test_a_wrong_tensor_is_named(what: str, adapter: Path, pristine: Callable[[str], Path]) -> None:
    change, pattern, code = TENSORS[what]
    tensors = load_file(adapter / WEIGHTS)
    change(tensors)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, adapter / WEIGHTS)
    refused(pristine("gemma3_text"), adapter, pattern, code)


def test_an_adapter_of_another_base_is_refused_and_says_what_base_it_names(
    pristine: Callable[[str], Path], make_adapter: Callable[..., Path], tmp_path: Path
) -> None:
    from gemcut.checkpoint.random import random_checkpoint

    other = random_checkpoint(tmp_path / "wider", CONFIGS["gemma3_text"](hidden_size=80, query_pre_attn_scalar=16))
    adapter = make_adapter(other)
    error = refused(pristine("gemma3_text"), adapter, r"down_proj\.lora_B\.weight' is \[80, 4\], not \[64, 4\]", 3)
    assert "wider" in str(error.hint)


def test_dora_without_its_magnitude_is_refused(
    pristine: Callable[[str], Path], make_adapter: Callable[..., Path]
) -> None:
    adapter = make_adapter(pristine("gemma3_text"), use_dora=True)
    tensors = load_file(adapter / WEIGHTS)
    del tensors[f"{Q}lora_magnitude_vector"]
    save_file(tensors, adapter / WEIGHTS)
    refused(pristine("gemma3_text"), adapter, r"q_proj\.lora_A\.weight' has no lora_magnitude_vector", 3)


def test_factors_for_the_head_of_a_tied_model_are_refused(
    pristine: Callable[[str], Path], make_adapter: Callable[..., Path]
) -> None:
    adapter = make_adapter(pristine("gemma3_text"), target_modules=[*LINEARS, "lm_head"])
    error = refused(pristine("gemma3_text"), adapter, r"lm_head\.lora_A\.weight' adapts the head", 4)
    assert "tie_word_embeddings" in str(error.hint)


def test_pickle_and_missing_files_are_refused(adapter: Path, pristine: Callable[[str], Path], tmp_path: Path) -> None:
    base = pristine("gemma3_text")
    (adapter / WEIGHTS).rename(adapter / "adapter_model.bin")
    refused(base, adapter, r"adapter_model\.bin is pickle", 4)
    (adapter / "adapter_model.bin").unlink()
    refused(base, adapter, r"has no adapter_model\.safetensors", 3)
    (adapter / "adapter_config.json").unlink()
    refused(base, adapter, r"has no adapter_config\.json", 3)
    refused(base, tmp_path / "nowhere", r"no such directory", 3)


def test_a_damaged_file_is_refused(adapter: Path, pristine: Callable[[str], Path]) -> None:
    data = (adapter / WEIGHTS).read_bytes()
    (adapter / WEIGHTS).write_bytes(data[:-100])
    refused(pristine("gemma3_text"), adapter, r"adapter_model\.safetensors: tensor '.+' ends at byte", 3)


KEYS: list[tuple[dict[str, Any], str, int]] = [
    ({"peft_type": "LOHA"}, "peft_type 'LOHA' is not LoRA", 4),
    ({"peft_type": None}, "has no peft_type", 3),
    ({"task_type": "SEQ_CLS"}, "task_type 'SEQ_CLS'", 4),
    ({"use_qalora": True}, "use_qalora: ", 4),
    ({"trainable_token_indices": [3]}, "trainable_token_indices: ", 4),
    ({"layer_replication": [[0, 2], [1, 3]]}, "layer_replication: ", 4),
    ({"megatron_config": {"a": 1}}, "megatron_config: ", 4),
    ({"alora_invocation_tokens": [1]}, "alora_invocation_tokens: ", 4),
    ({"target_parameters": ["experts.gate_up_proj"]}, "target_parameters: ", 4),
    ({"init_lora_weights": "pissa_niter_4"}, "init_lora_weights 'pissa_niter_4' changed the base", 4),
    ({"init_lora_weights": "loftq"}, "init_lora_weights 'loftq' changed the base", 4),
    ({"lora_alpah": 3}, r"unknown key 'lora_alpah' = 3: did you mean 'lora_alpha'\?", 4),
    ({"use_newest": True}, "unknown key 'use_newest' = True", 4),
    ({"r": 0}, r"r = 0: should be a whole number", 3),
    ({"r": True}, r"r = true: should be a whole number", 3),
    ({"lora_alpha": "16"}, r'lora_alpha = "16": should be a number', 3),
    ({"use_dora": "yes"}, r'use_dora = "yes": should be true or false', 3),
    ({"bias": "some"}, r'bias = "some": should be none, all or lora_only', 3),
    ({"rank_pattern": {"q_proj": 2.5}}, r"rank_pattern\.q_proj = 2\.5: should be a whole number", 3),
    ({"alpha_pattern": {"(": 2}}, r"alpha_pattern: '\(' is not a regular expression", 3),
    ({"modules_to_save": "lm_head"}, r'modules_to_save = "lm_head": should be a list', 3),
]


@pytest.mark.parametrize(("change", "pattern", "code"), KEYS, ids=[next(iter(change)) for change, _, _ in KEYS])
def test_a_key_that_cant_be_honoured_is_named(
    change: dict[str, Any], pattern: str, code: int, adapter: Path, edit_json: Callable[..., None]
) -> None:
    edit_json(adapter / "adapter_config.json", **change)
    with pytest.raises(GemcutError, match=pattern) as caught:
        read_config(adapter)
    assert caught.value.exit_code == code


def test_what_no_merge_can_hold_is_not_sent_to_one(adapter: Path, edit_json: Callable[..., None]) -> None:
    for kind, merges in (("IA3", True), ("PREFIX_TUNING", False)):
        edit_json(adapter / "adapter_config.json", peft_type=kind)
        with pytest.raises(GemcutError, match=f"peft_type '{kind}' is not LoRA") as caught:
            read_config(adapter)
        assert ("Merge it with PEFT" in str(caught.value.hint)) is merges


def test_every_key_of_pefts_own_configuration_is_known(adapter: Path) -> None:
    from gemcut.checkpoint.adapters import adapter_config as config

    written = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    known = config._INERT | config._TAKEN | config._REFUSED.keys()
    assert set(written) <= known
    assert not config._INERT & config._TAKEN


def test_a_newer_options_that_is_off_changes_nothing(adapter: Path, edit_json: Callable[..., None]) -> None:
    before = read_config(adapter)
    edit_json(adapter / "adapter_config.json", use_newest=False, newest_config={}, newest_list=[])
    assert read_config(adapter) == before


def test_patterns_match_as_pefts_do(adapter: Path, edit_json: Callable[..., None]) -> None:
    from peft.utils.other import get_pattern_key

    patterns = {"q_proj": 2, "layers.1.self_attn.k_proj": 3, r".*\.[02]\.mlp\.down_proj": 5, "^model.layers.3.*": 6}
    edit_json(adapter / "adapter_config.json", rank_pattern=patterns)
    config = read_config(adapter)
    for layer in range(4):
        for name in ("self_attn.q_proj", "self_attn.k_proj", "mlp.down_proj", "mlp.xq_proj"):
            module = f"model.layers.{layer}.{name}"
            assert config.rank_of(module) == patterns.get(get_pattern_key(list(patterns), module), 4), module


def test_a_path_of_the_training_machine_stays_out_of_the_notes(adapter: Path, pristine: Callable[[str], Path]) -> None:
    for base, said in (("/home/me/models/tiny", "tiny"), ("org/tiny", "org/tiny"), ("./tiny", "tiny")):
        found = json.loads((adapter / "adapter_config.json").read_text()) | {"base_model_name_or_path": base}
        (adapter / "adapter_config.json").write_text(json.dumps(found))
        notes = " ".join(open_checkpoint(str(pristine("gemma3_text")), adapter=adapter).notes)
        assert re.search(rf"which names {re.escape(said)} as its base", notes)
        assert "/home" not in notes
