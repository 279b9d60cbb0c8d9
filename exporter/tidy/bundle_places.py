"""Where bundles are below a folder, found without opening them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ..bundle.names import MANIFEST, SUFFIX

# Folders of other tools, which hold many files and no bundle.
_PASSED_OVER = frozenset({"node_modules", "__pycache__", "site-packages"})


def bundle_places(
    folder: Path, depth: int | None = None, most: int | None = None, passed: list[Path] | None = None
) -> Iterator[Path]:
    """Yield what looks like a bundle in a folder and below it; hidden files and folders are passed over.

    Args:
        folder: Where to look; it may be a bundle itself.
        depth: How many folders deep; None for all.
        most: Look into no more than so many folders; None for all.
        passed: Gets every folder that was looked into.
    """
    if (folder / MANIFEST).is_file():
        yield folder
        return
    for number, (place, folders, files) in enumerate(os.walk(folder)):
        if most is not None and number >= most:
            return
        here = Path(place)
        if passed is not None:
            passed.append(here)
        inside = {name for name in folders if (here / name / MANIFEST).is_file()}
        packed = {name for name in files if name.endswith(SUFFIX)}
        yield from (here / name for name in sorted(name for name in inside | packed if not name.startswith(".")))
        folders[:] = sorted(name for name in folders if name not in inside | _PASSED_OVER and not name.startswith("."))
        if depth is not None and len(here.relative_to(folder).parts) >= depth:
            folders.clear()
