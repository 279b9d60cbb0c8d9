"""``gemcut list``."""

from __future__ import annotations

import time
from pathlib import Path

import click

from .common import Command, emit, json_option, say, warn


@click.command(cls=Command)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), required=False)
@json_option
def command(folder: Path | None, as_json: bool) -> None:
    """List the bundles in FOLDER and below it.

    Without FOLDER it is that of the nearest gemcut.toml, here or above, else the current folder. What exports that were
    killed have left beside their bundles is listed too. Only manifests are read: gemcut inspect shows one bundle,
    gemcut validate proves it again.
    """
    from ..project.place import FILE, project_root
    from ..tidy.found_bundles import find_bundles
    from ..util.text import path_text, size_text
    from .views.table import table

    if folder is None:
        folder = project_root() or Path()
        if folder != Path():
            warn(f"note: listing the bundles of {folder / FILE}")
    found = find_bundles(folder)
    for path, why in found.unreadable.items():
        warn(f"note: {path} looks like a bundle and can't be opened: {why}")
    if as_json:
        emit(found)
        return
    if found.bundles:
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
                    _time(one.published),
                )
                for one in found.bundles
            ),
            ("bundle", "model", "target", "runtime", "recipe", "size", "proven", "published"),
        )
        say(f"{len(found.bundles)} in all, {size_text(sum(one.size for one in found.bundles))}")
    else:
        say(f"There is no bundle in {path_text(folder.resolve())} or below it. gemcut export makes one.")
    for each in found.unfinished:
        what = "is being made since" if each.running else "was not finished: an export of"
        say(f"{each.bundle} {what} {_time(each.begun)}, {size_text(each.size)}")
    if any(not each.running for each in found.unfinished):
        say("The same export goes on from there. gemcut rm removes it.")


def _time(when: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(when))
