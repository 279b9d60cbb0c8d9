"""What goes into a bundle beside its program, and what its manifest says."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import __version__
from .bundle.card import license_text, model_card, notice
from .bundle.manifest import (
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
from .bundle.staging import Staging
from .prove.golden_files import GOLDENS, load_goldens, save_recorded
from .prove.template import ChatCodec, load_codec
from .proving import Proof, proven_manifest
from .runtimes.base import Contents
from .stages import Gate, Lowered, Progress

if TYPE_CHECKING:
    from .bundle.open import Bundle
    from .checkpoint import Checkpoint
    from .clock import Clock
    from .planning import ExportPlan
    from .prove.records import Recorded
    from .reference_stage import Goldens

# As they are, where the checkpoint has them; the tokenizer and the template in use are written apart.
_CARRIED = ("tokenizer.model", "tokenizer_config.json", "special_tokens_map.json", "config.json")
_LIMITS = ("mean_kl", "p99_kl", "top1", "perplexity_ratio", "max_logit_diff", "tool_calls")


class Draft:
    """One bundle in the making: what has been decided, built and found out about it so far.

    Args:
        plan: what it is to be.
        staging: entered; where its files lie.
    """

    codec: ChatCodec
    lowered: Lowered
    manifest: Manifest

    def __init__(self, plan: ExportPlan, staging: Staging) -> None:
        self.plan = plan
        self.staging = staging
        self.runtime = plan.runtime
        self.parameters = 0
        self.speed: dict[str, float] = {}
        self._recorded: tuple[Recorded, ...] = ()

    def add_tokenizer(self) -> None:
        """Puts tokenizer, template and generation config into the bundle; ``codec`` is read from there."""
        self.codec = add_tokenizer(self.staging, self.plan.checkpoint)

    def add_goldens(self, goldens: Goldens) -> None:
        """Puts the float model's side of the goldens into the bundle."""
        for name, data in goldens.files.items():
            self.staging.add(name, data)

    def build(self, model: Any, clock: Clock) -> None:
        """Makes the program; ``model`` is used up."""
        self.parameters = sum(p.numel() for p in model.parameters())
        self.lowered = self.runtime.build(self.plan.order, model, self.staging.work, clock)

    def pack(self, progress: Progress) -> None:
        """Makes the program's file as it ships, with all of the manifest but figures and verdict."""
        self.manifest = first_manifest(self.plan, self.lowered, self.codec, self.parameters)
        if self.plan.plain_program:
            self.staging.add("model.tflite", self.lowered.program)
        notes = self._package(self.manifest, progress)
        self.manifest = self.manifest.model_copy(update={"notes": (*self.manifest.notes, *notes)})

    def opened(self) -> Bundle:
        """The bundle as it lies on the disk."""
        return self.staging.draft(self.manifest)

    def proven(self, proof: Proof, speed: dict[str, float]) -> None:
        """Takes figures and verdict into the manifest."""
        self.manifest = proven_manifest(self.manifest, proof)
        self.speed, self._recorded = speed, proof.recorded

    def seal(self, progress: Progress) -> None:
        """Adds what only a proven bundle has; what runs stays byte for byte what was proven."""
        for name, data in save_recorded(self._recorded).items():
            self.staging.add(name, data)
        if self.runtime.embeds_manifest:
            self._package(self.staging.finish(self.manifest), progress)
        add_papers(self.staging, self.plan.checkpoint, self.staging.finish(self.manifest))

    def publish(self) -> Path:
        """Puts the bundle in its place."""
        return self.staging.publish(self.manifest)

    def _package(self, manifest: Manifest, progress: Progress) -> tuple[str, ...]:
        """(Re)makes the program's file with this manifest inside, where the runtime's file can hold one."""
        name, folder = self.runtime.program_name, self.staging.folder
        inner = manifest.model_copy(update={"files": {k: v for k, v in manifest.files.items() if k != name}})
        contents = self._contents(inner, {n: folder / n for n in self.staging.files if n != name})
        out = self.staging.work / f"packed-{name}"
        notes = self.runtime.package(self.lowered, contents, out, progress)
        if name in self.staging.files:
            self.runtime.same_program(folder / name, out)
        self.staging.add(name, out, how="move")
        return notes

    def _contents(self, manifest: Manifest, files: dict[str, Path]) -> Contents:
        goldens = load_goldens({name: files[name].read_bytes() for name in GOLDENS})
        return Contents(
            manifest=manifest_bytes(manifest),
            files=files,
            text_type=manifest.model.model_type,
            context=manifest.context,
            stop_ids=manifest.stop_ids,
            bos_id=manifest.bos_id,
            template_bos=manifest.template_bos,
            generation=self.plan.checkpoint.generation,
            special_tokens=manifest.special_tokens,
            probes=tuple(self.codec.decode(golden.ids) for golden in goldens),
        )


