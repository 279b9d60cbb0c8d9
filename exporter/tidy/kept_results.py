"""What Gemcut keeps in its cache between runs: how much of each kind, and how it is pruned.

Losing any of it costs only time: it is made or fetched again when it is needed.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import UnsupportedError, nearest
from ..pipeline.journal.reuse import PROGRAMS, REFERENCES
from ..util.result_cache import cache_root

DAY = 86400


@dataclass(frozen=True)
class Kind:
    """One kind of what is kept.

    Attributes:
        name: Its folder, or its file, in the cache.
        title: What it is.
        depth: How many folders deep its entries are.
    """

    name: str
    title: str
    depth: int = 1


KINDS = (
    Kind(REFERENCES.folder, "the float model's outputs: goldens and logits"),
    Kind(PROGRAMS.folder, "programs that exports built"),
    Kind("litert-skeletons", "what conversions to LiteRT left, without weights"),
    Kind("sensitivity", "how much each tensor of a model tolerates, from recipe searches"),
    Kind("devices", "what devices need: Android's libraries, emulators, built runners", 2),
    Kind("hashes.json", "hashes of checkpoints' files", 0),
)


@dataclass(frozen=True)
class KeptKind:
    """How much is kept of one kind.

    Attributes:
        kind: Its name.
        title: What it is.
        entries: How many there are.
        size: Their bytes.
        used: When one of them was used last, in seconds since 1970; null if there is none.
    """

    kind: str
    title: str
    entries: int
    size: int
    used: float | None


@dataclass(frozen=True)
class CacheInfo:
    """``gemcut cache info --json``.

    Attributes:
        folder: The cache's folder, which need not exist.
        kinds: What is kept in it.
        size: The bytes of all of it.
    """

    folder: str
    kinds: tuple[KeptKind, ...]
    size: int


@dataclass(frozen=True)
class PrunedEntry:
    """Something that was removed from the cache, or would be.

    Attributes:
        path: Where it was.
        kind: Its kind.
        size: Its bytes.
        used: When it was used last, in seconds since 1970.
    """

    path: str
    kind: str
    size: int
    used: float


@dataclass(frozen=True)
class CachePruned:
    """``gemcut cache prune --json``.

    Attributes:
        folder: The cache's folder.
        dry_run: Whether nothing was removed.
        removed: What was removed, or would be, the one used longest ago first.
        freed: The bytes of that.
        kept: The bytes of what is left.
    """

    folder: str
    dry_run: bool
    removed: tuple[PrunedEntry, ...]
    freed: int
    kept: int


def cache_info() -> CacheInfo:
    """Return what is kept."""
    kinds = []
    for kind in KINDS:
        entries = list(_entries(kind))
        used = max((one.used for one in entries), default=None)
        kinds.append(KeptKind(kind.name, kind.title, len(entries), sum(one.size for one in entries), used))
    return CacheInfo(str(cache_root()), tuple(kinds), sum(one.size for one in kinds))


def prune_cache(
    kinds: Sequence[str], older_than: int | None = None, max_size: int | None = None, dry_run: bool = False
) -> CachePruned:
    """Remove what is kept, the entries used longest ago first.

    Args:
        kinds: Names of the kinds to remove from; empty for all.
        older_than: Remove only what wasn't used for so many days.
        max_size: Stop when no more than so many bytes of these kinds are left.
        dry_run: Whether to remove nothing, and only say what would be.

    Raises:
        UnsupportedError: A kind is unknown; the message has the nearest.
        OSError: Something can't be removed.
    """
    known = {kind.name: kind for kind in KINDS}
    for name in kinds:
        if name not in known:
            raise UnsupportedError(f"nothing of the kind '{name}' is kept: {nearest(name, known)}")
    entries = sorted(
        (one for kind in KINDS if not kinds or kind.name in kinds for one in _entries(kind)), key=lambda one: one.used
    )
    left, gone = sum(one.size for one in entries), []
    for one in entries:
        if older_than is not None and one.used > time.time() - older_than * DAY:
            break
        if max_size is not None and left <= max_size:
            break
        if not dry_run:
            _remove(Path(one.path))
        left -= one.size
        gone.append(one)
    return CachePruned(str(cache_root()), dry_run, tuple(gone), sum(one.size for one in gone), left)


def _entries(kind: Kind) -> Iterator[PrunedEntry]:
    for path in _paths(cache_root() / kind.name, kind.depth):
        files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
        # A file that is linked twice, as in a program's folder, takes its room once.
        size = sum({(stat := file.stat()).st_ino: stat.st_size for file in files}.values())
        yield PrunedEntry(str(path), kind.name, size, path.stat().st_mtime)


def _paths(place: Path, depth: int) -> list[Path]:
    if depth == 0:
        return [place] if place.exists() else []
    return [found for path in (sorted(place.iterdir()) if place.is_dir() else ()) for found in _paths(path, depth - 1)]


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
