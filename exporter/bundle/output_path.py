"""The place of a bundle, checked before any work is done."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from ..errors import GemcutError, UsageError
from .manifest import Manifest
from .reader import OWN_FILES, open_bundle
from .workdir import writer_beside

Format = Literal["dir", "zip"]


def resolve_output(path: Path | str) -> Path:
    """Return where an output path leads: absolute, with symbolic links followed."""
    return Path(path).expanduser().resolve()


def bundle_at(out: Path) -> Manifest | None:
    """Return the manifest of the bundle at ``out``; None if something else is there.

    Raises:
        UsageError: It is a bundle, and holds a file that isn't the bundle's.
    """
    try:
        with open_bundle(out) as bundle:
            strangers = bundle._store.names() - set(bundle.manifest.files) - OWN_FILES
            manifest = bundle.manifest
    except (GemcutError, OSError):
        return None
    if strangers:
        raise UsageError(
            f"{out} is a bundle, but {sorted(strangers)[0]} in it is not gemcut's and would be lost",
            hint="move that file away, or name another place with -o",
        )
    return manifest


def check_output(out: Path | str, format: Format = "dir", force: bool = False, own: Path | None = None) -> Path:
    """Check, before any work is done, that a bundle may be published at ``out``; nothing is changed.

    A path that doesn't exist and an empty directory are free. An existing gemcut bundle is replaced with ``force``;
    anything else never is.

    Args:
        out: Where the bundle is to go.
        format: A directory or one zip.
        force: Whether an existing gemcut bundle may be replaced.
        own: This run's own folder beside ``out``, if it has one already.

    Returns:
        The resolved path.

    Raises:
        UsageError: Something else is at ``out``, a bundle is and ``force`` isn't given, its folder can't be
            written to, or another run is making a bundle for it.
    """
    out = resolve_output(out)
    refuse_second(out, own)
    if out.exists() and not (format == "dir" and out.is_dir() and not any(out.iterdir())):
        if bundle_at(out) is None:
            raise UsageError(
                f"the output path {out} exists and is not a gemcut bundle; it was left unchanged",
                hint="name another place with -o",
            )
        if not force:
            raise UsageError(
                f"{out} already holds a bundle", hint="replace it with --force, or name another place with -o"
            )
    parent = out.parent
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        what = "can't be written to" if parent.is_dir() else "is a file"
        raise UsageError(f"can't write {out}: {parent} {what}", hint="name another place with -o")
    return out


def refuse_second(out: Path, own: Path | None) -> None:
    """Refuse to make a bundle while another run is making one for the same place.

    Args:
        out: The bundle's place.
        own: This run's folder beside it, if it has one already.

    Raises:
        UsageError: Another run lives, and began earlier.
    """
    other = writer_beside(out, own)
    if other is not None:
        raise UsageError(
            f"another run of gemcut is making a bundle for {out}, in {other.name}",
            hint="wait until it has ended, or name another place with -o",
        )
