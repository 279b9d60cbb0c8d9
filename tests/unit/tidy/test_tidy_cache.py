"""``gemcut cache``: what is kept is counted by kind, and pruned from what was used longest ago."""

from __future__ import annotations

import ast
import json
import os
import time
from pathlib import Path
from typing import Any

import gemcut
import pytest
from gemcut.cli import main
from gemcut.tidy.kept_results import DAY, KINDS

PACKAGE = Path(gemcut.__file__).parent


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three programs, one of them old, the float model's outputs, a device's library and the hashes."""
    root = tmp_path / "cache"
    monkeypatch.setenv("GEMCUT_CACHE", str(root))
    for age, name in enumerate(("new", "older", "oldest")):
        put(root / "programs" / name / "model.pte", 1000, age * 10)
    put(root / "references" / "a" / "logits", 5000, 1)
    put(root / "devices" / "npm" / "lib" / "lib.so", 300, 40)
    put(root / "hashes.json", 20, 0)
    return root


def put(file: Path, size: int, days: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(bytes(size))
    then = time.time() - days * DAY
    os.utime(file, (then, then))
    os.utime(file.parent, (then, then))


def said(words: list[str], capsys: pytest.CaptureFixture[str]) -> Any:
    assert main(["cache", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_what_is_kept_is_counted_by_kind(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = said(["info"], capsys)
    sizes = {one["kind"]: (one["entries"], one["size"]) for one in found["kinds"]}
    assert sizes["programs"] == (3, 3000)
    assert sizes["references"] == (1, 5000)
    assert sizes["devices"] == (1, 300)
    assert sizes["hashes.json"] == (1, 20)
    assert found["size"] == 8320
    assert main(["cache", "info"]) == 0
    assert "8.3 kB" in capsys.readouterr().out


def test_what_was_not_used_for_long_is_removed(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = said(["prune", "--older-than", "15", "--dry-run"], capsys)
    assert [Path(one["path"]).name for one in found["removed"]] == ["lib", "oldest"]
    assert (cache / "programs" / "oldest").is_dir()
    assert said(["prune", "--older-than", "15"], capsys)["freed"] == 1300
    assert sorted(path.name for path in (cache / "programs").iterdir()) == ["new", "older"]
    assert not (cache / "devices" / "npm" / "lib").exists()


def test_what_was_used_last_is_kept_up_to_a_size(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = said(["prune", "--kind", "programs", "--max-size", "2 kB"], capsys)
    assert (found["freed"], found["kept"]) == (1000, 2000)
    assert sorted(path.name for path in (cache / "programs").iterdir()) == ["new", "older"]
    assert (cache / "references" / "a").is_dir()


def test_all_of_it_goes_only_if_that_is_asked_for(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "prune"]) == 2
    assert "--all" in capsys.readouterr().err
    assert main(["cache", "prune", "--all", "--kind", "programs"]) == 2
    capsys.readouterr()
    assert said(["prune", "--all"], capsys)["kept"] == 0
    assert said(["info"], capsys)["size"] == 0


def test_an_unknown_kind_is_named_with_the_nearest(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "prune", "--kind", "program"]) == 4
    assert "programs" in capsys.readouterr().err


def test_every_kind_that_code_keeps_is_listed() -> None:
    """The names of folders are constants of the modules that keep things there."""
    users = [
        path
        for path in PACKAGE.rglob("*.py")
        if path.name != "result_cache.py" and ("result_cache" in path.read_text() or "cachedir" in path.read_text())
    ]
    named = set()
    for path in users:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") in ("_KIND", "_NAME"):
                named.add(ast.literal_eval(node.value))
    assert named >= {"sensitivity", "litert-skeletons", "hashes.json"}, "the constants have other names now"
    assert named <= {kind.name for kind in KINDS}
