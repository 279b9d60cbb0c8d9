"""What an export does with any runtime: packing, gates, budgets, publishing, and what is left if it fails."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gemcut.bundle.reader import open_bundle
from gemcut.errors import CheckpointError, ConformanceError, LackingError, UsageError
from gemcut.pipeline.budget_limits import Budgets
from gemcut.pipeline.failures import BudgetFailed, GateFailed
from gemcut.pipeline.plan import make_plans
from gemcut.pipeline.validate import validate
from gemcut.runtimes import get_runtime
from gemcut.stages import EXPORT

from tests.support.files import contents, left
from tests.support.progress import Watched

TEMPLATES = Path(__file__).parents[2] / "support" / "templates"
Run = Callable[..., Any]
ONE_BUNDLE = (
    "Opening the checkpoint",
    "Loading the float model",
    "Running the float model on the golden prompts",
    "Compiling the chat template",
    "Making a table with strict",
    "Packing for fake",
    "Proving the packed fake bundle",
    "Measuring its speed on this host",
    "Sealing",
    "Publishing",
)


def test_a_bundle_goes_through_every_stage_in_the_tables_order(run: Run) -> None:
    watched = Watched()
    (published,) = run(watched)
    assert tuple(watched.titles) == ONE_BUNDLE
    named = [stage.name for stage in EXPORT if stage.name in published.seconds]
    assert list(published.seconds) == [*named[:4], "tabulate", *named[4:]]
    assert published.manifest.proven
    assert published.manifest.fidelity.mean_kl == 0.0
    assert "it is a fake" in published.manifest.notes


@pytest.mark.parametrize("form", ["dir", "zip"])
def test_a_program_of_two_files_is_packed_proven_and_read(run: Run, tmp_path: Path, form: str) -> None:
    (published,) = run(format=form)
    manifest = published.manifest
    assert (manifest.program, manifest.program_files) == ("model.fake", ("table.npy",))
    with open_bundle(published.bundle) as bundle:
        loaded = get_runtime("fake").engine.load(bundle.program)
        assert sorted(loaded.methods) == ["next", "size"]
        size = int(loaded.call("size", {})["vocab_size"])
        (logits,) = loaded.call("next", {"token": bundle_token(bundle)}).values()
        assert logits.shape == (size,)
    validated = validate(published.bundle, Watched())
    assert validated.passed
    assert validated.here.conformance.max_logprob_diff == 0.0


def bundle_token(bundle: Any) -> Any:
    import numpy as np

    return np.array([bundle.manifest.stop_ids[0]])


def test_a_manifest_of_one_file_has_no_key_for_more(run: Run) -> None:
    from gemcut.bundle.manifest import manifest_bytes

    (published,) = run()
    assert b'"program_files"' in manifest_bytes(published.manifest)
    single = published.manifest.model_copy(update={"program_files": ()})
    assert b'"program_files"' not in manifest_bytes(single)


def test_two_exports_give_the_same_bytes(run: Run, tmp_path: Path) -> None:
    first, second = tmp_path / "out" / "first", tmp_path / "out" / "second"
    run(output=first)
    run(output=second)
    assert contents(first) == contents(second)


def test_several_bundles_come_from_one_run_of_the_float_model(run: Run, tmp_path: Path) -> None:
    watched = Watched()
    published = run(watched, runtimes=("fake", "fake_two"), output=tmp_path / "out")
    assert [one.manifest.runtime.name for one in published] == ["fake", "fake_two"]
    assert watched.titles.count("Running the float model on the golden prompts") == 1
    assert watched.titles.index("Proving the packed fake_two bundle") < watched.titles.index("Sealing")
    one, two = (contents(each.bundle) for each in published)
    assert {name for name in one if one[name] == two[name]} >= {"table.npy", "model.fake", "prompt.json"}


def test_an_option_of_the_runtimes_own_puts_a_file_beside_the_program(run: Run, tmp_path: Path) -> None:
    (published,) = run(options={"fake_twist": True})
    assert (published.bundle / "twist.txt").read_text() == "a twist\n"
    (plain,) = run(force=True)
    assert "twist.txt" not in plain.manifest.files
    target = tmp_path / "fake.toml"
    target.write_text(target.read_text() + "\n[fake]\nfake_twist = true\n")
    assert "twist.txt" in run(force=True, target=str(twisted(tmp_path)))[0].manifest.files
    assert (
        "twist.txt"
        not in run(force=True, target=str(twisted(tmp_path)), options={"fake_twist": False})[0].manifest.files
    )


def twisted(folder: Path) -> Path:
    """The target with the option chosen in the runtime's own table."""
    from tests.support import fake_runtime

    path = folder / "twisted.toml"
    path.write_text(fake_runtime.TARGET + "\n[fake]\nfake_twist = true\n")
    return path


