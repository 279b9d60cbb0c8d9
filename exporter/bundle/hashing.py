"""Hashing of files of any size, piece by piece and with progress."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ..util.progress import Progress
from .manifest import FileRecord

# Bytes read at a time.
_PIECE = 1 << 24


def hash_file(path: Path, progress: Progress | None = None) -> FileRecord:
    """Return the SHA-256 and the size of a file.

    Args:
        path: The file.
        progress: Told of each 16 MiB.

    Raises:
        OSError: The file can't be read.
    """
    digest, done, size = hashlib.sha256(), 0, path.stat().st_size
    buffer = bytearray(min(_PIECE, size) or 1)
    view = memoryview(buffer)
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            digest.update(view[:count])
            done += count
            if progress is not None and size > _PIECE:
                progress.update(done, size, path.name)
    return FileRecord(sha256=digest.hexdigest(), size=done)
