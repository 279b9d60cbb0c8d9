"""Plans against real models: parameters, bytes and caches counted from actual tensors."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from gemcut.errors import CheckpointError, UnsupportedError, UsageError
from gemcut.estimate.memory import RunMemory
from gemcut.estimate.overview import Plan, estimate
from gemcut.estimate.running import Running, device_classes
from gemcut.quantize.recipe import load_recipe
from gemcut.target import load_target
from gemcut.util.progress import Silent

GEMMA3_270M = {
    "hidden_size": 640,
    "intermediate_size": 2048,
    "num_hidden_layers": 18,
    "num_attention_heads": 4,
    "num_key_value_heads": 1,
    "head_dim": 256,
    "sliding_window": 512,
    "vocab_size": 262144,
    "max_position_embeddings": 32768,
}
GEMMA4_E2B = {
    "hidden_size": 1536,
    "intermediate_size": 6144,
    "num_hidden_layers": 35,
    "num_attention_heads": 8,
    "num_key_value_heads": 1,
    "head_dim": 256,
    "global_head_dim": 512,
    "sliding_window": 512,
    "vocab_size": 262144,
    "num_kv_shared_layers": 20,
    "use_double_wide_mlp": True,
    "hidden_size_per_layer_input": 256,
    "layer_types": (["sliding_attention"] * 4 + ["full_attention"]) * 7,
}
TINY = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 1,
    "head_dim": 32,
    "global_head_dim": 64,
    "sliding_window": 8,
    "vocab_size": 512,
    "vocab_size_per_layer_input": 512,
    "hidden_size_per_layer_input": 32,
    "num_kv_shared_layers": 3,
    "use_double_wide_mlp": True,
    "layer_types": ["sliding_attention", "sliding_attention", "full_attention"] * 2,
    "max_position_embeddings": 256,
}


def config(family: str, **settings: Any) -> Any:
    import transformers

    return getattr(transformers, f"{family}TextConfig")(**settings)


def plan_of(folder: Path, family: str, settings: dict[str, Any], recipe: str = "int4", **given: Any) -> Plan:
    """The plan of a folder that holds a config.json and nothing else."""
    config(family, **settings).save_pretrained(folder)
    assert [f.name for f in folder.iterdir()] == ["config.json"]
    return planned(folder, recipe, **given)


def planned(folder: Path, recipe: str | None = "int4", context: int | None = None, **given: Any) -> Plan:
    return estimate(str(folder), load_target("android-arm64"), recipe, context, Silent(), **given)


def first(plan: Plan) -> Running:
    """The bundle for the target's default runtime."""
    return plan.bundles[0]


def by_class(plan: Plan) -> dict[str, int]:
    return {c.name: c.parameters for c in plan.tensors}


def test_gemma_3_270m_has_its_published_number_of_parameters(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "Gemma3", GEMMA3_270M)
    assert plan.parameters == 268_098_176
    assert by_class(plan)["embedding"] == 262144 * 640


def test_gemma_4_e2b_holds_its_per_layer_table_and_the_cache_of_fifteen_layers(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "Gemma4", GEMMA4_E2B, context=2048)
    assert by_class(plan)["per-layer embedding"] == 262144 * 35 * 256
    sliding, full = 12 * (512 + 128 - 1) * 256, 3 * 2048 * 512
    assert first(plan).cache == 2 * 4 * (sliding + full)
    table = next(c for c in plan.tensors if c.name == "per-layer embedding")
    assert table.read == table.bytes // 262144  # gathered from: one row a token


@pytest.mark.parametrize("recipe", ["float32", "int8", "int4", "small"])
def test_bytes_are_those_of_a_real_tiny_model(recipe: str, tmp_path: Path) -> None:
    import torch
    from gemcut.runtimes.executorch.apply_recipe import apply_recipe
    from gemcut.runtimes.executorch.delegates.xnnpack import DELEGATE
    from gemcut.runtimes.executorch.quantized_modules import GroupedEmbedding, QuantizedEmbedding, QuantizedLinear
    from transformers import AutoModelForCausalLM

    plan = plan_of(tmp_path, "Gemma4", TINY, recipe)
    model = AutoModelForCausalLM.from_config(config("Gemma4", **TINY))
    assert plan.parameters == sum(p.numel() for p in model.parameters())
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())  # stored apart from its twin
    apply_recipe(model, load_recipe(recipe), DELEGATE.check_scheme)
    stored = sum(4 * p.numel() for p in model.parameters())
    for module in model.modules():
        if isinstance(module, QuantizedLinear | QuantizedEmbedding):
            bits = 8 if isinstance(module, QuantizedEmbedding) or module.scheme.weight == "int8" else 4
            grouped = isinstance(module, QuantizedLinear) and module.scheme.group
            stored += module.values.numel() * bits // 8 + module.scales.numel() * (2 if grouped else 4)
        elif isinstance(module, GroupedEmbedding):
            stored += module.packed.numel() + 2 * module.scales.numel()
    bits = {"float32": 32, "int8": 8, "int4": 8, "small": 4}[recipe]
    assert sum(c.bytes for c in plan.tensors) == stored - 512 * 64 * bits // 8  # the file has the table once


