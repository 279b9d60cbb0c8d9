"""Budgets: held over real bundles, measured in real runs; no test here depends on how fast this machine is."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gemcut.bundle.reader import open_bundle
from gemcut.errors import ConformanceError, UsageError
from gemcut.pipeline.budget_limits import Budgets
from gemcut.pipeline.budgets import check_budgets, download_size, open_baseline, rows
from gemcut.pipeline.evidence import TITLES, BudgetLine, Evidence
from gemcut.pipeline.failures import BudgetFailed
from gemcut.pipeline.packaging import gate_of
from gemcut.pipeline.proving import subject_of
from gemcut.prompt.codec import codec_of
from gemcut.prove.behaviour import check_behaviour
from gemcut.prove.fidelity import fidelity_top64
from gemcut.prove.gate import judge

HUGE = 1e12


def evidence_of(path: Path) -> Evidence:
    """What the export of a bundle found out, from its own record."""
    with open_bundle(path) as bundle:
        subject, manifest = subject_of(bundle), bundle.manifest
        fidelity = fidelity_top64(subject.goldens, subject.host)
        behaviour = check_behaviour(subject.goldens, subject.host, codec_of(bundle), manifest.stop_ids)
        verdict = judge(gate_of(manifest.gate), fidelity, behaviour)
        return Evidence(manifest, tuple(subject.goldens), tuple(subject.host), verdict, behaviour)


@pytest.fixture
def held(tmp_path: Path, silent: Any) -> Callable[..., dict[str, BudgetLine]]:
    def run(path: Path, **limits: Any) -> dict[str, BudgetLine]:
        with open_bundle(path) as bundle:
            lines = check_budgets(bundle, evidence_of(path), Budgets(**limits), tmp_path, silent)
        return {line.name: line for line in lines}

    return run


def test_what_is_not_asked_for_is_not_measured(sample_int4: Any, held: Callable[..., Any]) -> None:
    assert held(sample_int4.path) == {}
    assert list(held(sample_int4.path, mean_kl=1.0)) == ["mean_kl"]


def test_figures_of_the_proof(sample_int4: Any, held: Callable[..., Any]) -> None:
    kept = held(sample_int4.path, mean_kl=0.1, top1=0.5, tool_calls=1.0)
    assert all(line.passed for line in kept.values())
    over = held(sample_int4.path, mean_kl=1e-9, top1=1.0, tool_calls=1.0)
    assert [name for name, line in over.items() if not line.passed] == ["mean_kl", "top1"]
    assert over["mean_kl"].measured == pytest.approx(kept["mean_kl"].measured)
    assert "budget >= 100.0%" in str(over["top1"])


def test_sizes(sample_int4: Any, sample_float32: Any, held: Callable[..., Any]) -> None:
    with open_bundle(sample_int4.path) as bundle:
        whole = sum(record.size for record in bundle.manifest.files.values())
        packed = download_size(bundle)
    assert 0.3 * whole < packed < whole  # weights of four bits hardly shrink, goldens and tokenizer do
    found = held(sample_int4.path, download_size=packed, device_size=whole, peak_memory=HUGE)
    assert all(line.passed for line in found.values())
    assert found["peak_memory"].measured > whole  # the program is in it, and Python
    assert not any(dataclasses.replace(line, limit=line.measured - 1).passed for line in found.values())
    with open_bundle(sample_float32.path) as archive:  # a zip's members are read where they lie
        assert download_size(archive) > packed


def test_litert_counts_the_weight_cache_of_its_first_start(sample_litert: Any, held: Callable[..., Any]) -> None:
    found = held(sample_litert.path, device_size=HUGE)
    with open_bundle(sample_litert.path) as bundle:
        files = sum(record.size for record in bundle.manifest.files.values())
        program = bundle.manifest.files[bundle.manifest.program].size
    assert files + 0.2 * program < found["device_size"].measured < files + 3 * program


def test_speeds_are_ratios_to_a_baseline(sample_int4: Any, sample_float32: Any, held: Callable[..., Any]) -> None:
    """Whatever the machine: a ratio is a positive number, and limits beyond all reason are kept or not."""
    limits = {"load_time": 1e6, "prefill": 1e-6, "decode": 1e-6}
    kept = held(sample_int4.path, baseline=sample_float32.path, **limits)
    assert all(line.passed and line.measured > 0 for line in kept.values())
    for line in kept.values():
        beyond = dataclasses.replace(line, limit=1e6 if line.at_least else 1e-6)
        assert not beyond.passed


def test_a_baseline_must_be_a_whole_bundle_of_the_same_runtime(
    sample_int4: Any, sample_litert: Any, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="no baseline at"):
        open_baseline(tmp_path / "nothing", "executorch")
    with pytest.raises(UsageError, match="for executorch, not for litert"):
        open_baseline(sample_int4.path, "litert")
    both = tmp_path / "both"
    shutil.copytree(sample_int4.path, both / "sample-android-arm64-executorch")
    shutil.copytree(sample_litert.path, both / "sample-android-arm64-litert")
    with open_baseline(both, "litert") as found:
        assert found.manifest.runtime.name == "litert"
    program = both / "sample-android-arm64-executorch" / "model.pte"
    data = bytearray(program.read_bytes())
    data[5000] ^= 1
    program.write_bytes(data)
    with pytest.raises(ConformanceError, match=r"model\.pte was changed"):
        open_baseline(both, "executorch")


def test_all_violations_come_at_once(sample_int4: Any, held: Callable[..., Any]) -> None:
    lines = tuple(held(sample_int4.path, mean_kl=1e-9, download_size=1, top1=0.5).values())
    failed = BudgetFailed([dataclasses.replace(evidence_of(sample_int4.path), budgets=lines)])
    assert failed.exit_code == 7
    assert failed.message.startswith("the export is over 2 of its budgets, nothing was published: executorch: ")
    assert "download size" in failed.message
    assert "mean KL" in failed.message
    assert [row[3] for row in rows(lines)] == ["OVER", "OVER", "kept"]


def test_what_could_not_be_measured_is_not_kept() -> None:
    line = BudgetLine("tool_calls", None, 0.9, True, "the float model makes no tool call on the goldens")
    assert not line.passed
    assert "not measured" in str(line)
    assert rows([line])[0][3] == "NOT MEASURED"


def test_every_budget_has_a_title_and_a_limit() -> None:
    names = {field.name for field in dataclasses.fields(Budgets)} - {"baseline"}
    assert names == set(TITLES)