@pytest.mark.parametrize(
    ("options", "words"),
    [({"dynamic_shape": True}, "--dynamic-shape is an option of litert"), ({"fake_twst": True}, "'fake_twist'")],
)
def test_an_option_of_another_runtime_or_of_none_is_refused(run: Run, options: dict[str, bool], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        run(options=options)


def test_a_gate_that_fails_publishes_nothing_and_tells_what_was_found(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEMCUT_FAKE", "run=differ")
    with pytest.raises(GateFailed, match="the fake bundle failed its gate") as caught:
        run()
    assert caught.value.exit_code == 5
    (evidence,) = caught.value.evidence
    assert evidence.verdict.fidelity.mean_kl > 0.001
    assert set(evidence.seconds) >= {"reference", "tabulate", "pack", "prove"}
    assert left(tmp_path / "out") == []
    (published,) = run(gate="report")
    assert not published.manifest.proven
    assert published.manifest.unproven


def test_the_second_bundles_gate_holds_the_first_back(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def at(title: str) -> None:
        if title == "Packing for fake_two":
            monkeypatch.setenv("GEMCUT_FAKE", "run=differ")

    with pytest.raises(GateFailed, match="fake_two") as caught:
        run(Watched(at), runtimes=("fake", "fake_two"), output=tmp_path / "out")
    assert [one.manifest.runtime.name for one in caught.value.evidence] == ["fake", "fake_two"]
    assert left(tmp_path / "out") == []


def test_budgets_hold_back_all_bundles_at_once(run: Run, tmp_path: Path) -> None:
    with pytest.raises(BudgetFailed) as caught:
        run(runtimes=("fake", "fake_two"), output=tmp_path / "out", budgets=Budgets(download_size=1000, top1=0.5))
    assert caught.value.exit_code == 7
    lines = [[(line.name, line.passed) for line in one.budgets] for one in caught.value.evidence]
    assert lines == [[("download_size", False), ("top1", True)]] * 2
    assert left(tmp_path / "out") == []


def test_budgets_that_are_kept_are_in_the_evidence(run: Run) -> None:
    seen = []
    (published,) = run(budgets=Budgets(peak_memory=5000), sealed=seen.append)
    assert [(line.name, line.measured) for line in published.evidence.budgets] == [("peak_memory", 2000.0)]
    assert seen == [published.manifest]


def test_whoever_asked_to_see_the_manifests_may_refuse(run: Run, tmp_path: Path) -> None:
    def refuse(manifest: Any) -> None:
        raise ConformanceError("not this one")

    with pytest.raises(ConformanceError, match="not this one"):
        run(sealed=refuse)
    assert left(tmp_path / "out") == []


@pytest.mark.parametrize("place", ["check", "build", "examine", "package", "open", "run", "measure"])
@pytest.mark.parametrize(("what", "error"), [("full", LackingError), ("refuse", ConformanceError)])
def test_whatever_fails_in_the_runtime_leaves_nothing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, what: str, error: type[Exception]
) -> None:
    monkeypatch.setenv("GEMCUT_FAKE", f"{place}={what}")
    with pytest.raises(OSError if (place, what) == ("check", "full") else error):  # before there is a folder of ours
        run()
    assert left(tmp_path / "out") == []


@pytest.mark.parametrize("place", ["build", "measure"])
def test_a_failure_leaves_the_bundle_that_was_there(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    (published,) = run()
    before = contents(published.bundle)
    monkeypatch.setenv("GEMCUT_FAKE", f"{place}=refuse")
    with pytest.raises(ConformanceError):
        run(force=True, options={"fake_twist": True})
    assert left(tmp_path / "out") == ["bundle"]
    assert contents(published.bundle) == before


@pytest.mark.parametrize("title", ONE_BUNDLE)
def test_ctrl_c_at_any_stage_leaves_nothing(run: Run, tmp_path: Path, title: str) -> None:
    def at(begun: str) -> None:
        if begun == title:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(Watched(at))
    assert left(tmp_path / "out") == []
    assert not list(Path(os.fspath(tmp_path)).rglob("*.partial-*"))


@pytest.mark.parametrize("with_tools", [False, True])
def test_prompts_with_tools_for_a_template_that_writes_none_are_refused_before_the_model_is_loaded(
    ask: Run, checkpoint: Path, tmp_path: Path, with_tools: bool
) -> None:
    model = Path(shutil.copytree(checkpoint, tmp_path / "model"))
    (model / "chat_template.jinja").write_text((TEMPLATES / "gemma3.jinja").read_text())
    prompt = {"id": "alarm", "messages": [{"role": "user", "content": "Wake me at six"}]}
    tool = {"type": "function", "function": {"name": "set_alarm", "description": "Sets an alarm."}}
    (model / "golden_prompts.jsonl").write_text(json.dumps(prompt | ({"tools": [tool]} if with_tools else {})))
    request = ask(model=str(model))
    if not with_tools:
        make_plans(request)
        return
    with pytest.raises(CheckpointError, match="the prompt 'alarm' has tools, but the chat template of model writes no"):
        make_plans(request)
