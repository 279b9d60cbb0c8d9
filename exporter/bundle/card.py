"""The texts that go with a bundle (model card, notice and licence), written from the manifest alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib import resources

from ..words.grades import words_of
from .manifest import Figure, Manifest

_APACHE = "licenses/apache-2.0.txt"
_KNOWN = {
    "apache-2.0": "Apache License 2.0",
    "gemma": "Gemma Terms of Use",
    "llama2": "Llama 2 Community License",
    "mit": "MIT License",
}
# The sentences that these licences ask for in a notice that goes with every copy.
_NOTICES = {
    "gemma": "Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms",
    "llama2": "Llama 2 is licensed under the LLAMA 2 Community License, "
    "Copyright (c) Meta Platforms, Inc. All Rights Reserved.",
}


def licence_name(manifest: Manifest) -> str:
    """Return the licence's name for a reader; ``unknown`` if it isn't known."""
    licence = manifest.licence
    if (licence.id or "unknown") == "unknown":
        return "unknown"
    return licence.name or _KNOWN.get((licence.id or "").lower(), licence.id or "")


def license_text(manifest: Manifest, own: str | None = None) -> str:
    """Return the content of the bundle's LICENSE.

    Args:
        manifest: The bundle's manifest, whose ``licence`` decides.
        own: The text of the checkpoint's own licence file, which goes in as it is; None if it has none.
    """
    if own:
        return own if own.endswith("\n") else own + "\n"
    if (manifest.licence.id or "").lower() == "apache-2.0":
        return resources.files(__package__).joinpath(_APACHE).read_text(encoding="utf-8")
    name = licence_name(manifest)
    if name == "unknown":
        return (
            f"The checkpoint {manifest.model.source} came without a licence file and names no licence.\n"
            "Ask whoever made it before you pass this bundle on.\n"
        )
    notice = _NOTICES.get((manifest.licence.id or "").lower())
    return (
        f"The model in this bundle is under the {name}.\n"
        + (f"{notice}.\n".replace("..\n", ".\n") if notice else "")
        + f"The checkpoint {manifest.model.source} came without a copy of the text.\n"
    )


def notice(manifest: Manifest) -> str:
    """Return the content of the bundle's NOTICE: where the model is from, that it was changed, and how."""
    lines = [
        f"{manifest.model.name}",
        "",
        f"Made from {_origin(manifest)} by gemcut {manifest.exporter}.",
        f"The files were changed: the weights were converted with the recipe '{manifest.recipe.name}' and",
        f"compiled for {manifest.runtime.name} {manifest.runtime.version}.",
        f"Licence of the model: {licence_name(manifest)} (see LICENSE).",
    ]
    asked = _NOTICES.get((manifest.licence.id or "").lower())
    return "\n".join([*lines, *(["", asked] if asked else [])]) + "\n"


def _origin(manifest: Manifest) -> str:
    model = manifest.model
    place = f"{model.source} at revision {model.revision}" if model.revision else model.source
    return f"{place} and the {model.adapter.kind} adapter {model.adapter.name}" if model.adapter else place


def _number(value: Figure, unit: str = "") -> str:
    return "not a number" if value is None else f"{value:.4g}{unit}"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    return [_line(head), f"|{'-|' * len(head)}", *map(_line, rows)]


def _line(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def _fidelity(manifest: Manifest) -> list[str]:
    found, grade = manifest.fidelity, manifest.grade
    if found is None or grade is None:
        return ["Fidelity was not measured."]
    rows = [
        _figure("mean_kl", "mean KL divergence", found.mean_kl, " nats"),
        _figure("p99_kl", "99th percentile of KL", found.p99_kl, " nats"),
        _figure("top1", "top-1 agreement", found.top1),
        _figure("perplexity_ratio", "perplexity ratio", found.perplexity_ratio),
        _figure("max_logprob_diff", "largest difference of a log-probability", found.max_logprob_diff, " nats"),
    ]
    if manifest.behaviour is not None and manifest.behaviour.tool_calls is not None:
        rows.append(_figure("tool_calls", "tool calls that are the float model's own", manifest.behaviour.tool_calls))
    said = f"Against the float model, {found.positions} positions of {found.prompts} prompts ({found.form}):"
    first = f"In plain words, **{grade.words}**: {grade.meaning}."
    return [first, "", said, "", *_table(("figure", "value", "in words"), rows)]


def _figure(name: str, title: str, value: Figure, unit: str = "") -> tuple[str, str, str]:
    """Return one figure's row; in a manifest no value stands for one that isn't a number."""
    return title, _number(value, unit), words_of(name, math.nan if value is None else value)


def _gate(manifest: Manifest) -> list[str]:
    if not manifest.gate.limits:
        return []
    limits = ", ".join(f"{name} {value:g}" for name, value in sorted(manifest.gate.limits.items()))
    return ["", f"It was held to: {limits}. {manifest.gate.reason}".rstrip()]


def _verdict(manifest: Manifest) -> str:
    if manifest.proven:
        return "**Proven**: this bundle was run and compared with the float model before it was published."
    reasons = "; ".join(manifest.unproven) or "it was not run"
    return f"**Not proven**: {reasons}. Don't ship it."


def model_card(manifest: Manifest) -> str:
    """Return the content of the bundle's README.md; the same manifest gives the same text."""
    delegates = ", ".join(f"{name} ({calls} calls)" for name, calls in sorted(manifest.delegates.items())) or "none"
    facts = [
        ("program", f"`{manifest.program}`"),
        ("target", f"`{manifest.target}`"),
        (
            "runtime",
            f"{manifest.runtime.name} {manifest.runtime.version}, oldest {manifest.runtime.oldest or 'unknown'}",
        ),
        ("delegates", f"{delegates}, {manifest.delegate_coverage:.1%} of the multiply-accumulates"),
        ("context", f"{manifest.context} tokens, prefill in chunks of {manifest.prefill_chunk}"),
        ("architecture", f"`{manifest.model.model_type}`, {manifest.model.parameters:,} parameters"),
        ("licence", licence_name(manifest)),
    ]
    rules = [(f"`{rule.match}`", f"`{rule.scheme}`: {rule.reason}".rstrip(": ")) for rule in manifest.recipe.rules]
    sources = [(f"`{name}`", f"`{digest}`") for name, digest in sorted(manifest.model.files.items())]
    if adapter := manifest.model.adapter:
        sources += [(f"`{adapter.name}/{name}`", f"`{digest}`") for name, digest in sorted(adapter.files.items())]
    parts = [
        f"# {manifest.model.name} for {manifest.target}",
        "",
        f"Made from {_origin(manifest)} by gemcut {manifest.exporter}. {_verdict(manifest)}",
        "",
        *_table(("", ""), facts),
        "",
        "## Fidelity",
        "",
        *_fidelity(manifest),
        *_gate(manifest),
        "",
        f"## Recipe: {manifest.recipe.name}",
        "",
        manifest.recipe.description or "No description.",
        *(["", *_table(("modules that match", "stored as"), rules)] if rules else []),
        "",
        "## Prove it again",
        "",
        "    gemcut validate .",
        "",
        "runs the bundle on this machine against its own goldens and checks every byte, without the checkpoint.",
        *(["", "## Notes", "", *(f"- {note}" for note in manifest.notes)] if manifest.notes else []),
        *(["", "## Made from these files", "", *_table(("file", "SHA-256"), sources)] if sources else []),
    ]
    return "\n".join(parts) + "\n"
