"""SHA-256 of files, each read once: a hash is cached with the file's size, times and inode.

A hash is cached only if the file had not been touched for two seconds when it was hashed: a later change within one
tick of the file system's clock would leave no trace in its times.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from ..util import result_cache as cachedir

SETTLED = 2_000_000_000  # nanoseconds; FAT's times tick every two seconds
SMALL = 1 << 20  # bytes; hashing a smaller file is faster than a lookup
MOST = 4096
_NAME = "hashes.json"


class Hashes:
    """Hashes of files by path; ``save`` keeps them for the next run. Losing them only costs time."""

    def __init__(self) -> None:
        self._kept: dict[str, list[Any]] | None = None
        self._new: dict[str, list[Any]] = {}

    def of(self, path: Path) -> str:
        """Return the SHA-256 of a file, in hex.

        Raises:
            OSError: It can't be read.
        """
        stat = path.stat()
        if stat.st_size < SMALL:
            return hashlib.sha256(path.read_bytes()).hexdigest()
        key = os.path.realpath(path)
        marks = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
        kept = self._read().get(key)
        if kept is not None and kept[:-1] == marks:
            return str(kept[-1])
        began = time.time_ns()
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if max(stat.st_mtime_ns, stat.st_ctime_ns) + SETTLED < began:
            self._new[key] = [*marks, digest]
        return digest

    def save(self) -> None:
        """Write the new hashes to the cache. A full or read-only disk isn't an error."""
        if not self._new:
            return
        whole = {**self._read(), **self._new}
        newest = dict(list(whole.items())[-MOST:])
        folder = cachedir.cache_root()
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=folder, prefix=".hashes")
            try:
                with open(handle, "w", encoding="utf-8") as sink:
                    json.dump(newest, sink)
                Path(name).replace(folder / _NAME)
            finally:
                Path(name).unlink(missing_ok=True)
        self._kept, self._new = newest, {}

    def _read(self) -> dict[str, list[Any]]:
        if self._kept is None:
            try:
                found = json.loads((cachedir.cache_root() / _NAME).read_text(encoding="utf-8"))
            except (OSError, ValueError):
                found = {}
            self._kept = found if isinstance(found, dict) else {}
        return self._kept
