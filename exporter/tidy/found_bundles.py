"""The bundles below a folder, and how one is removed."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..bundle.names import MANIFEST
from ..bundle.output_path import bundle_at, refuse_second
from ..bundle.workdir import clear_abandoned
from ..errors import GemcutError, UsageError
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
class BundleList:
    """``gemcut list --json``.

    Attributes:
        folder: The folder that was looked through.
        bundles: The bundles in it and below it, by path.
        unreadable: What looks like a bundle and can't be opened: path -> why.
    """

    folder: str
    bundles: tuple[FoundBundle, ...]
    unreadable: dict[str, str]


@dataclass(frozen=True)
class BundlesRemoved:
    """``gemcut rm --json``.

    Attributes:
        removed: What was removed; empty if the answer was no.
        freed: The bytes of that.
    """

    removed: tuple[FoundBundle, ...]
    freed: int


def find_bundles(folder: Path) -> BundleList:
    """Look for bundles in a folder and below it; hidden folders are passed over.

    Raises:
        UsageError: There is no such folder.
    """
    if not folder.is_dir():
        raise UsageError(f"no such folder: {folder}", hint="Name a folder; without one it is the current one.")
    found, unreadable = [], {}
    for path in bundle_places(folder):
        try:
            found.append(_described(path))
        except (GemcutError, OSError) as error:
            unreadable[str(path)] = str(error)
    return BundleList(str(folder), tuple(found), unreadable)


def check_removable(path: Path) -> FoundBundle:
    """Return what would be removed.

    Raises:
        UsageError: There is nothing there, or something that is not, or not only, a bundle; or an export is making it.
    """
    if not os.path.lexists(path):
        raise UsageError(f"no such bundle: {path}", hint="gemcut list shows the bundles below a folder.")
    if path.is_symlink():
        raise UsageError(f"{path} is a symbolic link", hint="Name the bundle that it leads to, or remove the link.")
    if bundle_at(path) is None:
        raise UsageError(f"{path} is not a bundle; it was left unchanged", hint="Remove it with the system's commands.")
    refuse_second(path.resolve(), None)
    return _described(path)


def remove_bundle(path: Path) -> None:
    """Remove a bundle, after ``check_removable``, and what killed exports of it left beside it."""
    clear_abandoned(path.resolve())
    if path.is_dir():
        aside = path.with_name(f".{path.name}.removed-{os.getpid()}-{time.monotonic_ns()}")
        path.rename(aside)  # so that nobody finds half of a bundle
        shutil.rmtree(aside)
    else:
        path.unlink()


def _described(path: Path) -> FoundBundle:
    from ..bundle.reader import open_bundle

    with open_bundle(path) as opened:
        manifest, is_zip = opened.manifest, opened.is_zip
    files = [path] if is_zip else [file for file in path.rglob("*") if file.is_file()]
    return FoundBundle(
        bundle=str(path),
        model=manifest.model.name,
        target=manifest.target,
        runtime=manifest.runtime.name,
        recipe=manifest.recipe.name,
        format="zip" if is_zip else "dir",
        size=sum(file.stat().st_size for file in files),
        proven=manifest.proven,
        published=(path if is_zip else path / MANIFEST).stat().st_mtime,
    )
