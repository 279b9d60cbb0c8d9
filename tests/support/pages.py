"""The shell blocks of the documents, and what their lines do."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.support.command import gemcut

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"(?:<!-- not run: (?P<why>[^\n]+) -->\n)?```sh\n(?P<text>.*?)```", re.DOTALL)


def lines(name: str) -> Iterator[tuple[str, str | None]]:
    """The lines of the shell blocks of a page, continued ones as one, each with the reason why it isn't run."""
    for block in BLOCK.finditer((ROOT / name).read_text(encoding="utf-8")):
        for line in block["text"].replace("\\\n", " ").splitlines():
            if line.strip():
                yield line, block["why"]


def blocks(name: str, language: str) -> list[str]:
    """The blocks of a page in a language."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), re.DOTALL)


def typed(line: str, folder: Path, programs: Path) -> subprocess.CompletedProcess[str]:
    """What a line does in a shell: if it is a plain ``gemcut``, without a shell, which saves a start."""
    words = shlex.split(line, comments=True)
    if words[0] == "gemcut" and not set(line) & set("|<>&;$`*?~"):
        return gemcut(*words[1:], cwd=folder)
    program = programs / "gemcut"
    programs.mkdir(exist_ok=True)
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m gemcut.cli "$@"\n')
    program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        ["bash", "-c", line], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
