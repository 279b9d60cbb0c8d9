"""What goes into a bundle beside its program, and what its manifest says."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from .. import __version__
from ..bundle.card import license_text, model_card, notice
from ..bundle.manifest import (
    AdapterRecord,
    GateRecord,
    LicenceRecord,
    Manifest,
    RecipeRecord,
    RuleRecord,
    RuntimeRecord,
    SourceRecord,
    TensorRecord,
    manifest_bytes,
)
from ..bundle.staging import Staging
from ..prompt.codec import ChatCodec, load_codec
from ..prompt.format import PROMPT_FILE
from ..prove.golden_files import GOLDENS, RECORDED, save_recorded
from ..quantize.recipe import Gate
from ..runtimes.program import Contents, Packaged, Program
from ..util.packages import public_version
from ..util.progress import Progress, SubProgress
from .job import BundleJob
from .products import Built, Goldens, Packed, Proven, Sealed, Shared

if TYPE_CHECKING:
    from ..checkpoint.opened import Checkpoint
    from .plan import ExportPlan

# Copied unchanged if the checkpoint has them; the tokenizer and the template in use are written separately.
CONFIG = "config.json"
_CARRIED = ("tokenizer.model", "tokenizer_config.json", "special_tokens_map.json", CONFIG)


def add_tokenizer(staging: Staging, checkpoint: Checkpoint) -> ChatCodec:
    """Put tokenizer, template and generation config into the bundle, and return the codec that is read from there."""
    for name in _CARRIED:
        folder = checkpoint.path if name == CONFIG else checkpoint.words
        if (folder / name).is_file():
            staging.add(name, folder / name)
    staging.add("tokenizer.json", checkpoint.tokenizer.backend_tokenizer.to_str().encode())
    generation = {**checkpoint.generation, "eos_token_id": list(checkpoint.stop_ids)}
    if checkpoint.bos_id is not None:
        generation["bos_token_id"] = checkpoint.bos_id
    staging.add("generation_config.json", (json.dumps(generation, indent=2, sort_keys=True) + "\n").encode())
    if checkpoint.chat_template is not None:
        staging.add("chat_template.jinja", checkpoint.chat_template.encode())
    return load_codec(
        staging.folder / "tokenizer.json", checkpoint.chat_template, checkpoint.special_tokens, checkpoint.bos_id
    )


def add_papers(staging: Staging, checkpoint: Checkpoint, manifest: Manifest) -> None:
    """Put licence, notice and model card into the bundle."""
    staging.add("LICENSE", license_text(manifest, checkpoint.licence.text).encode())
    staging.add("NOTICE", notice(manifest).encode())
    staging.add("README.md", model_card(manifest).encode())


def add_shared(staging: Staging, shared: Shared) -> None:
    """Put what all bundles share into this one: the float model's side of the goldens, and the compiled template."""
    for name, data in shared.goldens.files.items():
        staging.add(name, data)
    staging.add(PROMPT_FILE, shared.prompt.data)


def pack(job: BundleJob, built: Built, shared: Shared, progress: Progress) -> Packed:
    """Make the program's files as they ship, with all of the manifest but figures and verdict."""
    plan, staging = job.plan, job.staging
    exporter = plan.runtime.exporter
    program = job.journal.step("examine", partial(exporter.examine, built.program), built.program)
    plan.checkpoint.hash_sources(SubProgress(progress, 0, 0.5))
    manifest = first_manifest(plan, program, job.codec, built)
    for name, path in exporter.companions(program, plan.options).items():
        staging.add(name, path)
    packaged = _package(job, program, manifest, shared.goldens, SubProgress(progress, 0.5, 1))
    notes = (*manifest.notes, *shared.prompt.notes, *packaged.notes)
    others = tuple(sorted(set(packaged.artifacts.members()) - {manifest.program}))
    return Packed(program, manifest.model_copy(update={"notes": notes, "program_files": others}))


def seal(job: BundleJob, proven: Proven, goldens: Goldens, progress: Progress) -> Sealed:
    """Add what only a proven bundle has; the parts that run stay byte for byte what was proven."""
    staging, manifest, evidence = job.staging, proven.manifest, proven.evidence
    for name, data in save_recorded(evidence.recorded).items():
        staging.add(name, data)
    add_papers(staging, job.plan.checkpoint, manifest)
    if job.plan.runtime.embeds_manifest:
        _package(job, proven.packed.program, staging.finish(manifest), goldens, progress)
    manifest = staging.finish(manifest)
    size = manifest.files_size
    return Sealed(manifest, replace(evidence, manifest=manifest, size=size))


