"""The gate: what fails it isn't published; what is published all the same says so wherever it is opened."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_failed_gate_publishes_nothing_and_shows_where_it_was_worst(
    unproven: Any, tiny: Path, coarse: Path, tmp_path: Path, run: Run
) -> None:
    out = tmp_path / "bundle.gemcut"
    shutil.copyfile(unproven.path, out)
    done = run(
        "export",
        tiny,
        "--target",
        "linux-x86_64",
        "--recipe",
        coarse,
        "--context",
        256,
        "--format",
        "zip",
        "--force",
        "-o",
        out,
        cwd=tmp_path,
    )
    assert done.returncode == 5, done.stderr
    assert done.stdout == ""
    prompts = [prompt["id"] for prompt in json.loads(f"[{','.join(goldens(unproven.path))}]")]
    table = done.stderr[: done.stderr.index("error: ")]
    for head in ("prompt", "worst position", "KL there", "top-1", "failed"):
        assert head in table
    rows = [line.split() for line in table.splitlines() if "mean_kl" in line or "top1" in line]
    assert rows
    assert all(row[0] in prompts and row[1].isdigit() for row in rows)
    problem = done.stderr[done.stderr.index("error: ") :]
    assert "nothing was published" in problem
    assert "limit 0.001" in problem
    assert "position" in problem
    assert "--gate report" in problem
    assert sha256(out) == sha256(unproven.path), "what was there before is gone"
    assert [path.name for path in tmp_path.iterdir()] == ["bundle.gemcut"]


def goldens(bundle: Path) -> list[str]:
    """The lines of a zip's goldens.jsonl."""
    from gemcut.bundle.reader import open_bundle

    with open_bundle(bundle) as opened:
        return [line for line in opened.read("goldens/goldens.jsonl").decode().splitlines() if line.strip()]


def test_gate_report_publishes_it_marked_as_unproven(unproven: Any, here: Callable[..., Any]) -> None:
    assert unproven.document["proven"] is False
    assert any("mean_kl" in reason for reason in unproven.document["unproven"])
    assert "UNPROVEN" in unproven.stderr
    said = here("inspect", unproven.path, "--json")
    manifest = json.loads(said.out)["manifest"]
    assert manifest["proven"] is False
    assert manifest["unproven"] == unproven.document["unproven"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("inspect",), 0),
        (("chat", "--prompt", "Hello", "--max-new-tokens", 4), 0),
        (("bench", "--runs", 1, "--prompt", 16), 0),
        (("validate",), 5),
    ],
)
def test_every_command_says_that_it_is_unproven(
    words: tuple[Any, ...], code: int, unproven: Any, tmp_path: Path, run: Run
) -> None:
    done = run(words[0], unproven.path, *words[1:], cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert "UNPROVEN" in done.stderr
    assert "mean_kl" in done.stderr


def test_two_exports_of_the_same_inputs_are_the_same_bytes(unproven: Any, export_unproven: Callable[..., Any]) -> None:
    again = export_unproven(PYTHONHASHSEED="2", TZ="Asia/Kolkata")
    assert again.path != unproven.path
    assert sha256(again.path) == sha256(unproven.path)
