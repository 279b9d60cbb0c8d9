"""``gemcut list`` and ``gemcut rm``: what is a bundle is found and removed, and nothing else."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from gemcut.bundle.workdir import lock
from gemcut.cli import main


@pytest.fixture
def shelf(bundle: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two bundles, one of them deeper, a damaged one, and what is none."""
    folder = tmp_path_factory.mktemp("shelf")
    monkeypatch.chdir(folder)
    for place in ("bundles/one", "bundles/deeper/two", "node_modules/other", "bundles/.one.partial-1/bundle"):
        shutil.copytree(bundle, folder / place)
    (folder / "bundles" / "broken").mkdir()
    (folder / "bundles" / "broken" / "manifest.json").write_text("{}")
    (folder / "notes").mkdir()
    (folder / "notes" / "mine.txt").write_text("mine")
    return folder


def test_bundles_below_a_folder_are_listed_and_a_damaged_one_is_named(
    shelf: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["list", "--json"]) == 0
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert sorted(one["bundle"] for one in found["bundles"]) == ["bundles/deeper/two", "bundles/one"]
    assert list(found["unreadable"]) == ["bundles/broken"]
    size = sum(file.stat().st_size for file in (shelf / "bundles" / "one").rglob("*") if file.is_file())
    assert {one["size"] for one in found["bundles"]} == {size}
    assert main(["list", "bundles/deeper"]) == 0
    assert "1 in all" in capsys.readouterr().out
    assert main(["list", "notes"]) == 0
    assert "There is no bundle" in capsys.readouterr().out


def test_a_bundle_is_removed_with_what_killed_exports_left(shelf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rm", "bundles/one", "--yes"]) == 0
    assert "freed" in capsys.readouterr().out
    left = sorted(path.name for path in (shelf / "bundles").iterdir())
    assert left == ["broken", "deeper"]


def test_what_killed_exports_left_is_listed_and_counted(shelf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    left = shelf / "bundles" / ".never.partial-2" / "kept"
    left.mkdir(parents=True)
    (left / "model.pte").write_bytes(bytes(5000))
    assert main(["list", "--json"]) == 0
    found = {one["bundle"]: one for one in json.loads(capsys.readouterr().out)["unfinished"]}
    assert sorted(found) == ["bundles/never", "bundles/one"]
    assert (found["bundles/never"]["size"], found["bundles/never"]["running"]) == (5000, False)
    assert main(["list"]) == 0
    assert "bundles/never was not finished" in capsys.readouterr().out
    assert main(["rm", "bundles/never", "bundles/one", "--yes", "--json"]) == 0
    gone = json.loads(capsys.readouterr().out)
    never, one = gone["removed"]
    assert (never["bundle"], one["bundle"]["bundle"]) == (None, "bundles/one")
    assert gone["freed"] == 5000 + one["bundle"]["size"] + found["bundles/one"]["size"]
    assert sorted(path.name for path in (shelf / "bundles").iterdir()) == ["broken", "deeper"]


def test_an_export_that_is_under_way_is_said_to_be_and_is_left(shelf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    handle = lock(shelf / "bundles" / ".one.partial-1")
    assert handle is not None
    try:
        assert main(["list"]) == 0
        assert "bundles/one is being made" in capsys.readouterr().out
        assert main(["rm", "bundles/one", "--yes"]) == 2
        assert "another run" in capsys.readouterr().err
    finally:
        os.close(handle)
    assert (shelf / "bundles" / "one").is_dir()


def test_without_a_folder_the_project_s_bundles_are_listed(
    shelf: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (shelf / "gemcut.toml").write_text("")
    monkeypatch.chdir(shelf / "notes")
    assert main(["list", "--json"]) == 0
    shown = capsys.readouterr()
    assert "../gemcut.toml" in shown.err
    assert sorted(one["bundle"] for one in json.loads(shown.out)["bundles"]) == [
        "../bundles/deeper/two",
        "../bundles/one",
    ]
    assert main(["list", "."]) == 0
    assert "There is no bundle" in capsys.readouterr().out


def test_the_bundle_that_one_stands_in_can_be_removed(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shelf / "bundles" / "one")
    assert main(["rm", ".", "--yes"]) == 0
    assert not (shelf / "bundles" / "one").exists()


def test_nobody_is_asked_where_there_is_no_terminal(shelf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rm", "bundles/one"]) == 2
    assert "--yes" in capsys.readouterr().err
    assert (shelf / "bundles" / "one").is_dir()


@pytest.mark.parametrize("other", ["notes", "notes/mine.txt", "bundles", "bundles/broken", "nowhere"])
def test_if_one_is_no_bundle_nothing_is_removed(shelf: Path, other: str) -> None:
    before = sorted(shelf.rglob("*"))
    assert main(["rm", "bundles/one", other, "--yes"]) == 2
    assert sorted(shelf.rglob("*")) == before


def test_a_bundle_with_a_strangers_file_is_left(shelf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (shelf / "bundles" / "one" / "diary.txt").write_text("mine")
    assert main(["rm", "bundles/one", "--yes"]) == 2
    assert "diary.txt" in capsys.readouterr().err
    assert (shelf / "bundles" / "one" / "diary.txt").is_file()
