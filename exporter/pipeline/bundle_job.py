"""One bundle from its plan to its place: what an export does for each runtime."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..bundle.manifest import Manifest, manifest_bytes
from ..bundle.staging import Staging
from ..devices.replay import DeviceVerdict
from ..prompt.codec import ChatCodec
from ..prompt.format import PROMPT_FILE
from ..prove.golden_files import GOLDENS, RECORDED, load_goldens, save_recorded
from ..prove.proof import Proof
from ..quantize.recipe import Gate
from ..runtimes.base import Contents, Lowered
from ..util.process_memory import give_back
from ..util.progress import Portion, Progress
from . import prove as proving
from .evidence import Evidence
from .journal.fingerprint import device_key
from .journal.serializers import OfBuild, OfExamined, OfProof, Plain
from .packaging import add_papers, add_tokenizer, first_manifest
from .prove import bundle_size, device_record, proven_manifest
from .request import Published
from .stages import Built

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..bundle.reader import Bundle
    from ..devices import Options
    from ..util.stage_clock import Clock
    from .journal.journal import Kept
    from .plan import ExportPlan
    from .prompt import CompiledPrompt
    from .stages import Goldens


class Draft:
    """One bundle in the making: what has been decided, built and found out about it so far.

    Args:
        plan: what it is to be.
        staging: entered; where its files lie.
        kept: what of it a run that was killed had finished, and where this one keeps what it finishes.
    """

    codec: ChatCodec
    lowered: Lowered
    parameters: int
    manifest: Manifest

    def __init__(self, plan: ExportPlan, staging: Staging, kept: Kept) -> None:
        self.plan = plan
        self.staging = staging
        self.kept = kept
        self.runtime = plan.runtime
        self.evidence: Evidence | None = None
        self._notes: tuple[str, ...] = ()

    def add_tokenizer(self) -> None:
        """Puts tokenizer, template and generation config into the bundle; ``codec`` is read from there."""
        self.codec = add_tokenizer(self.staging, self.plan.checkpoint)

    def add_goldens(self, goldens: Goldens) -> None:
        """Puts the float model's side of the goldens into the bundle."""
        for name, data in goldens.files.items():
            self.staging.add(name, data)

    def add_prompt(self, prompt: CompiledPrompt) -> None:
        """Puts the compiled chat template into the bundle."""
        self.staging.add(PROMPT_FILE, prompt.data)
        self._notes = prompt.notes

    def build(self, model: Callable[[], Any], clock: Clock) -> None:
        """Makes the program; ``model()`` is asked for where it isn't made yet, and used up.

        Raises:
            UnsupportedError: the target's oldest runtime lacks an operator or a backend that the program needs.
        """
        built = self.kept.once("build", OfBuild(self.staging.work), lambda: self._build(model(), clock))
        self.lowered, self.parameters = built.lowered, built.parameters
        self.runtime.refuse_lacking(self.lowered, self.plan.target.oldest_runtime.get(self.runtime.name))

    def _build(self, model: Any, clock: Clock) -> Built:
        parameters = sum(p.numel() for p in model.parameters())
        lowered = self.runtime.build(self.plan.order, model, self.staging.work, clock)
        give_back()
        return Built(lowered, parameters)

    def pack(self, progress: Progress) -> None:
        """Makes the program's file as it ships, with all of the manifest but figures and verdict."""
        self.lowered = self.kept.once("examine", OfExamined(self.lowered), lambda: self.runtime.examine(self.lowered))
        self.plan.checkpoint.hash_sources(Portion(progress, 0, 0.5))
        self.manifest = first_manifest(self.plan, self.lowered, self.codec, self.parameters)
        if self.plan.plain_program:
            self.staging.add("model.tflite", self.lowered.program)
        notes = self._package(self.manifest, Portion(progress, 0.5, 1))
        self.manifest = self.manifest.model_copy(update={"notes": (*self.manifest.notes, *self._notes, *notes)})

    def opened(self) -> Bundle:
        """The bundle as it lies on the disk."""
        return self.staging.draft(self.manifest)

    def prove(self, bundle: Bundle, goldens: Goldens, clock: Clock) -> Proof:
        """Runs the goldens through the opened bundle; figures and verdict go into the manifest, whatever they are."""
        gate, own = self.plan.recipe.gate, load_goldens(goldens.files)
        proof = self.kept.once("prove", OfProof(own, gate), lambda: self._prove(bundle, gate, goldens, clock))
        self.judged(proof)
        return proof

    def _prove(self, bundle: Bundle, gate: Gate, goldens: Goldens, clock: Clock) -> Proof:
        with clock.stage("prove", f"Proving the packed {self.runtime.name} bundle"):
            return proving.prove(bundle, gate, self.staging.work, clock.progress, goldens.logits())

    def measure(self, bundle: Bundle, clock: Clock) -> None:
        """Takes the bundle's speed on this host into the evidence."""
        speed: Plain[dict[str, float]] = Plain(dict[str, float])
        self.found(speed=self.kept.once("measure", speed, lambda: self._measure(bundle, clock)))

    def _measure(self, bundle: Bundle, clock: Clock) -> dict[str, float]:
        with clock.stage("measure", "Measuring its speed on this host"):
            return proving.measure_speed(bundle, self.staging.work, clock.progress)

    def prove_on(self, specs: Sequence[str], bundle: Bundle, proof: Proof, options: Options, clock: Clock) -> None:
        """Takes into the evidence what the bundle does on each device; that one of them fails raises nothing."""
        subject, work = proving.subject_of_proof(bundle, proof), self.staging.work
        verdicts: Plain[tuple[DeviceVerdict, ...]] = Plain(tuple[DeviceVerdict, ...])
        found: tuple[DeviceVerdict, ...] = ()
        for spec in specs:
            name = f"device-{device_key(spec, options)}"
            prove = partial(proving.prove_on_devices, subject, [spec], work, clock, clock.progress, options)
            found = (*found, *self.kept.once(name, verdicts, prove))
        self.found(devices=found)

    def judged(self, proof: Proof) -> None:
        """Takes figures and verdict into the manifest, and the proof into the evidence."""
        self.manifest = proven_manifest(self.manifest, proof)
        self.evidence = Evidence(self.manifest, proof.goldens, proof.recorded, proof.verdict, proof.behaviour)

    def found(self, **figures: Any) -> None:
        """Takes more that was found out into the evidence: ``speed``, ``devices``, ``budgets``, ``size``."""
        assert self.evidence is not None, "judged comes first"
        self.evidence = dataclasses.replace(self.evidence, **figures)

    def proven_on(self) -> None:
        """Takes what devices did with it into the manifest."""
        assert self.evidence is not None, "judged comes first"
        records = tuple(device_record(one) for one in self.evidence.devices)
        self.manifest = self.manifest.model_copy(update={"devices": records})

    def seal(self, progress: Progress) -> None:
        """Adds what only a proven bundle has; what runs stays byte for byte what was proven."""
        assert self.evidence is not None, "judged comes first"
        for name, data in save_recorded(self.evidence.recorded).items():
            self.staging.add(name, data)
        add_papers(self.staging, self.plan.checkpoint, self.manifest)
        if self.runtime.embeds_manifest:
            self._package(self.staging.finish(self.manifest), progress)
        self.manifest = self.staging.finish(self.manifest)
        self.found(manifest=self.manifest, size=sum(record.size for record in self.manifest.files.values()))

    def publish(self, progress: Progress) -> Path:
        """Puts the bundle in its place."""
        return self.staging.publish(self.manifest, progress)

    def published(self, place: Path, clock: Clock) -> Published:
        """What there is to say of it in its place."""
        assert self.evidence is not None, "judged comes first"
        evidence = dataclasses.replace(self.evidence, bundle=place)
        size = bundle_size(place)
        return Published(place, size, self.manifest, evidence, clock.seconds, clock.memory, tuple(clock.resumed))

    def _package(self, manifest: Manifest, progress: Progress) -> tuple[str, ...]:
        """(Re)makes the program's file with this manifest inside, where the runtime's file can hold one."""
        name, folder = self.runtime.program_name, self.staging.folder
        inner = manifest.model_copy(update={"files": {k: v for k, v in manifest.files.items() if k != name}})
        contents = self._contents(inner, {n: folder / n for n in self.staging.files if n != name})
        out = self.staging.work / f"packed-{name}"
        notes = self.runtime.package(self.lowered, contents, out, progress)
        if name in self.staging.files:
            self.runtime.same_program(folder / name, out)
        self.staging.add(name, out, "move", progress)
        return notes

    def _contents(self, manifest: Manifest, files: dict[str, Path]) -> Contents:
        checkpoint = self.plan.checkpoint
        goldens = load_goldens({name: files[name].read_bytes() for name in GOLDENS})
        return Contents(
            manifest=manifest_bytes(manifest),
            files={name: path for name, path in files.items() if name in (*GOLDENS, *RECORDED)},
            folder=checkpoint.path,
            tokenizer=checkpoint.tokenizer,
            template=checkpoint.chat_template,
            text_type=manifest.model.model_type,
            context=manifest.context,
            vocab_size=manifest.vocab_size,
            stop_ids=manifest.stop_ids,
            generation=checkpoint.generation,
            probes=tuple(self.codec.decode(golden.ids) for golden in goldens),
        )
