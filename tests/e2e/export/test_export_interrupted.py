"""Exports that are cut off in the middle: by Ctrl-C, by SIGTERM, by a full disk. Nothing stays behind."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.files import small_disk


@pytest.mark.parametrize(
    ("number", "times", "pause"), [(signal.SIGINT, 1, 0), (signal.SIGTERM, 1, 0), (signal.SIGINT, 5, 0.1)]
)
def test_a_signal_in_the_middle_of_lowering(
    number: signal.Signals,
    times: int,
    pause: float,
    tiny: Path,
    tmp_path: Path,
    begin: Callable[..., subprocess.Popen[str]],
) -> None:
    """Once, or several times, as people press Ctrl-C who are in a hurry."""
    out = tmp_path / "out" / "deeper" / "bundle"
    words = ("export", tiny, "--target", "linux-x86_64", "--recipe", "float32", "--context", 256, "--fresh", "-o", out)
    process = begin(*words, cwd=tmp_path)
    assert process.stderr
    said = []
    for line in process.stderr:
        said.append(line)
        if line.startswith("Lowering"):
            assert list(out.parent.glob(".bundle.partial-*")), "nothing was under way"
            for _ in range(times):
                process.send_signal(number)
                time.sleep(pause)
            break
    stdout, rest = process.communicate(timeout=120)
    assert process.returncode == 130, "".join(said) + rest
    assert "error: interrupted, nothing was published" in rest
    assert "Traceback" not in rest
    assert stdout == ""
    assert not list(tmp_path.iterdir())


def test_a_full_disk(tiny: Path, tmp_path: Path, run: Callable[..., Any]) -> None:
    """In the last stage; in the others, with the fake runtime: tests/unit/pipeline."""
    disk = tmp_path / "disk"
    words = (
        "export",
        tiny,
        "--target",
        "linux-x86_64",
        "--recipe",
        "float32",
        "--context",
        256,
        "--format",
        "zip",
        "--fresh",
    )
    with small_disk(disk, "7100k"):
        done = run(*words, "-o", disk / "bundle.gemcut", cwd=tmp_path)
        assert done.returncode == 8, done.stderr
        lines = [line for line in done.stderr.splitlines() if not line.startswith(("error: ", "hint: "))]
        assert lines[-1].startswith("Publishing")
        assert "error: the disk is full" in done.stderr
        assert "hint: " in done.stderr
        assert not list(disk.iterdir())
    assert [path.name for path in tmp_path.iterdir()] == ["disk"]
