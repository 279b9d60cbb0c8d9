"""Results of stages, kept from one export to the next under the hash of what went in.

They lie in ``$GEMCUT_CACHE``, or in the user's cache folder as platformdirs has it. Losing them costs time alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

VARIABLE = "GEMCUT_CACHE"
KEPT = 32


def cache_root() -> Path:
    """Where results are kept; the folder need not be there yet."""
    if os.environ.get(VARIABLE):
        return Path(os.environ[VARIABLE]).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("gemcut", appauthor=False)


def key_of(parts: Iterable[bytes]) -> str:
    """The hash of what went into a stage; the order and the limits of the parts count."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()


def fetch(kind: str, key: str, out: Path) -> bool:
    """Copies a kept result to ``out``; False where there is none."""
    kept = cache_root() / kind / key
    try:
        shutil.copyfile(kept, out)
        os.utime(kept)
    except OSError:
        out.unlink(missing_ok=True)
        return False
    return True


def keep(kind: str, key: str, result: Path) -> None:
    """Keeps a copy of a result, and the ``KEPT`` most recently used of its kind. A full or read-only disk is no error."""
    folder = cache_root() / kind
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=folder, prefix=".")
        os.close(handle)
        try:
            shutil.copyfile(result, name)
            Path(name).replace(folder / key)
        finally:
            Path(name).unlink(missing_ok=True)
        used = sorted((p for p in folder.iterdir() if not p.name.startswith(".")), key=lambda p: p.stat().st_mtime)
        for old in used[:-KEPT]:
            old.unlink(missing_ok=True)
