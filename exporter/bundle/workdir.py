"""Folders of unfinished bundles: which have a live owner, and what becomes of those whose owner was killed."""

from __future__ import annotations

import errno
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

if sys.platform != "win32":
    import fcntl

# In a partial folder: the key of what it is made from, what outlives a run that is killed, and a bundle set aside.
KEY, KEPT, ASIDE = "key", "kept", "replaced"
_PARTIAL = re.compile(r"\.(?P<name>.+)\.partial-.+")


def lock(path: Path) -> int | None:
    """Take the lock on a folder, so that another run can see that its owner lives.

    Args:
        path: The folder.

    Returns:
        The lock's file descriptor; None if another run holds it, or the folder is gone.
    """
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        if sys.platform != "win32":
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(handle), os.lstat(path)):
            return handle  # else another run has removed or renamed it before we had the lock
    except OSError:
        pass
    os.close(handle)
    return None


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _abandoned(out: Path) -> Iterator[tuple[Path, int]]:
    """Partial outputs beside ``out`` of runs that were killed, each locked now; ``out`` is what it was before.

    Those of runs that still live hold a lock and are left alone.
    """
    if sys.platform == "win32":
        return
    for partial in sorted(out.parent.glob(f".{out.name}.partial-*")):
        handle = lock(partial) if partial.is_dir() else None
        if handle is not None:
            set_aside = partial / ASIDE
            if set_aside.exists() and not out.exists():  # It was killed between the two renames.
                set_aside.rename(out)
            yield partial, handle


def writer_beside(out: Path, own: Path | None = None) -> Path | None:
    """Return the folder of another run that lives and makes a bundle for ``out``; None if there is none.

    Args:
        out: The bundle's place.
        own: This run's folder, if it has one already. Of two runs that begin at once the later one sees the other;
            which is later, the times of their keys say.
    """
    if sys.platform == "win32":
        return None
    for partial in sorted(out.parent.glob(f".{out.name}.partial-*")):
        if partial == own or not partial.is_dir():
            continue
        if _is_held(partial) and (own is None or _begun(partial) < _begun(own)):
            return partial
    return None


def _is_held(path: Path) -> bool:
    """Whether another run holds the lock; not where that can't be seen: another user's folder, or no locks at all."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: two that look don't hold each other up
    except OSError as error:
        return error.errno in (errno.EWOULDBLOCK, errno.EAGAIN)
    finally:
        os.close(handle)
    return False


def partials_in(folder: Path) -> dict[Path, list[Path]]:
    """Return the partial outputs in a folder, of runs that live and of killed ones, by their bundles' places.

    Raises:
        OSError: The folder can't be read.
    """
    found: dict[Path, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        match = _PARTIAL.fullmatch(path.name)
        if match is not None and path.is_dir() and not path.is_symlink():
            found.setdefault(folder / match["name"], []).append(path)
    return found


def held_by(partials: Iterable[Path]) -> int:
    """Return the bytes in partial outputs."""
    found = [file.lstat() for partial in partials for file in partial.rglob("*") if file.is_file()]
    return sum({one.st_ino: one.st_size for one in found}.values())  # hard links count once


def _begun(partial: Path) -> tuple[int, str]:
    """When a run wrote its key, and its folder's name; one that hasn't yet will see those that have."""
    try:
        return (partial / KEY).stat().st_mtime_ns, partial.name
    except OSError:
        return sys.maxsize, partial.name


def clear_abandoned(out: Path) -> list[Path]:
    """Remove what runs that were killed left beside ``out``, and return what was removed."""
    removed = []
    for partial, handle in _abandoned(out):
        _remove(partial)
        os.close(handle)
        removed.append(partial)
    return removed


def take_over(out: Path, own: Path, key: str | None) -> int | None:
    """Rename the folder of a killed run with this key to ``own``, and remove those of all other killed runs.

    Nothing stays in it but what was kept.

    Args:
        out: The bundle's place.
        own: What the folder is renamed to, beside ``out``.
        key: The key of all that the bundle is made from; None reuses no folder.

    Returns:
        The lock on the folder; None if no folder has the key.
    """
    mine: list[tuple[Path, int]] = []
    for partial, handle in _abandoned(out):
        if not mine and key is not None and _fits(partial, key):
            mine.append((partial, handle))
            continue
        _remove(partial)
        os.close(handle)
    for partial, handle in mine:
        partial.rename(own)
        for path in list(own.iterdir()):
            if path.name not in (KEY, KEPT):
                _set_apart(path)
        return handle
    return None


def _fits(partial: Path, key: str) -> bool:
    """Whether a folder belongs to this very export, and to this user."""
    file = partial / KEY
    if file.is_symlink() or (partial / KEPT).is_symlink():
        return False
    try:
        return partial.lstat().st_uid == os.getuid() and file.read_text(encoding="ascii") == key
    except (OSError, ValueError):
        return False


def _set_apart(path: Path) -> None:
    """Removes what a run that was killed was writing; a child of its may write there still."""
    apart = Path(tempfile.mkdtemp(dir=path.parent, prefix="left-"))
    path.rename(apart / path.name)
    shutil.rmtree(apart, ignore_errors=True)
