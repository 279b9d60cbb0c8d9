"""``gemcut inspect``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from .common import Command, emit, json_option, say, warn_unproven

if TYPE_CHECKING:
    from ..bundle.manifest import Manifest
    from ..bundle.reader import Bundle
    from ..runtimes.base import Layout


@click.command(cls=Command)
@click.argument("bundle", type=click.Path(path_type=Path))
@json_option
def command(bundle: Path, as_json: bool) -> None:
    """Show what is in BUNDLE: model, program, quantization, operators, files and proof.

    Only the manifest is checked; gemcut validate checks every byte and runs the program.
    """
    from ..bundle.reader import open_bundle
    from .documents import Contents

    with open_bundle(bundle) as opened:
        manifest, is_zip = opened.manifest, opened.is_zip
        layout, oldest = _of_runtime(opened)
    size = bundle.stat().st_size if is_zip else sum(f.stat().st_size for f in bundle.rglob("*") if f.is_file())
    warn_unproven(manifest, bundle)
    if as_json:
        tables = {head[0]: [dict(zip(head, row, strict=True)) for row in rows] for head, rows in layout}
        form: Literal["zip", "dir"] = "zip" if is_zip else "dir"
        emit(Contents(str(bundle), form, size, oldest, manifest.model_dump(mode="json"), tables))
        return
    _show(bundle, manifest, size, layout, oldest)


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


def _adapter(manifest: Manifest) -> tuple[tuple[str, str], ...]:
    """What was merged into the weights, as rows."""
    adapter = manifest.model.adapter
    if adapter is None:
        return ()
    trained = f", made for {adapter.base}" if adapter.base else ""
    hashes = ", ".join(f"{name} {digest[:16]}" for name, digest in adapter.files.items())
    return (("adapter", f"{adapter.name} ({adapter.kind}{trained}): {hashes}"),)


def _needs(manifest: Manifest, oldest: str | None) -> tuple[tuple[str, str], ...]:
    """What the program needs from a runtime, as rows."""
    own = [name for name in manifest.kernels if name not in manifest.operators]
    calls = ", ".join(f"{name} x{count}" for name, count in manifest.delegates.items()) or "none"
    rows = [
        ("delegates", f"{calls}; {manifest.delegate_coverage:.1%} of the multiply-accumulates"),
        ("operators", ", ".join(manifest.operators) or "none outside delegates"),
    ]
    if own:
        rows.append(("and built in", ", ".join(own)))
    if oldest:
        rows.append(
            ("all of them in", f"{manifest.runtime.name} {oldest}, the oldest known release that has them, and later")
        )
    return tuple(rows)


def _show(bundle: Path, manifest: Manifest, size: int, layout: Layout, oldest: str | None) -> None:
    from ..util.text import count_text, size_text
    from .views.proof import show_behaviour, show_fidelity
    from .views.table import table

    model, runtime = manifest.model, manifest.runtime
    meant = f", must load in {runtime.oldest} and later" if runtime.oldest else ""
    say(f"{bundle}: {size_text(size)}\n")
    table(
        (
            ("model", f"{model.name} ({model.model_type}, {count_text(model.parameters)} parameters)"),
            ("from", f"{model.source}{f' @ {model.revision}' if model.revision else ''}"),
            *(_adapter(manifest)),
            ("licence", manifest.licence.name or manifest.licence.id or "not known"),
            ("target", manifest.target),
            ("runtime", f"{runtime.name} {runtime.version}{meant}"),
            ("context", f"{manifest.context} tokens, prompts in chunks of {manifest.prefill_chunk}"),
            ("vocabulary", str(manifest.vocab_size)),
            ("recipe", f"{manifest.recipe.name}: {manifest.recipe.description}"),
            *_needs(manifest, oldest),
            ("proven", "yes" if manifest.proven else "NO: " + "; ".join(manifest.unproven)),
        )
    )
    for heading, rows in layout:
        table(rows, heading)
    _show_quantization(manifest)
    if manifest.fidelity:
        show_fidelity(manifest.fidelity, manifest.gate.limits)
    if manifest.behaviour:
        show_behaviour(manifest.behaviour)
    table(
        ((name, size_text(f.size), f.sha256[:16]) for name, f in sorted(manifest.files.items())),
        ("file", "size", "sha256 begins"),
    )
    for note in manifest.notes:
        say(f"note: {note}")


def _show_quantization(manifest: Manifest) -> None:
    from ..util.text import size_text
    from .views.table import table

    if manifest.tensors:
        table(
            (
                (name, str(t.quantized), size_text(t.bytes), "; ".join(f"{n} x {way}" for way, n in t.schemes.items()))
                for name, t in sorted(manifest.tensors.items())
            ),
            ("tensors", "quantized", "in the program", "stored as"),
        )
    table(
        ((r.match, r.weight, str(r.group or "row"), r.activation, r.reason) for r in manifest.recipe.rules),
        ("rule", "weight", "group", "activation", "why"),
    )
