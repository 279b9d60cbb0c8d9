"""``gemcut cache``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from ..errors import LackingError, UsageError
from . import completed_values as complete
from .common import Command, CommandGroup, emit, json_option, say

if TYPE_CHECKING:
    from ..tidy.kept_results import CacheInfo, CachePruned


@click.group(cls=CommandGroup)
def command() -> None:
    """Show or prune what Gemcut keeps between runs.

    It is in $GEMCUT_CACHE, else in the user's cache folder. Losing any of it costs only time. Checkpoints from the hub
    are in huggingface_hub's own cache (hf cache), and bundles are where you put them (gemcut list).
    """


@command.command("info", cls=Command)
@json_option
def info(as_json: bool) -> None:
    """Show what is kept, how large it is, and when it was used last."""
    from ..tidy.kept_results import cache_info

    found = cache_info()
    if as_json:
        emit(found)
    else:
        _show_info(found)


@command.command("prune", cls=Command)
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    metavar="KIND",
    shell_complete=complete.CACHE_KINDS,
    help="Only this kind; may be repeated. Default: all.",
)
@click.option(
    "--older-than", type=click.IntRange(min=0), metavar="DAYS", help="Only what wasn't used for so many days."
)
@click.option("--max-size", metavar="SIZE", help="Keep what was used last, up to this size, such as '2 GB'.")
@click.option("--all", "everything", is_flag=True, help="Remove all of it.")
@click.option("--dry-run", is_flag=True, help="Remove nothing; say what would be.")
@json_option
def prune(
    kinds: tuple[str, ...],
    older_than: int | None,
    max_size: str | None,
    everything: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Remove what is kept, the entries used longest ago first.

    At least one of --kind, --older-than, --max-size and --all says what. Don't prune while an export runs.
    """
    from ..tidy.kept_results import prune_cache
    from .parse import parse_max_size

    limits = bool(kinds) or older_than is not None or max_size is not None
    if limits == everything:
        raise UsageError(
            "--all can't be combined with a limit" if everything else "nothing says what to remove",
            hint="Use --all, or one or more of --kind, --older-than and --max-size.",
        )
    try:
        found = prune_cache(kinds, older_than, parse_max_size(max_size), dry_run)
    except OSError as error:
        raise LackingError(f"{error.filename} can't be removed: {error.strerror}") from error
    if as_json:
        emit(found)
    else:
        _show_pruned(found)


def _show_info(found: CacheInfo) -> None:
    from ..util.text import size_text
    from .views.table import table

    say(f"{found.folder}: {size_text(found.size)}\n")
    table(
        ((one.kind, one.title, str(one.entries), size_text(one.size), _day(one.used)) for one in found.kinds),
        ("kind", "what", "entries", "size", "last used"),
    )


def _show_pruned(found: CachePruned) -> None:
    from ..util.text import size_text

    for one in found.removed:
        say(f"{one.path}: {size_text(one.size)}, last used {_day(one.used)}")
    would = "would be " if found.dry_run else ""
    say(f"{size_text(found.freed)} {would}freed; {size_text(found.kept)} {'would be ' if would else ''}left")


def _day(when: float | None) -> str:
    return "" if when is None else time.strftime("%Y-%m-%d", time.localtime(when))
