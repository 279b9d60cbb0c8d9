"""``gemcut inspect``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from .common import Command, emit, json_option, say, warn_unproven
from .shared_options import bundle_argument

if TYPE_CHECKING:
    from ..bundle.reader import Bundle
    from ..runtimes.base import Layout


@click.command(cls=Command)
@bundle_argument
@click.option("--all", "everything", is_flag=True, help="Also show quantization, operators, figures and files.")
@json_option
def command(bundle: Path, everything: bool, as_json: bool) -> None:
    """Show what BUNDLE is in ten facts: model, licence, size, memory, fidelity, where it runs and was proven.

    With --all also what is inside it: quantization rule by rule, operators, every figure with its limit, and files;
    --json always has all of it. Only the manifest is checked; gemcut validate checks every byte and runs the program.
    """
    from ..bundle.reader import open_bundle
    from ..util.disk_sizes import size_on_disk
    from .graded_documents import Contents

    with open_bundle(bundle) as opened:
        manifest, is_zip = opened.manifest, opened.is_zip
        layout, oldest = _of_runtime(opened)
    size = size_on_disk(bundle)
    warn_unproven(manifest, bundle)
    if as_json:
        tables = {head[0]: [dict(zip(head, row, strict=True)) for row in rows] for head, rows in layout}
        form: Literal["zip", "dir"] = "zip" if is_zip else "dir"
        written = manifest.model_dump(mode="json")
        emit(Contents(str(bundle), form, size, oldest, manifest.grade, written, tables))
        return
    from .views.contents import show_contents, show_facts

    show_facts(bundle, manifest, size, oldest)
    if everything:
        show_contents(manifest, layout, oldest)
    for note in manifest.notes:
        say(f"note: {note}")
    if not everything:
        say(f"gemcut inspect {bundle} --all shows the rest: quantization, operators, figures and files")


def _of_runtime(opened: Bundle) -> tuple[Layout, str | None]:
    """What only its runtime knows: what is inside the program's file, and the oldest known release that can load it.

    If that runtime isn't installed, there is a note instead.
    """
    from ..errors import LackingError
    from ..runtimes import get_runtime

    manifest = opened.manifest
    try:
        inspector = get_runtime(manifest.runtime.name).inspector
        return inspector.layout(opened.program), inspector.oldest_loading(opened.program, manifest)
    except LackingError as error:
        say(f"note: the content of {manifest.program} isn't shown: {error.message} {error.hint or ''}")
        return (), None