def _package(job: BundleJob, program: Program, manifest: Manifest, goldens: Goldens, progress: Progress) -> Packaged:
    """Make the program's files, or make them again, with this manifest inside if the runtime's file can hold one."""
    plan, staging = job.plan, job.staging
    own = {manifest.program, *manifest.program_files}
    inner = manifest.model_copy(update={"files": {k: v for k, v in manifest.files.items() if k not in own}})
    contents = _contents(job, inner, goldens, {n: staging.folder / n for n in staging.files if n not in own})
    out = staging.work / "packed"
    out.mkdir(exist_ok=True)
    packaged = plan.runtime.exporter.package(program, contents, out, progress)
    for name, path in packaged.artifacts.members().items():
        if name in staging.files:
            plan.runtime.inspector.same_program(staging.folder / name, path)
        staging.add(name, path, "move", progress)
    return packaged


def _contents(job: BundleJob, manifest: Manifest, goldens: Goldens, files: dict[str, Path]) -> Contents:
    checkpoint = job.plan.checkpoint
    return Contents(
        manifest=manifest_bytes(manifest),
        files={name: path for name, path in files.items() if name in (*GOLDENS, *RECORDED)},
        folder=checkpoint.words,
        tokenizer=checkpoint.tokenizer,
        template=checkpoint.chat_template,
        text_type=manifest.model.model_type,
        context=manifest.context,
        vocab_size=manifest.vocab_size,
        stop_ids=manifest.stop_ids,
        bos_id=manifest.bos_id,
        generation=checkpoint.generation,
        probes=tuple(job.codec.decode(golden.ids) for golden in goldens.records),
    )


def first_manifest(plan: ExportPlan, program: Program, codec: ChatCodec, built: Built) -> Manifest:
    """Return the manifest before the proof: everything but figures and verdict."""
    checkpoint = plan.checkpoint
    return Manifest(
        model=SourceRecord(
            name=checkpoint.name,
            source=checkpoint.source if checkpoint.revision else checkpoint.path.name,
            revision=checkpoint.revision,
            model_type=checkpoint.text_config.model_type,
            parameters=built.parameters,
            files=checkpoint.hashes,
            adapter=adapter_record(checkpoint),
        ),
        target=plan.target.name,
        runtime=RuntimeRecord(
            name=program.runtime,
            version=program.runtime_version,
            oldest=plan.target.oldest_runtime.get(program.runtime),
        ),
        exporter=__version__,
        libraries={name: public_version(name) for name in plan.runtime.libraries},
        recipe=_recipe(plan),
        calibration=built.calibration,
        program=plan.runtime.program_name,
        context=program.context,
        cache_bytes=plan.cache.bytes,
        prefill_chunk=program.prefill_chunk,
        vocab_size=program.vocab_size,
        operators=program.operators,
        kernels=program.kernels,
        delegates=program.delegates,
        delegate_coverage=program.delegated_macs,
        tensors={
            name: TensorRecord(
                quantized=program.quantized.get(name, 0), bytes=size, schemes=program.schemes.get(name, {})
            )
            for name, size in sorted(program.tensors.items())
        },
        gate=GateRecord(limits=plan.recipe.gate.limits(), reason=plan.recipe.gate.reason),
        stop_ids=checkpoint.stop_ids,
        bos_id=checkpoint.bos_id,
        special_tokens=checkpoint.special_tokens,
        template_bos=checkpoint.bos_id is not None and codec.has_template,
        licence=LicenceRecord(id=checkpoint.licence.id, name=checkpoint.licence.name),
        notes=checkpoint.notes,
    )


def adapter_record(checkpoint: Checkpoint) -> AdapterRecord | None:
    """Return what the manifest says about the adapter that was merged in; None if there is none."""
    adapter = checkpoint.adapter
    if adapter is None:
        return None
    return AdapterRecord(
        name=adapter.name, kind=adapter.config.kind, base=adapter.config.base_name, files=adapter.hashes
    )


def gate_of(record: GateRecord) -> Gate:
    """Return the gate that a manifest holds."""
    return Gate(**record.limits, reason=record.reason)


def _recipe(plan: ExportPlan) -> RecipeRecord:
    rules = tuple(
        RuleRecord(
            match=rule.match,
            scheme=rule.scheme.name,
            weight=rule.scheme.weight,
            group=rule.scheme.group,
            activation=rule.scheme.activation,
            method=rule.scheme.method,
            reason=rule.reason,
        )
        for rule in plan.recipe.rules
    )
    recipe = plan.recipe
    return RecipeRecord(name=recipe.name, description=recipe.description, folds=recipe.folds, rules=rules)
