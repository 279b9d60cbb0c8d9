"""The bundles below a folder, and how one is removed."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..bundle.names import MANIFEST
from ..bundle.output_path import bundle_at, refuse_second
from ..bundle.workdir import clear_abandoned, held_by, partials_in, writer_beside
from ..errors import GemcutError, UsageError
from ..util.disk_sizes import size_on_disk
from .bundle_places import bundle_places


@dataclass(frozen=True)
class FoundBundle:
    """A bundle on the disk.

    Attributes:
        bundle: Its path.
        model: The model's name.
        target: The target's name.
        runtime: The runtime's name.
        recipe: The recipe's name.
        format: 'dir' or 'zip'.
        size: Bytes of all of its files.
        proven: Whether it passed its gate.
        published: When it was put there, in seconds since 1970.
    """

    bundle: str
    model: str
    target: str
    runtime: str
    recipe: str
    format: Literal["dir", "zip"]
    size: int
    proven: bool
    published: float


@dataclass(frozen=True)
class UnfinishedExport:
    """What exports that haven't ended, or were killed, have beside a bundle's place.

    Attributes:
        bundle: The bundle's place.
        size: Bytes of it.
        running: Whether one of them is under way.
        begun: When the first of them was begun, in seconds since 1970.
    """

    bundle: str
    size: int
    running: bool
    begun: float


@dataclass(frozen=True)
class BundleList:
    """``gemcut list --json``.

    Attributes:
        folder: The folder that was looked through.
        bundles: The bundles in it and below it, by path.
        unfinished: What unfinished exports have there.
        unreadable: What looks like a bundle and can't be opened: path -> why.
    """

    folder: str
    bundles: tuple[FoundBundle, ...]
    unfinished: tuple[UnfinishedExport, ...]
    unreadable: dict[str, str]


@dataclass(frozen=True)
class Removable:
    """What is removed with one path.

    Attributes:
        bundle: The bundle; null if an export of it was killed and none was published.
        unfinished: What killed exports left beside it; null if nothing.
    """

    bundle: FoundBundle | None
    unfinished: UnfinishedExport | None

    @property
    def size(self) -> int:
        """Bytes of all of it."""
        return sum(one.size for one in (self.bundle, self.unfinished) if one is not None)


@dataclass(frozen=True)
class BundlesRemoved:
    """``gemcut rm --json``.

    Attributes:
        removed: What was removed; empty if the answer was no.
        freed: The bytes of that.
    """

    removed: tuple[Removable, ...]
    freed: int


def find_bundles(folder: Path) -> BundleList:
    """Look for bundles in a folder and below it; hidden folders are passed over.

    Raises:
        UsageError: There is no such folder.
    """
    if not folder.is_dir():
        raise UsageError(f"no such folder: {folder}", hint="Name a folder; without one it is the current one.")
    found, unreadable, passed = [], {}, list[Path]()
    for path in bundle_places(folder, passed=passed):
        try:
            found.append(_described(path))
        except (GemcutError, OSError) as error:
            unreadable[str(path)] = str(error)
    unfinished = []
    for place in passed:
        with suppress(OSError):  # it can't be read, or is gone
            unfinished += [_unfinished(out, partials) for out, partials in partials_in(place).items()]
    return BundleList(str(folder), tuple(found), tuple(unfinished), unreadable)


def check_removable(path: Path) -> Removable:
    """Return what would be removed.

    Raises:
        UsageError: There is nothing there, or something that is not, or not only, a bundle; or an export is making it.
    """
    if path.is_symlink():
        raise UsageError(f"{path} is a symbolic link", hint="Name the bundle that it leads to, or remove the link.")
    out = path.resolve()
    partials = partials_in(out.parent).get(out, []) if out.parent.is_dir() else []
    unfinished = _unfinished(path, partials) if partials else None
    refuse_second(out, None)
    if not path.exists():
        if unfinished is None:
            raise UsageError(f"no such bundle: {path}", hint="gemcut list shows the bundles below a folder.")
        return Removable(None, unfinished)
    if bundle_at(path) is None:
        raise UsageError(f"{path} is not a bundle; it was left unchanged", hint="Remove it with the system's commands.")
    return Removable(_described(path), unfinished)


def remove_bundle(path: Path) -> None:
    """Remove a bundle, after ``check_removable``, and what killed exports of it left beside it."""
    path = path.resolve()
    clear_abandoned(path)
    if not path.exists():  # an export of it was killed, and none was published
        return
    if path.is_dir():
        aside = path.with_name(f".{path.name}.removed-{os.getpid()}-{time.monotonic_ns()}")
        path.rename(aside)  # so that nobody finds half of a bundle
        shutil.rmtree(aside)
    else:
        path.unlink()


def _unfinished(out: Path, partials: Sequence[Path]) -> UnfinishedExport:
    return UnfinishedExport(
        bundle=str(out),
        size=held_by(partials),
        running=writer_beside(out) is not None,
        begun=min(partial.stat().st_mtime for partial in partials),
    )


def _described(path: Path) -> FoundBundle:
    from ..bundle.reader import open_bundle

    with open_bundle(path) as opened:
        manifest, is_zip = opened.manifest, opened.is_zip
    return FoundBundle(
        bundle=str(path),
        model=manifest.model.name,
        target=manifest.target,
        runtime=manifest.runtime.name,
        recipe=manifest.recipe.name,
        format="zip" if is_zip else "dir",
        size=size_on_disk(path),
        proven=manifest.proven,
        published=(path if is_zip else path / MANIFEST).stat().st_mtime,
    )
