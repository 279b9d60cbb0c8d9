"""How many bytes files take."""

from __future__ import annotations

from pathlib import Path


def size_on_disk(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder and below it."""
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
