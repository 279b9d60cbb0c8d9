"""``gemcut init``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import LackingError, UsageError
from .common import Command, emit, json_option, say

if TYPE_CHECKING:
    from collections.abc import Iterable

IGNORED = "bundles/"


@click.command(cls=Command)
@click.option("--force", is_flag=True, help="Replace an existing gemcut.toml.")
@click.option("--schema", "schema_alone", is_flag=True, help="Only write .gemcut/gemcut.schema.json, for editors.")
@json_option
def command(force: bool, schema_alone: bool, as_json: bool) -> None:
    """Write a commented gemcut.toml in this folder, the list of an app's bundles.

    It works as it is: gemcut export then builds the sample. The command also writes .gemcut/gemcut.schema.json, which
    the file's first line points editors to. Commit both, and the gemcut.lock that gemcut export writes.
    """
    if force and schema_alone:
        raise UsageError("--force replaces gemcut.toml, and --schema doesn't write it: use one of them")
    written = _write(Path(), force, schema_alone)
    if as_json:
        from ..project.outcomes import ProjectStarted

        emit(ProjectStarted(tuple(map(str, written))))
        return
    for path in written:
        say(f"wrote {path}")
    if not schema_alone:
        _show_next(Path())


def _write(root: Path, force: bool, schema_alone: bool) -> list[Path]:
    from ..project.schema_file import write_schema

    path = root / "gemcut.toml"
    written = []
    try:
        if not schema_alone:
            _write_starter(path, force)
            written.append(path)
        written.append(write_schema(root))
    except OSError as error:
        raise LackingError(f"{error.filename} can't be written: {error.strerror}") from error
    return written


def _write_starter(path: Path, force: bool) -> None:
    from ..project.starter import starter

    text = starter()
    if force and path.is_dir():
        raise UsageError(f"{path} is a folder", hint="Move it away.")
    try:
        with path.open("w" if force else "x", encoding="utf-8", newline="\n") as sink:
            sink.write(text)
    except FileExistsError as error:
        raise UsageError(f"{path} already exists and was not changed", hint="Replace it with --force.") from error


def _show_next(root: Path) -> None:
    from .views.table import table

    say("next:")
    steps = [
        ("gemcut export", "build what is out of date, and say why"),
        ("git add gemcut.toml gemcut.lock .gemcut", "keep both with the app; editors read .gemcut"),
    ]
    if not _ignored(root):
        steps.append((f"echo {IGNORED} >> .gitignore", "bundles are made, not kept in version control"))
    table((f"  {what}", f"# {why}") for what, why in steps)


def _ignored(root: Path) -> bool:
    """Whether .gitignore has the folder of the bundles."""
    try:
        lines: Iterable[str] = (root / ".gitignore").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return False
    return any(line.strip().strip("/") == IGNORED.strip("/") for line in lines)
