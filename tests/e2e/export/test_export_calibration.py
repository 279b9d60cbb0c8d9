"""``--calibration``: what a user's text does, and what the manifests say of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gemcut.bundle.reader import open_bundle
from gemcut.runtimes.executorch.runner import load_kernels

WORDS = ("--target", "linux-x86_64", "--recipe", "int4", "--context", 256, "--gate", "report")


def test_a_users_text_is_recorded_and_both_runtimes_store_the_same(
    tiny: Path, tmp_path: Path, run: Callable[..., Any]
) -> None:
    text = tmp_path / "mine.txt"
    text.write_text("".join(f"What my users say, line {number}: hello there.\n" for number in range(400)))
    words = ("export", tiny, *WORDS, "--runtime", "executorch,litert", "--calibration", text, "-o", tmp_path / "out")
    done = run(*words, "--fresh", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Calibrating on text" in done.stderr
    assert json.loads(done.stdout)["seconds"]["calibrate"] > 0
    records = []
    for made in sorted((tmp_path / "out").iterdir()):
        with open_bundle(made) as bundle:
            manifest = bundle.manifest
        assert manifest.recipe.folds
        assert {rule.method for rule in manifest.recipe.rules} == {"gptq", "round-to-nearest"}
        records.append(manifest.calibration)
    one, other = records
    assert one == other
    assert one is not None
    assert one.text == "mine.txt"
    assert one.text_sha256 == hashlib.sha256(text.read_bytes()).hexdigest()
    assert one.tokens > 2000


def test_none_calibrates_nothing_and_a_missing_text_is_told_before_anything(
    tiny: Path, tmp_path: Path, here: Callable[..., Any]
) -> None:
    said = here("export", tiny, *WORDS, "--calibration", tmp_path / "nowhere.txt", "-o", tmp_path / "bundle")
    assert said.code == 2
    assert "nowhere.txt" in said.err
    assert "Loading the float model" not in said.err
    float32 = (*WORDS[:2], "--recipe", "float32", *WORDS[4:])
    text = tmp_path / "mine.txt"
    text.write_text("hello\n")
    said = here("export", tiny, *float32, "--calibration", text, "-o", tmp_path / "bundle")
    assert said.code == 2
    assert "'float32' needs no calibration" in said.err
    load_kernels()  # a program that this process has run must not keep it from tracing another
    said = here("export", tiny, *WORDS, "--calibration", "none", "-o", tmp_path / "bundle")
    assert said.code == 0, said.err
    assert "Calibrating on text" not in said.err
    with open_bundle(tmp_path / "bundle") as bundle:
        assert bundle.manifest.calibration is None
        assert not bundle.manifest.recipe.folds


def test_quick_takes_faster_methods_and_less_text(tiny: Path, tmp_path: Path, here: Callable[..., Any]) -> None:
    said = here("export", tiny, *WORDS, "--calibration", "quick", "-o", tmp_path / "bundle")
    assert said.code == 0, said.err
    with open_bundle(tmp_path / "bundle") as bundle:
        manifest = bundle.manifest
    assert manifest.recipe.folds
    assert {rule.method for rule in manifest.recipe.rules} == {"weighted-rounding", "round-to-nearest"}
    assert manifest.calibration is not None
    assert manifest.calibration.quick
    assert manifest.calibration.text == "gemcut"
    said = here("export", tiny, *WORDS[:2], "--max-kl", 0.5, "--calibration", "quick", "-o", tmp_path / "other")
    assert said.code == 2
    assert "a search needs a whole calibration" in said.err
