"""The whole comparison of two bundles, which are verified first."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..bundle.manifest import MANIFEST
from ..prompt.codec import load_codec
from . import chat_templates as template
from . import files, sizes, thresholds
from . import manifests as facts
from . import replies as behaviour
from . import tokenizers as tokens
from .document import AREAS, Change, DiffResult, Names, Side, TemplateDiff, TokenizerDiff, same, worst

if TYPE_CHECKING:
    from ..bundle.manifest import Manifest
    from ..bundle.reader import Bundle
    from ..prompt.codec import ChatCodec
    from ..util.progress import Progress
    from .replies import Records
    from .thresholds import Threshold


def diff_bundles(a: Path, b: Path, limits: Sequence[Threshold], progress: Progress) -> DiffResult:
    """Compare two bundles; every byte of both is checked first.

    Args:
        a: The old bundle: its directory or ``.gemcut`` file.
        b: The new bundle.
        limits: The limits, from :func:`.thresholds.parse_thresholds`.
        progress: Told about the stages.

    Raises:
        ConformanceError: If one of them was changed, or its records are damaged.
        CheckpointError: If a tokenizer or template can't be read.
        UsageError: If one of them isn't a bundle.
    """
    from ..bundle.reader import open_bundle

    with open_bundle(a) as first, open_bundle(b) as second:
        for one in (first, second):
            progress.stage(f"Checking every byte of {one.path}")
            one.verify()
        found = _compare(first, second, progress)
    lines = tuple(thresholds.hold(limit, found) for limit in limits)
    return replace(found, thresholds=lines, passed=all(line.passed for line in lines))


def _compare(a: Bundle, b: Bundle, progress: Progress) -> DiffResult:
    first, second = a.manifest, b.manifest
    progress.stage("Comparing files")
    measured, notes = sizes.compare_sizes(a, b)
    tensors = sizes.compare_tensors(first, second)
    rules = facts.compare_rules(first, second)
    pairs, changes = facts.settings(first, second)
    prompt, prompt_change, prompt_note = files.compare_prompts(a, b)
    progress.stage("Comparing what they do")
    records = behaviour.read_records(a), behaviour.read_records(b)
    behaves = behaviour.compare_records(*records)
    judged = behaviour.judge_behaviour(behaves)
    progress.stage("Comparing template and tokenizer")
    texts = _texts(a, b, records)
    operators, kernels, name_changes = _names(a, b)
    what_they_do = worst(tuple(one for one in judged if one.area != "goldens"))
    every = (
        *changes,
        *judged,
        *name_changes,
        *texts[2],
        prompt_change,
        facts.judge_rules(first, second, rules),
        sizes.judge_tensors(tensors),
        sizes.judge_size(measured),
        files.judge_files(a, b, measured, what_they_do),
    )
    order = list(AREAS)
    ordered = tuple(sorted(every, key=lambda one: order.index(one.area)))
    return DiffResult(
        a=_side(a, measured.a),
        b=_side(b, measured.b),
        float_models=_float_models(first, second),
        severity=worst(ordered),
        changes=ordered,
        uncompared=(*notes, *([prompt_note] if prompt_note else []), *texts[3], *_uncompared(a, b, records)),
        sizes=measured,
        tensors=tensors,
        recipe=rules,
        operators=operators,
        kernels=kernels,
        settings=pairs,
        coverage_a=first.delegate_coverage,
        coverage_b=second.delegate_coverage,
        template=texts[0],
        tokenizer=texts[1],
        prompt=prompt,
        behaviour=behaves,
        thresholds=(),
        passed=True,
    )


def _float_models(a: Manifest, b: Manifest) -> str | None:
    """Return what different float models mean for the figures; None if the float model is the same."""
    if not facts.other_weights(a, b):
        return None
    named = [
        one.model.name + (f" with the adapter {one.model.adapter.name}" if one.model.adapter else "") for one in (a, b)
    ]
    which = f"{named[0]} and {named[1]}" if named[0] != named[1] else f"both called {named[0]}"
    return (
        f"A and B were made from different float models ({which}): each bundle's fidelity is measured against its own, "
        "so better figures don't mean a better model."
    )


def _side(bundle: Bundle, size: int) -> Side:
    manifest = bundle.manifest
    return Side(
        bundle=str(bundle.path),
        format="zip" if bundle.is_zip else "dir",
        size=size,
        packed=bundle.path.stat().st_size if bundle.is_zip else None,
        manifest_sha256=hashlib.sha256(bundle.read(MANIFEST)).hexdigest(),
        model=manifest.model.name,
        target=manifest.target,
        runtime=f"{manifest.runtime.name} {manifest.runtime.version}",
        proven=manifest.proven,
    )


def _names(a: Bundle, b: Bundle) -> tuple[Names | None, Names | None, tuple[Change, ...]]:
    """Compare operators and kernels, whose names can only be compared within one runtime."""
    if a.manifest.runtime.name != b.manifest.runtime.name:
        return None, None, ()
    operators = facts.compare_names(a.manifest.operators, b.manifest.operators)
    kernels = facts.compare_names(a.manifest.kernels, b.manifest.kernels)
    return operators, kernels, (facts.judge_names("operators", operators), facts.judge_names("kernels", kernels))


def _texts(
    a: Bundle, b: Bundle, records: tuple[Records, Records]
) -> tuple[TemplateDiff | None, TokenizerDiff | None, tuple[Change, ...], tuple[str, ...]]:
    """Compare template and tokenizer; nothing is read if their files are the same."""
    names = (template.TEMPLATE, tokens.TOKENIZER)
    hashes = [[m.files[name].sha256 if name in m.files else None for name in names] for m in (a.manifest, b.manifest)]
    lacking = [one.path for one in (a, b) if tokens.TOKENIZER not in one.manifest.files]
    if lacking:
        return None, None, (), (f"template and tokenizer: {lacking[0]} has no {tokens.TOKENIZER}",)
    special = [(m.special_tokens, m.bos_id) for m in (a.manifest, b.manifest)]
    if hashes[0] == hashes[1] and special[0] == special[1]:
        return None, None, (same("template"), same("tokenizer")), ()
    sources = [template.template_of(one) for one in (a, b)]
    codecs = [_codec(one, source) for one, source in zip((a, b), sources, strict=True)]
    found = None
    if hashes[0][0] != hashes[1][0] or special[0] != special[1]:
        chats = template.chats_of(*(one.prompts for one in records))
        found = template.compare_templates(sources, codecs, chats, (str(a.path), str(b.path)))
    cut = None
    if hashes[0][1] != hashes[1][1]:
        cut = tokens.compare_tokenizers([one.read(tokens.TOKENIZER) for one in (a, b)], codecs, _known(records))
    return found, cut, (template.judge_template(sources, found), tokens.judge_tokenizer(cut, b.manifest.vocab_size)), ()


def _codec(bundle: Bundle, source: str | None) -> ChatCodec:
    manifest = bundle.manifest
    return load_codec(bundle.file(tokens.TOKENIZER), source, manifest.special_tokens, manifest.bos_id)


def _known(records: tuple[Records, Records]) -> Iterator[tuple[str, str]]:
    """Yield the goldens' texts: what apps feed, and what they get."""
    for side in records:
        for prompt, golden in side.goldens.items():
            yield golden.rendered, f"the prompt {prompt!r}"
    for side in records:
        for prompt, golden in side.goldens.items():
            yield golden.greedy_text, f"the float model's reply to {prompt!r}"
            yield side.recorded[prompt].greedy_text, f"the reply to {prompt!r}"


def _uncompared(a: Bundle, b: Bundle, records: tuple[Records, Records]) -> Iterator[str]:
    first, second = a.manifest, b.manifest
    if first.runtime.name != second.runtime.name:
        yield f"operators and kernels: {first.runtime.name} and {second.runtime.name} name them differently"
        yield f"inside the program: {first.program} and {second.program} have different formats"
    if first.fidelity and second.fidelity and first.fidelity.form != second.fidelity.form:
        yield (
            f"fidelity as recorded: its form is {first.fidelity.form} in the first bundle and {second.fidelity.form} "
            "in the second; both are shown over the top 64 instead"
        )
    shared = [one for one in records[0].goldens if one in records[1].goldens]
    same_weights = not facts.other_weights(first, second)
    if same_weights and any(records[0].goldens[one].greedy_ids != records[1].goldens[one].greedy_ids for one in shared):
        yield "fidelity: the float models reply differently, and each bundle's figures refer to its own"
    if not shared:
        yield "replies: the bundles have no prompt in common"