def test_the_context_is_the_targets_or_the_models_own_where_that_is_shorter(tmp_path: Path) -> None:
    assert plan_of(tmp_path, "Gemma4", TINY).context == 256
    assert plan_of(tmp_path, "Gemma4", TINY, context=64).context == 64
    with pytest.raises(UsageError, match="longer than the model's"):
        plan_of(tmp_path, "Gemma4", TINY, context=257)


def test_fewer_bits_are_smaller_and_faster(tmp_path: Path) -> None:
    plans = [first(plan_of(tmp_path, "Gemma3", GEMMA3_270M, recipe)) for recipe in ("float32", "int8", "int4")]
    assert [p.program for p in plans] == sorted((p.program for p in plans), reverse=True)
    assert [p.decode for p in plans] == sorted(p.decode for p in plans)
    assert plans[0].prefill < plans[2].prefill
    assert len({p.cache for p in plans}) == 1


def test_a_step_reads_no_more_than_there_is(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "Gemma3", GEMMA3_270M)
    one = first(plan)
    assert sum(c.bytes for c in plan.tensors) < one.program < one.download_size < one.bundle
    assert one.program + one.cache < one.memory < 3 * one.program + one.cache
    assert sum(c.read for c in plan.tensors) < one.read < one.memory
    assert one.cache < one.own < one.own + one.mapped < one.memory, "the head is there twice while it loads"


def test_what_groups_do_not_divide_falls_back_and_is_refused_where_the_recipe_names_nothing(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    odd = TINY | {"hidden_size_per_layer_input": 8}
    assert first(plan_of(tmp_path, "Gemma4", odd)).program > 0
    recipe = tmp_path_factory.mktemp("recipe") / "own.toml"
    (file,) = [load_recipe("int4").path]
    assert file is not None
    recipe.write_text(file.read_text().replace('otherwise = "fine"', "").replace('otherwise = "embedding"', ""))
    with pytest.raises(UnsupportedError, match=r"groups of (32|64)"):
        plan_of(tmp_path, "Gemma4", odd, str(recipe))


def test_a_plan_says_what_an_export_goes_on_to_unless_the_recipe_was_asked_for(tmp_path: Path) -> None:
    plan_of(tmp_path, "Gemma3", GEMMA3_270M)
    (place,) = {path.parent for path in tmp_path.rglob("config.json")}
    assert planned(place, "int4").finer == ()
    plan = planned(place, None)
    assert [one.recipe for one in plan.finer] == ["balanced", "int8"]
    assert first(plan).bundle < plan.finer[0].bundle < plan.finer[1].bundle


def test_a_folder_without_a_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"config\.json"):
        planned(tmp_path)


def test_of_experts_a_token_reads_those_that_it_chooses(tmp_path: Path) -> None:
    from tests.support.families_cases import gemma4_experts

    settings = {"num_experts": 6, "top_k_experts": 2, "moe_intermediate_size": 64, "hidden_size": 64}
    gemma4_experts(**settings).save_pretrained(tmp_path)
    plan = planned(tmp_path, "float32")
    experts = next(c for c in plan.tensors if c.name == "experts")
    layers = gemma4_experts(**settings).num_hidden_layers
    assert experts.parameters == layers * 6 * (2 * 64 * 64 + 64 * 64)
    assert experts.read == pytest.approx(experts.bytes * 2 / 6, abs=100)  # of each expert, rounded down
    others = sum(c.read for c in plan.tensors if c.name != "experts")
    assert first(plan).read == experts.read + others + first(plan).cache // 2
    assert any("experts are extrapolated" in note for note in plan.notes)


def test_rows_of_per_layer_embeddings_are_gathered(tmp_path: Path) -> None:
    table = next(c for c in plan_of(tmp_path, "Gemma4", TINY).tensors if c.name == "per-layer embedding")
    assert table.parameters == 512 * 6 * 32
    assert table.read == table.bytes // 512


def test_an_adapter_is_merged_and_unties_a_head(tmp_path: Path) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_config(config("Gemma4", **TINY))
    options: dict[str, Any] = {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"]}
    trained = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **options))
    with torch.no_grad():
        for weight in trained.parameters():
            if weight.requires_grad:
                weight.add_(0.01)
    trained.save_pretrained(tmp_path / "adapter")
    folder = tmp_path / "alone"
    base = plan_of(folder, "Gemma4", TINY)
    merged = planned(folder, adapter=tmp_path / "adapter")
    assert merged.adapter == "adapter"
    assert merged.parameters == base.parameters + 512 * 64
    apart, tied = ({c.name: c.bytes for c in plan.tensors} for plan in (merged, base))
    assert apart.pop("head") == tied.pop("head") + 512 * 64, "it is no longer the embedding's table"
    assert apart == tied
    assert first(merged).program == first(base).program + 512 * 64


