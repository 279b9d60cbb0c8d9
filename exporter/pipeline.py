"""An export and a validation, stage by stage. It reads like the table of contents; the details are elsewhere.

checkpoint -> plan -> reference -> graph -> quantize -> lower -> pack -> prove -> publish
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path

from . import packing, proving, reference_stage
from .bundle.open import open_bundle
from .bundle.staging import Staging
from .clock import Clock
from .devices.bench import peak_memory
from .draft import Draft
from .planning import make_plans
from .prove.conformance import compare
from .prove.golden_files import GOLDENS, RECORDED, load_goldens, load_recorded
from .request import ExportRequest, GateFailed, Published, Validated
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
    with ExitStack() as stack:
        stagings = [stack.enter_context(Staging(plan.output, request.format, request.force)) for plan in plans]
        drafts = [Draft(plan, staging) for plan, staging in zip(plans, stagings, strict=True)]
        with clock.stage("load", "Loading the float model"):
            model = reference_stage.load_model(plans[0])
            for draft in drafts:
                draft.add_tokenizer()
        with clock.stage("reference", "Running the float model on the golden prompts"):
            goldens = reference_stage.make_goldens(plans, model, drafts[0].codec, stagings[0].work, progress)
            for draft in drafts:
                draft.add_goldens(goldens)
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
                if not proof.verdict.passed and request.gate == "enforce":
                    raise GateFailed(proof.verdict, draft.runtime.name)
                with clock.stage("measure", "Measuring its speed on this host"):
                    draft.proven(proof, proving.measure_speed(bundle, draft.staging.work, progress))
        with clock.stage("publish", "Publishing"):
            for draft in drafts:
                draft.seal(progress)
            places = [draft.publish() for draft in drafts]
    return tuple(
        Published(place, proving.program_size(place), draft.manifest, clock.seconds, peak_memory(), draft.speed)
        for place, draft in zip(places, drafts, strict=True)
    )


def validate(path: Path, progress: Progress) -> Validated:
    """Proves a bundle again from its own goldens, with no access to the checkpoint.

    Raises:
        ConformanceError: a byte of it changed, or its program can't be run. A verdict that failed raises nothing.
    """
    clock = Clock(progress)
    with open_bundle(path) as bundle, tempfile.TemporaryDirectory(prefix="gemcut-") as work:
        with clock.stage("verify", "Checking every byte"):
            bundle.verify()
            get_runtime(bundle.manifest.runtime.name)
        with clock.stage("prove", "Running the goldens"):
            proof = proving.prove(bundle, packing.gate_of(bundle.manifest.gate), Path(work), progress)
        with clock.stage("compare", "Comparing with the exporting machine"):
            goldens = load_goldens({name: bundle.read(name) for name in GOLDENS})
            host = load_recorded({name: bundle.read(name) for name in RECORDED})
            conformance = compare(goldens, host, proof.recorded)
        return Validated(path, bundle.manifest, proof.verdict, proof.behaviour, conformance, clock.seconds)
