"""Results of stages, kept from one export to the next under the hash of what went in.

They are in ``$GEMCUT_CACHE``, or in the user's cache folder as platformdirs has it. Losing them costs only time.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO

VARIABLE = "GEMCUT_CACHE"
KEPT = 32
_DIGEST = 32  # bytes of a sha256
_CHUNK = 1 << 20


def cache_root() -> Path:
    """Return the folder that results are kept in; it need not exist yet."""
    if os.environ.get(VARIABLE):
        return Path(os.environ[VARIABLE]).expanduser()
    from platformdirs import user_cache_path

    return Path(user_cache_path("gemcut", appauthor=False))


def key_of(parts: Iterable[bytes]) -> str:
    """Return the hash of what went into a stage; the order of the parts and where each ends count."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()


def fetch(kind: str, key: str, out: Path) -> bool:
    """Copy a kept result to ``out``.

    Args:
        kind: The kind of result, which is a folder in the cache.
        key: As ``key_of`` made it.
        out: The file to write; it is removed if there is no sound result.

    Returns:
        False if no result is kept, or only a damaged one, as a power failure can leave it.
    """
    kept = cache_root() / kind / key
    try:
        with kept.open("rb") as source, out.open("wb") as sink:
            whole = source.read(_DIGEST) == _copy(source, sink)
    except OSError:
        whole = False
    if not whole:
        out.unlink(missing_ok=True)
        return False
    with contextlib.suppress(OSError):  # another user's: it can be read, and not be marked as used
        os.utime(kept)
    return True


def keep(kind: str, key: str, result: Path) -> None:
    """Keep a copy of a result, preceded by its own hash, and only the ``KEPT`` most recently used of its kind.

    A full or read-only disk is not an error.

    Args:
        kind: The kind of result, which is a folder in the cache.
        key: As ``key_of`` made it.
        result: The file to copy.
    """
    folder = cache_root() / kind
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=folder, prefix=".")
        try:
            with result.open("rb") as source, open(handle, "wb") as sink:
                sink.write(bytes(_DIGEST))
                digest = _copy(source, sink)
                sink.seek(0)
                sink.write(digest)
            Path(name).replace(folder / key)
        finally:
            Path(name).unlink(missing_ok=True)
        used = sorted((p for p in folder.iterdir() if not p.name.startswith(".")), key=lambda p: p.stat().st_mtime)
        for old in used[:-KEPT]:
            old.unlink(missing_ok=True)


def _copy(source: IO[bytes], sink: IO[bytes]) -> bytes:
    """Copies what is left of ``source``; returns its hash."""
    digest = hashlib.sha256()
    while chunk := source.read(_CHUNK):
        digest.update(chunk)
        sink.write(chunk)
    return digest.digest()