def add_tokenizer(self) -> None:
        """Puts tokenizer, template and generation config into the bundle; ``codec`` is read from there."""
        self.codec = add_tokenizer(self.staging, self.plan.checkpoint)

    def add_goldens(self, goldens: Goldens) -> None:
        """Puts the float model's side of the goldens into the bundle."""
        for name, data in goldens.files.items():
            self.staging.add(name, data)

    def build(self, model: Any, clock: Clock) -> None:
        """Makes the program; ``model`` is used up."""
        self.parameters = sum(p.numel() for p in model.parameters())
        self.lowered = self.runtime.build(self.plan.order, model, self.staging.work, clock)

    def pack(self, progress: Progress) -> None:
        """Makes the program's file as it ships, with all of the manifest but figures and verdict."""
        self.manifest = first_manifest(self.plan, self.lowered, self.codec, self.parameters)
        if self.plan.plain_program:
            self.staging.add("model.tflite", self.lowered.program)
        notes = self._package(self.manifest, progress)
        self.manifest = self.manifest.model_copy(update={"notes": (*self.manifest.notes, *notes)})

    def opened(self) -> Bundle:
        """The bundle as it lies on the disk."""
        return self.staging.draft(self.manifest)

    def proven(self, proof: Proof, speed: dict[str, float]) -> None:
        """Takes figures and verdict into the manifest."""
        self.manifest = proven_manifest(self.manifest, proof)
        self.speed, self._recorded = speed, proof.recorded

    def seal(self, progress: Progress) -> None:
        """Adds what only a proven bundle has; what runs stays byte for byte what was proven."""
        for name, data in save_recorded(self._recorded).items():
            self.staging.add(name, data)
        if self.runtime.embeds_manifest:
            self._package(self.staging.finish(self.manifest), progress)
        add_papers(self.staging, self.plan.checkpoint, self.staging.finish(self.manifest))

    def publish(self) -> Path:
        """Puts the bundle in its place."""
        return self.staging.publish(self.manifest)

    def _package(self, manifest: Manifest, progress: Progress) -> tuple[str, ...]:
        """(Re)makes the program's file with this manifest inside, where the runtime's file can hold one."""
        name, folder = self.runtime.program_name, self.staging.folder
        inner = manifest.model_copy(update={"files": {k: v for k, v in manifest.files.items() if k != name}})
        contents = self._contents(inner, {n: folder / n for n in self.staging.files if n != name})
        out = self.staging.work / f"packed-{name}"
        notes = self.runtime.package(self.lowered, contents, out, progress)
        if name in self.staging.files:
            self.runtime.same_program(folder / name, out)
        self.staging.add(name, out, how="move")
        return notes

    def _contents(self, manifest: Manifest, files: dict[str, Path]) -> Contents:
        goldens = load_goldens({name: files[name].read_bytes() for name in GOLDENS})
        return Contents(
            manifest=manifest_bytes(manifest),
            files=files,
            text_type=manifest.model.model_type,
            context=manifest.context,
            stop_ids=manifest.stop_ids,
            bos_id=manifest.bos_id,
            template_bos=manifest.template_bos,
            generation=self.plan.checkpoint.generation,
            special_tokens=manifest.special_tokens,
            probes=tuple(self.codec.decode(golden.ids) for golden in goldens),
        )


def _contents(plan: ExportPlan, manifest: Manifest, files: dict[str, Path]) -> Contents:
    return Contents(
        manifest=manifest_bytes(manifest),
        files=files,
        text_type=manifest.model.model_type,
        context=manifest.context,
        stop_ids=manifest.stop_ids,
        bos_id=manifest.bos_id,
        template_bos=manifest.template_bos,
        generation=plan.checkpoint.generation,
        special_tokens=manifest.special_tokens,
        probes=tokenizer_probes([files[name].read_bytes() for name in GOLDEN_TEXTS]),
    )


