"""Programs that earlier exports built, kept for the next export of the same model with the same recipe.

They are in Gemcut's cache (``util.result_cache``), each in a folder as the journal has it, with the hash of every file.
Whoever takes one checks it; what is made of it is proven like any other. Losing them costs only time.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from ...bundle.staging import transfer
from ...util.result_cache import cache_root

KIND = "programs"
# Bytes of all that is kept. As long as the bundle lies on the same filesystem, its program is the same file and takes
# no room of its own.
ROOM = 2 << 30
_DAY = 86400


@dataclass(frozen=True)
class Shelf:
    """The place of one product.

    Attributes:
        key: The hash of all that it is made from.
        fresh: Whether one that is kept is made again, and replaced.
    """

    key: str
    fresh: bool = False

    @property
    def place(self) -> Path:
        """The folder, which need not exist."""
        return cache_root() / KIND / self.key

    def take(self, folder: Path) -> bool:
        """Link or copy the product's files to a new folder.

        Args:
            folder: Must not exist; nothing is left of it if this fails.

        Returns:
            False if none is kept or it is to be made again, or if it goes away meanwhile.
        """
        if self.fresh or not self.place.is_dir():
            return False
        try:
            copy_folder(self.place, folder)
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
            return False
        with contextlib.suppress(OSError):  # another user's: it can be read, and not be marked as used
            os.utime(self.place)
        return True

    def drop(self) -> None:
        """Remove a product that is damaged."""
        shutil.rmtree(self.place, ignore_errors=True)

    def keep(self, folder: Path) -> None:
        """Keep a product, and of all products only the ones used last that have room.

        A full or read-only disk isn't an error.

        Args:
            folder: Its files, which must not be written to again.
        """
        if size_of(folder) > ROOM:
            return
        new = self.place.with_name(f".{uuid.uuid4().hex}")
        try:
            new.parent.mkdir(parents=True, exist_ok=True)
            copy_folder(folder, new)
            self.drop()
            new.rename(self.place)
        except OSError:  # also if another process was first
            return
        finally:
            shutil.rmtree(new, ignore_errors=True)
        with contextlib.suppress(OSError):
            _tidy(self.place.parent)


def copy_folder(source: Path, target: Path) -> None:
    """Make a folder with the same files, linked where the filesystem can.

    Raises:
        OSError: It can't be done.
    """
    for path in sorted(source.rglob("*")):
        if path.is_file():
            new = target / path.relative_to(source)
            new.parent.mkdir(parents=True, exist_ok=True)
            transfer(path, new, "link")


def size_of(folder: Path) -> int:
    """Return the bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _tidy(folder: Path) -> None:
    """Remove the products that have no room, the least recently used first, and what killed runs left."""
    kept = [path for path in folder.iterdir() if path.is_dir()]
    for path in (path for path in kept if path.name.startswith(".")):
        if time.time() - path.stat().st_mtime > _DAY:
            shutil.rmtree(path, ignore_errors=True)
    room = ROOM
    newest = sorted((p for p in kept if not p.name.startswith(".")), key=lambda p: p.stat().st_mtime, reverse=True)
    for path in newest:
        room -= size_of(path)
        if room < 0:
            shutil.rmtree(path, ignore_errors=True)
