"""``gemcut rm``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ..errors import UsageError
from .common import Command, emit, json_option, say, warn
from .shared_options import bundles_argument


@click.command(cls=Command)
@bundles_argument
@click.option("--yes", is_flag=True, help="Remove without asking.")
@json_option
def command(bundles: tuple[Path, ...], yes: bool, as_json: bool) -> None:
    """Remove bundles, with what killed exports of them left beside them.

    A bundle that was never finished is named as one that was. Whatever isn't a bundle is refused, and then nothing is
    removed; so is a folder that holds other files too.
    """
    from ..tidy.found_bundles import BundlesRemoved, check_removable, remove_bundle
    from ..util.text import size_text

    paths = tuple(dict.fromkeys(bundles))
    found = tuple(map(check_removable, paths))
    for path, each in zip(paths, found, strict=True):
        if (one := each.bundle) is not None:
            warn(f"{path}: {one.model}, {one.runtime}, {one.recipe}, {size_text(one.size)}")
        if each.unfinished is not None:
            warn(f"{path}: what an export that was killed has left, {size_text(each.unfinished.size)}")
    if not yes and not _agreed(len(found)):
        paths = found = ()
    for path in paths:
        remove_bundle(path)
    freed = sum(one.size for one in found)
    if as_json:
        emit(BundlesRemoved(found, freed))
    else:
        say(f"{size_text(freed)} freed" if found else "Nothing was removed.")


def _agreed(number: int) -> bool:
    if not sys.stdin.isatty():
        raise UsageError("nobody can be asked here", hint="Add --yes to remove without asking.")
    return click.confirm(f"Remove {'it' if number == 1 else 'them'}?", err=True)
