"""An adapter on its way through planning, goldens, manifest, card and diff."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from gemcut.bundle.card import model_card, notice
from gemcut.bundle.manifest import AdapterRecord, Manifest
from gemcut.bundle.reader import open_bundle
from gemcut.checkpoint.golden_prompts import OWN_PROMPTS, own_prompts
from gemcut.cli import main
from gemcut.diff.manifests import settings
from gemcut.pipeline.packaging import adapter_record
from gemcut.pipeline.plan import ExportPlan, make_plans
from gemcut.pipeline.request import ExportRequest
from gemcut.prompt.toolcalls import ToolCall, parse_tool_calls
from gemcut.prove.golden_files import GOLDENS, load_goldens
from gemcut.sample import sample_path
from gemcut.sample.adapter_requests import TOOLS

from tests.support.bundle_files import manifest
from tests.support.exports import Exported

__all__ = ["manifest"]

HASHES = {"adapter_config.json": "1" * 64, "adapter_model.safetensors": "2" * 64}


@pytest.fixture
def plan(make_adapter: Callable[..., Path], tmp_path: Path) -> ExportPlan:
    adapter = make_adapter(sample_path(), "my adapter", use_rslora=True)
    return make_plans(ExportRequest(adapter=str(adapter), target="linux-arm64", output=tmp_path / "out"))[0]


def test_the_model_has_both_names_and_the_manifest_the_adapters_files(plan: ExportPlan, tmp_path: Path) -> None:
    assert plan.checkpoint.name == "sample-my-adapter"
    record = adapter_record(plan.checkpoint)
    assert record is not None
    assert (record.name, record.kind, record.base) == ("my-adapter", "rsLoRA", "model")
    folder = tmp_path / "my adapter"
    assert record.files == {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in HASHES}
    assert str(tmp_path) not in json.dumps(record.model_dump(mode="json")) + " ".join(plan.checkpoint.notes)


def test_the_adapters_own_prompts_win_over_the_models(plan: ExportPlan, tmp_path: Path) -> None:
    assert own_prompts(plan.checkpoint) == sample_path() / OWN_PROMPTS
    (tmp_path / "my adapter" / OWN_PROMPTS).write_text("")
    assert own_prompts(plan.checkpoint) == tmp_path / "my adapter" / OWN_PROMPTS


def test_a_model_without_an_adapter_says_nothing_of_one() -> None:
    plan = make_plans(ExportRequest(target="linux-arm64"))[0]
    assert plan.checkpoint.name == "sample"
    assert adapter_record(plan.checkpoint) is None


def _adapted(manifest: Manifest, **changes: object) -> Manifest:
    adapter = AdapterRecord(name="diary", kind="LoRA", base="someone/tiny", files=HASHES)
    changed = adapter.model_copy(update=changes)
    return manifest.model_copy(update={"model": manifest.model.model_copy(update={"adapter": changed})})


def test_card_and_notice_say_what_was_merged_in(manifest: Manifest) -> None:
    adapted = _adapted(manifest)
    assert "someone/tiny at revision abc123 and the LoRA adapter diary" in model_card(adapted)
    assert f"| `diary/adapter_model.safetensors` | `{'2' * 64}` |" in model_card(adapted)
    assert "the LoRA adapter diary" in notice(adapted)
    assert "adapter" not in model_card(manifest)


def test_diff_says_that_another_adapter_is_another_model(manifest: Manifest) -> None:
    adapted = _adapted(manifest)
    for a, b, said in (
        (manifest, adapted, "model.adapter none -> diary"),
        (adapted, _adapted(manifest, kind="DoRA"), "model.adapter.kind LoRA -> DoRA"),
        (
            adapted,
            _adapted(manifest, files=HASHES | {"adapter_model.safetensors": "3" * 64}),
            "model.adapter.files.adapter_model.safetensors",
        ),
    ):
        change = next(one for one in settings(a, b)[1] if one.area == "model")
        assert (change.severity, said in change.what) == ("matters", True)
    assert settings(adapted, adapted)[0] == ()


def test_the_samples_adapter_makes_a_proven_bundle_of_the_fine_tune(sample_diary: Exported) -> None:
    with open_bundle(sample_diary.path) as bundle:
        record = bundle.manifest.model.adapter
        goldens = load_goldens({name: bundle.read(name) for name in GOLDENS})
        assert bundle.manifest.proven
    assert record is not None
    assert (record.name, record.kind, record.base) == ("diary", "LoRA", "gemcut-sample")
    assert set(record.files) == {"adapter_config.json", "adapter_model.safetensors", OWN_PROMPTS}
    calls = [call for golden in goldens for call in _calls(golden.greedy_text)]
    assert len(calls) >= 12
    assert {call.name for call in calls} <= set(TOOLS)


def test_inspect_and_diff_name_the_adapter(
    sample_diary: Exported, sample_int4: Exported, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(sample_diary.path)]) == 0
    assert "parameters), with the LoRA adapter diary" in capsys.readouterr().out
    assert main(["inspect", str(sample_diary.path), "--all"]) == 0
    assert "diary (LoRA, made for gemcut-sample): adapter_config.json" in capsys.readouterr().out
    assert main(["diff", str(sample_int4.path), str(sample_diary.path)]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("A and B were made from different float models (")
    assert "with the adapter diary" in shown.splitlines()[0]
    assert "model.adapter none -> diary" in shown


def _calls(reply: str) -> list[ToolCall]:
    try:
        return parse_tool_calls(reply)
    except ValueError:
        return []
