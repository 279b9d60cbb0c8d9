"""Running the command line: in this process for what it says, in one of its own for what it loads."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def gemcut(tmp_path: Path) -> Run:
    """Runs ``gemcut`` in a process and a folder of its own, with no network and no terminal."""

    def run(*words: str, stdin: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", **variables}
        return subprocess.run(
            [sys.executable, "-m", "gemcut.cli", *words],
            cwd=tmp_path,
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run
