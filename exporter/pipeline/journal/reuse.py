"""What earlier exports made and the next one would make again: the float model's outputs, and programs.

They are in Gemcut's cache (``util.result_cache``), each in a folder as the journal has it, with the hash of every file.
Whoever takes one checks it; what is made of it is proven like any other. Losing them costs only time.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...bundle.staging import How, sync, transfer
from ...quantize.methods import METHODS
from ...util.disk_sizes import size_on_disk
from ...util.result_cache import cache_root
from .fingerprint import program_keys, reference_key

if TYPE_CHECKING:
    from ..plan import ExportPlan

_DAY = 86400


@dataclass(frozen=True)
class Kind:
    """One kind of product.

    Attributes:
        folder: The name of its folder in the cache.
        title: What it is, in a sentence.
        room: The most bytes of all that is kept of it.
        how: How it is taken: ``copy`` if its files are published, since a bundle shares no file with another one.
    """

    folder: str
    title: str
    room: int
    how: How


PROGRAMS = Kind("programs", "this program", 2 << 30, "copy")
# The logits of 24 prompts over a vocabulary of 262,144 take 2 GB.
REFERENCES = Kind("references", "the float model's outputs", 4 << 30, "link")


@dataclass(frozen=True)
class Shelf:
    """The place of one product.

    Attributes:
        kind: Its kind.
        key: The hash of all that it is made from.
        others: Further keys under which the same product may be.
        fresh: Whether one that is kept is made again, and replaced.
    """

    kind: Kind
    key: str
    others: tuple[str, ...] = ()
    fresh: bool = False

    @property
    def place(self) -> Path:
        """The folder, which need not exist."""
        return self._folder_of(self.key)

    def take(self, folder: Path) -> Path | None:
        """Copy or link the product's files to a new folder.

        Args:
            folder: Must not exist; it is whole, or there is nothing of it.

        Returns:
            Where they were; None if none is kept, if it is to be made again, or if it can't be read.
        """
        for key in () if self.fresh else (self.key, *self.others):
            place, new = self._folder_of(key), folder.with_name(f".{folder.name}")
            if not os.path.isdir(place):  # which, unlike Path's, is False too for what can't be looked at
                continue
            try:
                copy_folder(place, new, self.kind.how)
                new.rename(folder)
            except OSError:
                shutil.rmtree(new, ignore_errors=True)
                continue
            with contextlib.suppress(OSError):  # another user's: it can be read, and not be marked as used
                os.utime(place)
            return place
        return None

    def keep(self, folder: Path) -> None:
        """Keep a product, and of all products only the ones used last that have room.

        A full or read-only disk isn't an error.

        Args:
            folder: Its files, which must not be written to again.
        """
        if size_on_disk(folder) > self.kind.room:
            return
        new = self.place.with_name(f".{uuid.uuid4().hex}")
        try:
            new.parent.mkdir(parents=True, exist_ok=True)
            copy_folder(folder, new, "link")
            shutil.rmtree(self.place, ignore_errors=True)
            new.rename(self.place)
        except OSError:  # also if another process was first
            return
        finally:
            shutil.rmtree(new, ignore_errors=True)
        with contextlib.suppress(OSError):
            _tidy(self.place.parent, self.kind.room)

    def _folder_of(self, key: str) -> Path:
        return cache_root() / self.kind.folder / key


def reference_shelf(plans: Sequence[ExportPlan], fresh: bool) -> Shelf:
    """Return the place of the float model's outputs.

    Args:
        plans: Those of one export.
        fresh: Whether they are to be made even if they are kept.
    """
    return Shelf(REFERENCES, reference_key(plans), fresh=fresh)


def shelf_of(plan: ExportPlan, measured: bool, fresh: bool) -> Shelf | None:
    """Return the place of a bundle's program; None if it may be made by code of other distributions.

    Args:
        plan: What is to be built.
        measured: Whether calibration refuses a recipe that is far from its gate's limit. What passes is the same as
            without, so that it serves both.
        fresh: Whether it is to be built even if it is kept.
    """
    runtime, methods = plan.runtime, {scheme.method for scheme in plan.recipe.schemes}
    own = set(plan.delegates) <= set(runtime.delegates.packaged) and methods <= set(METHODS.packaged)
    if not (own and runtime.reuses_programs):
        return None
    key, after_measuring = program_keys(plan)
    if plan.text is not None and measured:
        return Shelf(PROGRAMS, after_measuring, fresh=fresh)
    return Shelf(PROGRAMS, key, () if plan.text is None else (after_measuring,), fresh)


def copy_folder(source: Path, target: Path, how: How) -> None:
    """Make a folder with the same files, on the disk when this returns.

    Args:
        source: The folder.
        target: The new one.
        how: ``link`` where the filesystem can, or ``copy``.

    Raises:
        OSError: It can't be done.
    """
    for path in sorted(source.rglob("*")):
        if path.is_file():
            new = target / path.relative_to(source)
            new.parent.mkdir(parents=True, exist_ok=True)
            transfer(path, new, how)
            sync(new)


def _tidy(folder: Path, room: int) -> None:
    """Remove the products that have no room, the least recently used first, and what killed runs left."""
    kept = [path for path in folder.iterdir() if path.is_dir()]
    for path in (path for path in kept if path.name.startswith(".")):
        if time.time() - path.stat().st_mtime > _DAY:
            shutil.rmtree(path, ignore_errors=True)
    newest = sorted((p for p in kept if not p.name.startswith(".")), key=lambda p: p.stat().st_mtime, reverse=True)
    for path in newest:
        room -= size_on_disk(path)
        if room < 0:
            shutil.rmtree(path, ignore_errors=True)