def test_what_is_guessed_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    alone = plan_of(folder, "Gemma4", TINY)
    assert any("tokenizer" in note for note in alone.notes)
    (folder / "tokenizer.json").write_bytes(bytes(1_000_000))
    there = planned(folder)
    assert not there.notes
    assert 500_000 < first(there).bundle - first(alone).bundle < 1_000_000


def test_more_context_takes_more_memory_and_no_more_bundle(tmp_path: Path) -> None:
    short, long = (plan_of(tmp_path / str(n), "Gemma3", GEMMA3_270M, context=n) for n in (1024, 4096))
    more = first(long).cache - first(short).cache
    assert first(long).bundle == first(short).bundle
    assert first(long).own - first(short).own == first(long).memory - first(short).memory == more > 0
    stages = long.export.memory_by_stage, short.export.memory_by_stage
    assert stages[0]["prove"] - stages[1]["prove"] == more


def test_the_command_takes_an_adapter_and_refuses_another_models(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from gemcut.cli import main

    words = ["plan", "--target", "android-arm64", "--adapter", "sample"]
    assert main(words) == 0
    assert "sample with diary merged in on android-arm64" in capsys.readouterr().out
    config("Gemma4", **TINY).save_pretrained(tmp_path)
    assert main([*words[:1], str(tmp_path), *words[1:]]) == 3
    assert "adapter_model.safetensors" in capsys.readouterr().err


def test_the_command_prints_a_table_or_a_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import gemcut
    from gemcut.cli import main

    config("Gemma4", **TINY).save_pretrained(tmp_path)
    words = ["plan", str(tmp_path), "--target", "linux-arm64", "--recipe", "int8", "--context", "128"]
    assert main(words) == 0
    shown = capsys.readouterr().out
    for word in ("Raspberry Pi", "128 tokens", "per-layer embedding", "KV cache", "decode", "prefill", "executorch  "):
        assert word in shown
    for word in ("litert", "int8 *", "small", "after a first start", "does it run", "2 GB", "16 GB", "yes"):
        assert word in shown
    for word in ("on this machine", "disk", "time", "can be made here", "note: the tokenizer's size is a guess"):
        assert word in shown
    for recipe, words_at_limits in (("small", "users will notice"), (r"int8 \*", "users won't notice")):
        assert re.search(rf"{recipe} +{words_at_limits} ", shown), recipe
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    schema = Path(gemcut.__file__).parent / "schemas" / "plan.schema.json"
    jsonschema.validate(found, json.loads(schema.read_text()))
    assert (found["target"], found["context"]) == ("linux-arm64", 128)
    assert [one["runtime"] for one in found["bundles"]] == ["executorch", "litert"]
    assert [one["recipe"] for one in found["recipes"]] == ["small", "int4", "balanced", "int8", "float32"]


def test_litert_maps_the_weights_that_it_packs_into_a_file_of_its_own(tmp_path: Path) -> None:
    executorch, litert = plan_of(tmp_path, "Gemma4", GEMMA4_E2B).bundles
    assert (executorch.runtime, litert.runtime) == ("executorch", "litert")
    assert executorch.device_size == executorch.bundle < litert.bundle
    packed = litert.device_size - litert.bundle
    assert 0.9 < packed / (executorch.own - litert.own) < 1.1, "what one has of its own, the other has in a file"
    assert litert.mapped == pytest.approx(executorch.mapped + packed)


def test_a_device_runs_what_fits_into_an_apps_part_of_its_ram() -> None:
    target = load_target("android-arm64")
    assert [one.ram for one in target.ram_classes] == [4, 6, 8, 12, 16]

    def verdicts(**memory: int) -> list[str]:
        return [one.verdict for one in device_classes(target, RunMemory(**memory))]

    assert verdicts(own=1_100_000_000, mapped=0, loading=500_000_000) == ["yes"] * 5
    assert verdicts(own=1_100_000_000, mapped=2_000_000_000) == ["tight", "tight", "yes", "yes", "yes"]
    assert verdicts(own=7_000_000_000, mapped=0) == ["no"] * 5


def test_a_target_without_classes_of_devices_gives_no_verdicts(tmp_path: Path) -> None:
    config("Gemma4", **TINY).save_pretrained(tmp_path)
    bare = replace(load_target("android-arm64"), ram_classes=())
    assert all(one.devices == () for one in estimate(str(tmp_path), bare, None, None, Silent()).bundles)


def test_a_runtime_that_cannot_have_the_model_is_named_and_the_other_is_planned(tmp_path: Path) -> None:
    file = load_recipe("int8").path
    assert file is not None
    recipe = tmp_path / "float-activations.toml"
    recipe.write_text(file.read_text().replace('"int8-dynamic"', '"float32"'))
    plan = plan_of(tmp_path / "model", "Gemma4", TINY, str(recipe))
    assert [one.runtime for one in plan.bundles] == ["executorch"]
    (note,) = [note for note in plan.notes if "litert" in note]
    assert note.startswith("there is no bundle for litert: ")
    assert "LiteRT's kernels quantize activations" in note
