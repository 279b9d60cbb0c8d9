"""An export and a validation, stage by stage. It reads like the table of contents; the details are elsewhere.

checkpoint -> plan -> reference -> graph -> quantize -> lower -> pack -> prove -> publish
"""

from __future__ import annotations

from pathlib import Path

from . import graph_stage, packing, proving, reference_stage
from .bundle.open import open_bundle
from .bundle.staging import Staging
from .clock import Clock
from .devices.bench import peak_memory
from .planning import make_plan
from .prove.conformance import compare
from .prove.golden_files import GOLDENS, RECORDED, load_goldens, load_recorded, save_recorded
from .request import ExportRequest, GateFailed, Published, Validated
from .runtimes import get_runtime
from .stages import Progress


def export(request: ExportRequest, progress: Progress) -> Published:
    """Cuts a model to a bundle, proves the packed bundle, and publishes it.

    Raises:
        GemcutError: nothing was published, and the output path holds what it held before.
    """
    clock = Clock(progress)
    with clock.stage("plan", "Opening the checkpoint"):
        plan = make_plan(request)
    with Staging(plan.output, request.format, request.force) as staging:
        with clock.stage("load", "Loading the float model"):
            model = reference_stage.load_model(plan)
            codec = packing.add_tokenizer(staging, plan.checkpoint)
        with clock.stage("reference", "Running the float model on the golden prompts"):
            goldens = reference_stage.make_goldens(plan, model, codec, staging.work, progress)
            for name, data in goldens.files.items():
                staging.add(name, data)
        with clock.stage("quantize", f"Quantizing: {plan.recipe.name}"):
            graph = graph_stage.quantize(plan, model)
        with clock.stage("graph", "Tracing"):
            traced = graph_stage.trace(plan, graph)
        with clock.stage("lower", f"Lowering for {plan.runtime.name}"):
            lowered = graph_stage.lower(plan, graph, traced, staging.work, progress)
        with clock.stage("pack", "Packing"):
            staging.add(lowered.program.name, lowered.program, how="move")
            manifest = packing.first_manifest(plan, lowered, codec, graph.parameters)
        with staging.draft(manifest) as bundle:
            with clock.stage("prove", "Proving the packed bundle"):
                proof = proving.prove(bundle, plan.recipe.gate, progress, goldens.logits())
                manifest = proving.proven_manifest(manifest, proof)
            with clock.stage("measure", "Measuring its speed on this host"):
                speed = proving.measure_speed(bundle, progress)
        if not proof.verdict.passed and request.gate == "enforce":
            raise GateFailed(proof.verdict)
        with clock.stage("publish", "Publishing"):
            for name, data in save_recorded(proof.recorded).items():
                staging.add(name, data)
            packing.add_papers(staging, plan.checkpoint, staging.finish(manifest))
            out = staging.publish(manifest)
    size = proving.program_size(out)
    return Published(out, size, manifest, clock.seconds, peak_memory(), speed)


def validate(path: Path, progress: Progress) -> Validated:
    """Proves a bundle again from its own goldens, with no access to the checkpoint.

    Raises:
        ConformanceError: a byte of it changed, or its program can't be run. A verdict that failed raises nothing.
    """
    clock = Clock(progress)
    with open_bundle(path) as bundle:
        with clock.stage("verify", "Checking every byte"):
            bundle.verify()
            get_runtime(bundle.manifest.runtime.name)
        with clock.stage("prove", "Running the goldens"):
            proof = proving.prove(bundle, packing.gate_of(bundle.manifest.gate), progress)
        with clock.stage("compare", "Comparing with the exporting machine"):
            goldens = load_goldens({name: bundle.read(name) for name in GOLDENS})
            host = load_recorded({name: bundle.read(name) for name in RECORDED})
            conformance = compare(goldens, host, proof.recorded)
        return Validated(path, bundle.manifest, proof.verdict, proof.behaviour, conformance, clock.seconds)
