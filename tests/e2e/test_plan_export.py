"""Plans held against exports that are really made: sizes, memory and disk; not seconds, which others' work changes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from gemcut.checkpoint.random import random_checkpoint

from tests.support.command import gemcut

CONTEXT = 512
# What the shapes alone don't say: alignment, the graph, the goldens' texts.
SIZES = 0.02
ESTIMATE = 0.2


def middle() -> Any:
    """Gemma 3 270M's layers, six of them, and an eighth of its vocabulary: 54 million parameters."""
    from transformers import Gemma3TextConfig

    kinds = ["sliding_attention" if number % 6 != 5 else "full_attention" for number in range(6)]
    return Gemma3TextConfig(
        vocab_size=32768,
        hidden_size=640,
        intermediate_size=2048,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=1,
        head_dim=256,
        query_pre_attn_scalar=256,
        sliding_window=128,
        layer_types=kinds,
        max_position_embeddings=32768,
    )


@dataclass(frozen=True)
class Measured:
    """An export's own document and its bundle; most bytes on the disk at once; what ``plan`` said before."""

    document: dict[str, Any]
    bundle: Path
    disk: int
    plan: dict[str, Any]

    @property
    def planned(self) -> dict[str, Any]:
        """What was said of the bundle."""
        return self.plan["bundles"][0]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    folder = tmp_path_factory.mktemp("middle")
    checkpoint = random_checkpoint(folder / "checkpoint", middle())
    alone = folder / "alone"
    alone.mkdir()
    (alone / "config.json").write_bytes((checkpoint / "config.json").read_bytes())
    shared = ["--target", "android-arm64", "--context", str(CONTEXT), "--json"]
    plan = json.loads(_gemcut("plan", alone, *shared))
    out = folder / "bundle"
    words = ("export", checkpoint, *shared, "-o", out, "--gate", "report", "--fresh")
    with (folder / "said").open("w+") as said, (folder / "errors").open("w+") as errors:
        process = subprocess.Popen(_command(*words), stdout=said, stderr=errors, cwd=folder)
        disk = 0
        while process.poll() is None:
            disk = max(disk, _taken(folder, out.name, process.pid))
            time.sleep(0.1)
        assert process.returncode == 0, (folder / "errors").read_text()[-3000:]
        return Measured(json.loads((folder / "said").read_text()), out, disk, plan)


def _command(*words: object) -> list[str]:
    return [sys.executable, "-m", "gemcut.cli", *map(str, words)]


def _gemcut(*words: object) -> str:
    done = gemcut(*words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _taken(folder: Path, name: str, pid: int) -> int:
    """Bytes of an export's files: those beside its output path, and those that have no name any more."""
    files: dict[int, int] = {}
    for partial in folder.glob(f".{name}.partial*"):
        for place, _, names in os.walk(partial):  # which passes over folders that are gone meanwhile
            for each in names:
                try:
                    found = os.stat(os.path.join(place, each))
                except OSError:  # gone meanwhile
                    continue
                files[found.st_ino] = 512 * found.st_blocks
    try:
        lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    except OSError:
        return 0
    for line in lines:
        words = line.split()
        if words[-1] == "(deleted)" and str(folder) in line and int(words[4]) not in files:
            first, last = (int(number, 16) for number in words[0].split("-"))
            files[-int(words[4])] = files.get(-int(words[4]), 0) + last - first
    return sum(files.values())


def test_sizes_are_those_of_the_bundle(measured: Measured) -> None:
    program = (measured.bundle / "model.pte").stat().st_size
    assert measured.planned["program"] == pytest.approx(program, rel=SIZES)
    rest = measured.document["bundles"][0]["size"] - program
    planned = measured.planned["bundle"] - measured.planned["program"]
    assert planned == pytest.approx(rest, rel=1.0)  # a guessed tokenizer
    manifest = json.loads((measured.bundle / "manifest.json").read_text())
    stored = {c["name"]: c["bytes"] for c in measured.plan["tensors"] if c["name"] != "norm"}
    assert stored == {name: record["bytes"] for name, record in manifest["tensors"].items()}
    assert measured.plan["parameters"] == manifest["model"]["parameters"]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system doesn't say what memory is its own")
def test_memory_is_that_of_the_export(measured: Measured) -> None:
    cost, found = measured.plan["export"], measured.document
    assert cost["memory"] == pytest.approx(found["peak_memory"], rel=ESTIMATE)
    for stage in ("load", "lower", "prove"):  # others hang on what the C library gives back, more or less each time
        assert cost["memory_by_stage"][stage] == pytest.approx(found["memory"][stage], rel=ESTIMATE), stage
    assert cost["memory"] == max(cost["memory_by_stage"].values())


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="files without a name can't be seen")
def test_disk_is_that_of_the_export(measured: Measured) -> None:
    assert measured.plan["export"]["disk"] == pytest.approx(measured.disk, rel=ESTIMATE)


def test_run_time_memory_is_that_of_the_bundle(measured: Measured) -> None:
    said = json.loads(_gemcut("bench", measured.bundle, "--runs", 1, "--prompt", CONTEXT - 1, "--json"))
    used = said["bundles"][0]["peak_memory"]["mean"]
    assert measured.planned["memory"] == pytest.approx(used, rel=ESTIMATE)


def test_every_stage_that_takes_time_is_estimated(measured: Measured) -> None:
    seconds, found = measured.plan["export"]["seconds_by_stage"], measured.document["seconds"]
    assert set(seconds) <= set(found)
    missing = sum(taken for stage, taken in found.items() if stage not in seconds)
    assert missing < 0.02 * sum(found.values())
    assert measured.plan["export"]["seconds"] == pytest.approx(sum(seconds.values()), abs=1)


def test_a_machine_that_has_room_is_not_refused(measured: Measured) -> None:
    assert measured.plan["export"]["fits"] in (True, None)
    assert os.path.isdir(measured.bundle)
