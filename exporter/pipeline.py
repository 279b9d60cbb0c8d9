"""An export and a validation, stage by stage. It reads like the table of contents; the details are elsewhere.

checkpoint -> plan -> reference -> graph -> quantize -> lower -> pack -> prove -> publish
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from . import holding, packing, prompting, proving, reference_stage
from .budgets import bundle_bytes
from .bundle.open import open_bundle
from .bundle.staging import Staging
from .clock import Clock
from .devices import HOST, Options
from .devices.proof import check_devices
from .devices.verdict_file import verdict_from
from .draft import Draft
from .evidence import Evidence
from .planning import make_plans
from .prove.conformance import compare
from .request import ExportRequest, ProvenHere, Published, Validated
from .runtimes import get_runtime
from .stages import Progress


def export(request: ExportRequest, progress: Progress) -> tuple[Published, ...]:
    """Cuts a model to a bundle for each runtime, proves the packed bundles, and publishes them.

    One run of the float model and one set of goldens serve all of them.

    Raises:
        GemcutError: nothing was published, and the output paths hold what they held before.
    """
    clock = Clock(progress)
    with clock.stage("plan", "Opening the checkpoint"):
        plans = make_plans(request)
        check_devices(request.prove_on, {p.runtime.name: p.runtime.version() for p in plans}, request.device_options)
    with ExitStack() as stack:
        stagings = [stack.enter_context(Staging(plan.output, request.format, request.force)) for plan in plans]
        drafts = [Draft(plan, staging) for plan, staging in zip(plans, stagings, strict=True)]
        with clock.stage("load", "Loading the float model"):
            model = reference_stage.load_model(plans[0], stagings[0].work)
            for draft in drafts:
                draft.add_tokenizer()
        with clock.stage("reference", "Running the float model on the golden prompts"):
            goldens = reference_stage.make_goldens(plans, model, drafts[0].codec, stagings[0].work, progress)
            for draft in drafts:
                draft.add_goldens(goldens)
        with clock.stage("prompt", "Compiling the chat template"):
            prompt = prompting.compile_prompt(drafts[0].codec, plans[0].checkpoint.stop_ids, goldens.prompts)
            for draft in drafts:
                draft.add_prompt(prompt)
        for draft in drafts:
            draft.build(reference_stage.model_for(draft, drafts, model), clock)
        del model
        for draft in drafts:
            with clock.stage("pack", f"Packing for {draft.runtime.name}"):
                draft.pack(progress)
            with draft.opened() as bundle:
                with clock.stage("prove", f"Proving the packed {draft.runtime.name} bundle"):
                    gate = draft.plan.recipe.gate
                    proof = proving.prove(bundle, gate, draft.staging.work, progress, goldens.logits())
                    draft.judged(proof)
                holding.hold_gate(drafts, proof, request, clock)
                with clock.stage("measure", "Measuring its speed on this host"):
                    draft.found(speed=proving.measure_speed(bundle, draft.staging.work, progress))
                draft.found(devices=proving.prove_on_named_devices(
                    bundle, proof, request, draft.staging.work, clock, progress))  # fmt: skip
                holding.hold_devices(drafts, clock)
        with clock.stage("seal", "Sealing"):
            for draft in drafts:
                draft.seal(progress)
        holding.hold_budgets(drafts, request, clock, progress)
        with clock.stage("publish", "Publishing"):
            places = [draft.publish() for draft in drafts]
    return tuple(draft.published(place, clock) for place, draft in zip(places, drafts, strict=True))


def validate(
    path: Path,
    progress: Progress,
    on: Sequence[str] = (),
    options: Options | None = None,
    verdicts: Sequence[Path] = (),
) -> Validated:
    """Proves a bundle again from its own goldens, with no access to the checkpoint.

    Args:
        path: The bundle.
        progress: Told what happens.
        on: Devices to prove it on; this machine where none is named.
        options: Of the devices.
        verdicts: Files that the demo app wrote on phones.

    Raises:
        ConformanceError: a byte of it changed, or its program can't be run here. A verdict that failed raises nothing.
        LackingError: a device needs what this machine lacks.
        UnsupportedError: a device can't run this runtime.
    """
    clock = Clock(progress)
    with open_bundle(path) as bundle, tempfile.TemporaryDirectory(prefix="gemcut-") as work:
        with clock.stage("verify", "Checking every byte"):
            bundle.verify()
            get_runtime(bundle.manifest.runtime.name)
            subject = proving.subject_of(bundle)
            check_devices(on, proving.versions_of(bundle.manifest), options)
        here, evidence = None, Evidence(bundle.manifest, tuple(subject.goldens), bundle=path)
        if HOST in on or not (on or verdicts):
            with clock.stage("prove", "Running the goldens"):
                proof = proving.prove(bundle, packing.gate_of(bundle.manifest.gate), Path(work), progress)
            with clock.stage("compare", "Comparing with the exporting machine"):
                conformance = compare(subject.goldens, subject.host, proof.recorded, subject.share)
                here = ProvenHere(proof.verdict, proof.behaviour, conformance)
                evidence = replace(evidence, recorded=proof.recorded, verdict=proof.verdict, behaviour=proof.behaviour,
                                   conformance=conformance)  # fmt: skip
        found = proving.prove_on_devices(subject, on, Path(work), clock, progress, options)
        found += tuple(verdict_from(subject, file, progress) for file in verdicts)
        evidence = replace(evidence, devices=found, size=bundle_bytes(bundle))
        return Validated(path, bundle.manifest, here, found, clock.seconds, evidence)
