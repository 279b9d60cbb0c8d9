"""``gemcut list``."""

from __future__ import annotations

import time
from pathlib import Path

import click

from .common import Command, emit, json_option, say, warn


@click.command(cls=Command)
@click.argument("folder", type=click.Path(path_type=Path), default=Path(), required=False)
@json_option
def command(folder: Path, as_json: bool) -> None:
    """List the bundles in FOLDER and below it; without FOLDER, in the current folder.

    Only manifests are read: gemcut inspect shows one bundle, gemcut validate proves it again.
    """
    from ..tidy.found_bundles import find_bundles
    from ..util.text import path_text, size_text
    from .views.table import table

    found = find_bundles(folder)
    for path, why in found.unreadable.items():
        warn(f"note: {path} looks like a bundle and can't be opened: {why}")
    if as_json:
        emit(found)
        return
    if not found.bundles:
        say(f"There is no bundle in {path_text(folder.resolve())} or below it. gemcut export makes one.")
        return
    table(
        (
            (
                one.bundle,
                one.model,
                one.target,
                one.runtime,
                one.recipe,
                size_text(one.size),
                "yes" if one.proven else "NO",
                time.strftime("%Y-%m-%d %H:%M", time.localtime(one.published)),
            )
            for one in found.bundles
        ),
        ("bundle", "model", "target", "runtime", "recipe", "size", "proven", "published"),
    )
    say(f"{len(found.bundles)} in all, {size_text(sum(one.size for one in found.bundles))}")
