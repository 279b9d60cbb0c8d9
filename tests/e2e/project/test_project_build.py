"""``gemcut export`` in a folder with a ``gemcut.toml``, through the command line: one real export, and what follows."""

from __future__ import annotations

import json
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from gemcut.bundle.reader import open_bundle
from gemcut.cli import documents
from gemcut.project.outcomes import ProjectResult
from gemcut.sample import sample_path

from tests.support import command

TEXT = """[defaults]
target = "linux-x86_64"

[bundles.broken]
model = "broken"

[bundles.desk]
model = "tiny"
recipe = "float32"
context = 256
format = "zip"
budgets.mean_kl = 0.01
"""


def gemcut(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return command.gemcut(*words, cwd=folder, env={"GITHUB_ACTIONS": ""})


@pytest.fixture(scope="module")
def first(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A project of a bundle whose checkpoint has no weights, and a good one; and its first export."""
    folder = tmp_path_factory.mktemp("app")
    shutil.copytree(sample_path(), folder / "broken", ignore=shutil.ignore_patterns("*.safetensors"))
    shutil.copytree(tiny, folder / "tiny")
    (folder / "gemcut.toml").write_text(TEXT)
    return folder, gemcut(folder, "export", "--json", "--junit", "report.xml")


@pytest.fixture
def built(first: tuple[Path, Any], tmp_path: Path) -> Path:
    """What that export left, with the broken bundle taken out of the file."""
    folder = tmp_path / "app"
    shutil.copytree(first[0], folder)
    text = (folder / "gemcut.toml").read_text()
    (folder / "gemcut.toml").write_text(text.replace('[bundles.broken]\nmodel = "broken"\n', ""))
    return folder


def test_a_bundle_that_fails_does_not_stop_the_others(first: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, done = first
    assert done.returncode == 3, done.stdout + done.stderr
    found = json.loads(done.stdout)
    jsonschema.validate(found, documents._schema(ProjectResult))
    broken, desk = found["bundles"]
    assert not found["passed"]
    assert (broken["name"], broken["line"], broken["state"], broken["made"]) == ("broken", 4, "failed", [])
    assert (broken["error"]["kind"], broken["error"]["exit_code"]) == ("CheckpointError", 3)
    assert (desk["name"], desk["state"], desk["error"]) == ("desk", "published", None)
    assert desk["reasons"] == ["there is no gemcut.lock"]
    (made,) = desk["made"]
    assert made["bundle"].endswith("bundles/desk.gemcut")
    with open_bundle(folder / "bundles/desk.gemcut") as bundle:
        bundle.verify()
    lock = tomllib.loads((folder / "gemcut.lock").read_text())
    assert list(lock["bundles"]) == ["desk"]
    locked = lock["bundles"]["desk"]["executorch"]
    assert (locked["bundle"], locked["place"]) == (made["sha256"], "bundles/desk.gemcut")
    assert locked["options"] == {"context": 256, "format": "zip", "output": "bundles/desk.gemcut"}
    assert "gemcut.toml:4: bundles.broken: " in done.stderr
    report = (folder / "report.xml").read_text()
    assert "broken" in report
    assert "desk" in report


def test_what_is_up_to_date_is_left_alone(built: Path) -> None:
    bundle = built / "bundles/desk.gemcut"
    before = bundle.stat().st_mtime_ns, (built / "gemcut.lock").read_bytes()
    for words in ((), ("--locked",), ("--only", "desk")):
        done = gemcut(built, "export", *words)
        assert done.returncode == 0, done.stderr
        assert "up to date" in done.stdout
    assert (bundle.stat().st_mtime_ns, (built / "gemcut.lock").read_bytes()) == before


def test_locked_refuses_what_moved_and_names_it(built: Path) -> None:
    text = (built / "gemcut.toml").read_text()
    (built / "gemcut.toml").write_text(text.replace("256", "255").replace("float32", "int8"))
    before = (built / "gemcut.lock").read_bytes()
    done = gemcut(built, "export", "--locked", "--json")
    assert done.returncode == 2
    (desk,) = json.loads(done.stdout)["bundles"]
    assert desk["error"]["kind"] == "LockError"
    assert "recipe float32 -> int8" in desk["error"]["message"]
    assert "context 256 -> 255" in desk["error"]["message"]
    assert (built / "gemcut.lock").read_bytes() == before
    assert "Traceback" not in done.stderr


def test_locked_refuses_a_lock_that_has_too_little_or_too_much(built: Path, first: tuple[Path, Any]) -> None:
    done = gemcut(first[0], "export", "--locked")
    assert done.returncode == 2
    assert "gemcut.lock has no such bundle" in done.stderr
    text = (built / "gemcut.toml").read_text()
    (built / "gemcut.toml").write_text(text.replace("bundles.desk", "bundles.other"))
    done = gemcut(built, "export", "--locked")
    assert done.returncode == 2
    assert "bundles.desk is no longer in gemcut.toml" in done.stderr
    (built / "gemcut.lock").unlink()
    done = gemcut(built, "export", "--locked")
    assert done.returncode == 2
    assert "there is no gemcut.lock" in done.stderr


def test_a_bundle_that_is_not_the_locked_one_is_not_published(built: Path) -> None:
    """The second export of the same inputs: its reference is kept from the first."""
    (built / "bundles/desk.gemcut").unlink()
    path = built / "gemcut.lock"
    lock = path.read_text()
    sha = tomllib.loads(lock)["bundles"]["desk"]["executorch"]["bundle"]
    program = tomllib.loads(lock)["bundles"]["desk"]["executorch"]["contents"]["model.pte"]
    path.write_text(lock.replace(sha, "0" * 64).replace(program, "1" * 64))
    done = gemcut(built, "export", "--locked", "--json")
    assert done.returncode == 6, done.stderr
    (desk,) = json.loads(done.stdout)["bundles"]
    assert desk["reasons"] == ["no bundle at bundles/desk.gemcut"]
    assert "model.pte differs" in desk["error"]["message"]
    assert f"000000000000 -> {sha[:12]}" in desk["error"]["message"]  # and so it is the same bundle as the first
    assert not (built / "bundles/desk.gemcut").exists()


def test_a_wrong_file_is_told_before_anything(built: Path) -> None:
    (built / "gemcut.toml").write_text(TEXT.replace("context", "contxt"))
    done = gemcut(built, "export", "--sarif", "report.sarif")
    assert done.returncode == 4
    assert "gemcut.toml:10: unknown key 'bundles.desk.contxt': did you mean 'context'" in done.stderr
    (result,) = json.loads((built / "report.sarif").read_text())["runs"][0]["results"]
    assert result["locations"][0]["physicalLocation"]["region"]["startLine"] == 10


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--recipe", "int8"), "--recipe"),
        (("--format", "dir"), "--format"),
        (("-o", "x"), "--output"),
        (("--gate", "report"), "--gate"),
        (("--only", "dsk"), "did you mean 'desk'"),
    ],
)
def test_a_flag_that_the_file_stands_for_is_refused_by_name(built: Path, words: tuple[str, ...], said: str) -> None:
    done = gemcut(built, "export", *words)
    assert done.returncode == 2
    assert said in done.stderr


def test_without_a_model_and_without_a_file_both_ways_are_told(tmp_path: Path) -> None:
    done = gemcut(tmp_path, "export")
    assert done.returncode == 2
    assert "--target" in done.stderr
    assert "gemcut init" in done.stderr
    done = gemcut(tmp_path, "export", "--target", "linux-x86_64", "--locked")
    assert done.returncode == 2
    assert "--locked" in done.stderr
