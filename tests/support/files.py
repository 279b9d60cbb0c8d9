"""What lies on the disk, and a disk that is small."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def left(folder: Path) -> list[str]:
    """What lies in a folder, hidden files too."""
    return sorted(os.listdir(folder))


def contents(bundle: Path) -> dict[str, bytes]:
    """Every file of a folder: its path in it -> its bytes."""
    return {p.relative_to(bundle).as_posix(): p.read_bytes() for p in sorted(bundle.rglob("*")) if p.is_file()}


@contextmanager
def small_disk(where: Path, size: str) -> Iterator[None]:
    """A filesystem of a few hundred kilobytes, in memory."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("a disk small enough to fill can be mounted by root alone")
    where.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(where)], capture_output=True)
    if done.returncode:
        pytest.skip(f"this machine lets no tmpfs be mounted: {done.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(where)], check=True)
