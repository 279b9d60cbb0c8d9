"""What lies on the disk."""

from __future__ import annotations

import os
from pathlib import Path


def left(folder: Path) -> list[str]:
    """What lies in a folder, hidden files too."""
    return sorted(os.listdir(folder))


def contents(bundle: Path) -> dict[str, bytes]:
    """Every file of a folder: its path in it -> its bytes."""
    return {p.relative_to(bundle).as_posix(): p.read_bytes() for p in sorted(bundle.rglob("*")) if p.is_file()}