def add_tokenizer(staging: Staging, checkpoint: Checkpoint) -> ChatCodec:
    """Puts tokenizer, template and generation config into the bundle; returns the codec read from there."""
    for name in _CARRIED:
        if (checkpoint.path / name).is_file():
            staging.add(name, checkpoint.path / name)
    staging.add("tokenizer.json", checkpoint.tokenizer.backend_tokenizer.to_str().encode())
    generation = {**checkpoint.generation, "eos_token_id": list(checkpoint.stop_ids)}
    if checkpoint.bos_id is not None:
        generation["bos_token_id"] = checkpoint.bos_id
    staging.add("generation_config.json", (json.dumps(generation, indent=2, sort_keys=True) + "\n").encode())
    if checkpoint.chat_template is not None:
        staging.add("chat_template.jinja", checkpoint.chat_template.encode())
    return load_codec(
        staging.folder / "tokenizer.json", checkpoint.chat_template, special_tokens(checkpoint), checkpoint.bos_id
    )


def special_tokens(checkpoint: Checkpoint) -> dict[str, str]:
    """What the chat template may use by name: ``bos_token`` and so on."""
    named = checkpoint.tokenizer.special_tokens_map
    return {name: str(token) for name, token in sorted(named.items()) if isinstance(token, str)}


def add_papers(staging: Staging, checkpoint: Checkpoint, manifest: Manifest) -> None:
    """Puts licence, notice and model card into the bundle."""
    staging.add("LICENSE", license_text(manifest, checkpoint.licence.text).encode())
    staging.add("NOTICE", notice(manifest).encode())
    staging.add("README.md", model_card(manifest).encode())


def first_manifest(plan: ExportPlan, lowered: Lowered, codec: ChatCodec, parameters: int) -> Manifest:
    """The manifest before the proof: everything but figures and verdict."""
    checkpoint = plan.checkpoint
    bos = checkpoint.tokenizer.bos_token
    return Manifest(
        model=SourceRecord(
            name=checkpoint.name,
            source=checkpoint.source if checkpoint.revision else checkpoint.path.name,
            revision=checkpoint.revision,
            model_type=checkpoint.text_config.model_type,
            parameters=parameters,
            files=checkpoint.hashes,
        ),
        target=plan.target.name,
        runtime=RuntimeRecord(
            name=lowered.runtime,
            version=lowered.runtime_version,
            oldest=plan.target.oldest_runtime.get(lowered.runtime),
        ),
        exporter=__version__,
        libraries={name: version(name) for name in plan.runtime.libraries},
        recipe=_recipe(plan),
        program=lowered.program.name,
        context=lowered.context,
        prefill_chunk=lowered.prefill_chunk,
        vocab_size=lowered.vocab_size,
        operators=lowered.operators,
        kernels=lowered.operators,
        delegates=lowered.delegates,
        delegate_coverage=lowered.delegated_macs,
        tensors={
            name: TensorRecord(
                quantized=lowered.quantized.get(name, 0), bytes=size, schemes=lowered.schemes.get(name, {})
            )
            for name, size in sorted(lowered.tensors.items())
        },
        gate=GateRecord(limits=limits(plan.recipe.gate), reason=plan.recipe.gate.reason),
        stop_ids=checkpoint.stop_ids,
        bos_id=checkpoint.bos_id,
        special_tokens=special_tokens(checkpoint),
        template_bos=bool(bos) and _starts_with(codec, str(bos)),
        licence=LicenceRecord(id=checkpoint.licence.id, name=checkpoint.licence.name),
        notes=checkpoint.notes,
    )


def limits(gate: Gate) -> dict[str, float]:
    """The gate's limits by figure."""
    return {name: value for name in _LIMITS if (value := getattr(gate, name)) is not None}


def gate_of(record: GateRecord) -> Gate:
    """The gate that a manifest holds."""
    return Gate(**record.limits, reason=record.reason)


def _starts_with(codec: ChatCodec, bos: str) -> bool:
    if not codec.has_template:
        return False
    return codec.render([{"role": "user", "content": "Hi"}], None, True).startswith(bos)


def _recipe(plan: ExportPlan) -> RecipeRecord:
    rules = tuple(
        RuleRecord(
            match=rule.match,
            scheme=rule.scheme.name,
            weight=rule.scheme.weight,
            group=rule.scheme.group,
            activation=rule.scheme.activation,
            reason=rule.reason,
        )
        for rule in plan.recipe.rules
    )
    return RecipeRecord(name=plan.recipe.name, description=plan.recipe.description, rules=rules)
