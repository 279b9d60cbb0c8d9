"""A bundle for a reader: the ten facts that an app's developer decides by, and all that is in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ...util.native_output import streams
from ...util.text import count_text, size_text
from .proof import fidelity_text, show_behaviour, show_fidelity
from .table import table

if TYPE_CHECKING:
    from ...bundle.manifest import BehaviourRecord, Manifest
    from ...runtimes.base import Layout


def _say(text: str) -> None:
    print(text, file=streams().out)


def show_facts(bundle: Path, manifest: Manifest, size: int, oldest: str | None) -> None:
    """Show the ten facts.

    Args:
        bundle: Where the bundle is.
        manifest: What it says about itself.
        size: Bytes of all files.
        oldest: The oldest known release of its runtime that has all that the program needs; None if none is known.
    """
    model, runtime = manifest.model, manifest.runtime
    adapted = f", with the {model.adapter.kind} adapter {model.adapter.name}" if model.adapter else ""
    fidelity = manifest.fidelity
    _say(f"{bundle}\n")
    table(
        (
            ("model", f"{model.name} ({model.model_type}, {count_text(model.parameters)} parameters){adapted}"),
            ("licence", _licence(manifest)),
            ("made for", f"{manifest.target}, {runtime.name} {runtime.version}, recipe {manifest.recipe.name}"),
            ("runs on", _runs_on(manifest, oldest)),
            ("size", f"{size_text(size)} in all, at most as much to download; a runtime may write a cache beside it"),
            ("memory", _memory(manifest)),
            ("context", f"{manifest.context} tokens, prompt and reply together"),
            ("fidelity", fidelity_text(fidelity, manifest.behaviour) if fidelity else "not measured"),
            ("behaviour", _behaviour(manifest.behaviour) if manifest.behaviour else "not checked"),
            ("proven", _proven(manifest)),
        )
    )


def _licence(manifest: Manifest) -> str:
    return manifest.licence.name or manifest.licence.id or "not known: ask whoever made the model"


def _runs_on(manifest: Manifest, oldest: str | None) -> str:
    name = manifest.runtime.name
    if oldest is None:
        return f"no release of {name} is known to have all that it needs; gemcut check says what a release lacks"
    return f"{name} {oldest} and later, as far as is known; gemcut check says so of one release"


def _memory(manifest: Manifest) -> str:
    weights = sum(each.bytes for each in manifest.tensors.values())
    if manifest.cache_bytes is None:
        return f"{size_text(weights)} of weights and the KV cache, whose size isn't recorded; gemcut bench measures it"
    return (
        f"at least {size_text(weights + manifest.cache_bytes)}: {size_text(weights)} of weights and "
        f"{size_text(manifest.cache_bytes)} of KV cache; gemcut bench measures it"
    )


def _behaviour(behaviour: BehaviourRecord) -> str:
    missed = [name.replace("_", " ") for name, rate in behaviour.rates.items() if rate is not None and rate < 1]
    told = "every check held" if not missed else f"not on every prompt: {', '.join(missed)}"
    if behaviour.tool_calls is not None:
        told += f"; {behaviour.tool_calls:.1%} of tool calls like the float model's"
    if behaviour.expected is not None:
        told += f"; {behaviour.expected:.1%} of the expected answers"
    return told


def _proven(manifest: Manifest) -> str:
    if not manifest.proven:
        return "NO: " + "; ".join(manifest.unproven)
    others = ", ".join(one.device for one in manifest.devices)
    return f"on the exporting machine and on {others}" if others else "on the exporting machine alone"


def show_contents(manifest: Manifest, layout: Layout, oldest: str | None) -> None:
    """Show all that the manifest says, and what is inside the program's file.

    Args:
        manifest: The manifest.
        layout: Tables of what is inside the program's own file.
        oldest: The oldest known release of its runtime that has all that the program needs; None if none is known.
    """
    model, runtime = manifest.model, manifest.runtime
    meant = f", must load in {runtime.oldest} and later" if runtime.oldest else ""
    table(
        (
            ("from", f"{model.source}{f' @ {model.revision}' if model.revision else ''}"),
            *_adapter(manifest),
            ("runtime", f"{runtime.name} {runtime.version}{meant}"),
            ("prompts", f"in chunks of {manifest.prefill_chunk} tokens"),
            ("vocabulary", str(manifest.vocab_size)),
            ("recipe", f"{manifest.recipe.name}: {manifest.recipe.description}"),
            *_needs(manifest, oldest),
        )
    )
    for heading, rows in layout:
        table(rows, heading)
    _show_quantization(manifest)
    if manifest.fidelity:
        show_fidelity(manifest.fidelity, manifest.gate.limits, manifest.behaviour)
    if manifest.behaviour:
        show_behaviour(manifest.behaviour)
    table(
        ((name, size_text(f.size), f.sha256[:16]) for name, f in sorted(manifest.files.items())),
        ("file", "size", "sha256 begins"),
    )


def _adapter(manifest: Manifest) -> Iterator[tuple[str, str]]:
    """What was merged into the weights, as rows."""
    adapter = manifest.model.adapter
    if adapter is not None:
        trained = f", made for {adapter.base}" if adapter.base else ""
        hashes = ", ".join(f"{name} {digest[:16]}" for name, digest in adapter.files.items())
        yield "adapter", f"{adapter.name} ({adapter.kind}{trained}): {hashes}"


def _needs(manifest: Manifest, oldest: str | None) -> Iterator[tuple[str, str]]:
    """What the program needs from a runtime, as rows."""
    calls = ", ".join(f"{name} x{count}" for name, count in manifest.delegates.items()) or "none"
    yield "delegates", f"{calls}; {manifest.delegate_coverage:.1%} of the multiply-accumulates"
    yield "operators", ", ".join(manifest.operators) or "none outside delegates"
    if own := [name for name in manifest.kernels if name not in manifest.operators]:
        yield "and built in", ", ".join(own)
    if oldest:
        release = f"{manifest.runtime.name} {oldest}, the oldest known release that has them, and later"
        yield "all of them in", release


def _show_quantization(manifest: Manifest) -> None:
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
