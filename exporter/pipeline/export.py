"""An export, stage by stage, in the order of ``stages.EXPORT``; this module reads like a table of contents.

checkpoint -> plan -> reference -> build -> pack -> prove -> seal -> publish
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from ..bundle.staging import Staging
from ..quantize.recipe import Recipe
from ..stages import EXPORT, titles
from ..util.disk_sizes import size_on_disk
from ..util.lazy import Lazy
from ..util.process_memory import collected_seldom, never_collected
from ..util.progress import Progress, portions
from ..util.stage_clock import StageClock
from . import build, gates, packaging, proving, reference
from .attempts import Attempts
from .calibration import Calibrated, calibrate
from .evidence import RUN_MEMORY, Evidence
from .failures import GateFailed, TooSensitive
from .job import BundleJob
from .journal.fingerprint import keys_of
from .journal.journal import Journal, resume_journals
from .journal.reuse import reference_shelf, shelf_of
from .plan import ExportPlan, checked_plans
from .products import Built, CompiledPrompt, Goldens, Proven, Sealed, Shared
from .prompt import compile_prompt
from .request import ExportRequest, Published
from .tokenizer_agreement import check_agreement


@collected_seldom()
def export(request: ExportRequest, progress: Progress) -> tuple[Published, ...]:
    """Cut a model to a bundle for each runtime, prove the packed bundles, and publish them.

    One run of the float model and one set of goldens serve all of the bundles. What an earlier run of the same export
    had finished before it was killed is reused, and so are the float model's outputs and a program that an earlier
    export made of the same, even one that failed; see ``pipeline.journal``.

    Args:
        request: What to export.
        progress: Receives the stages and notes.

    Returns:
        The published bundles, in the order of the request's runtimes.

    With the target's own recipe, a model that fails its gate goes on to the finer recipe that it names. With a limit on
    size or divergence, a recipe is searched for first, and a stricter one if the bundle is past the divergence.

    Raises:
        GemcutError: The export failed: nothing was published, and the output paths hold what they held before.
    """
    clock = StageClock(progress, titles(EXPORT))
    attempts = Attempts(request, clock)
    while True:
        try:
            return _export(attempts.request, clock)
        except (GateFailed, TooSensitive) as error:
            if not attempts.goes_on(error):
                raise


def _export(request: ExportRequest, clock: StageClock) -> tuple[Published, ...]:
    """One attempt, with the recipes that the request names."""
    progress = clock.progress
    with clock.stage("plan"):
        plans, _ = checked_plans(request)
        plans[0].checkpoint.hash_sources(progress)
        keys = keys_of(plans)
    with ExitStack() as stack:
        stack.enter_context(never_collected())  # what a plan imports, and no weights yet
        stagings = [
            stack.enter_context(Staging(plan.output, request.format, request.force, key, request.fresh))
            for plan, key in zip(plans, keys, strict=True)
        ]
        jobs = _open_jobs(plans, stagings, resume_journals(stagings, clock))
        model = Lazy(partial(_load, jobs[0], clock))
        shared = _share(jobs, model, request.fresh, clock)
        calibrated = _calibrations(jobs, model, request, clock)
        built = [_build(job, job is jobs[-1], calibrated, request, clock) for job in jobs]
        calibrated.clear()
        model.drop()
        proven: list[Proven] = []
        for job, one in zip(jobs, built, strict=True):
            proven.append(_prove(job, one, shared, request, [each.evidence for each in proven], clock))
        with clock.stage("seal"):
            sealed = [packaging.seal(job, one, shared.goldens, progress) for job, one in zip(jobs, proven, strict=True)]
        sealed = gates.enforce_budgets(jobs, sealed, request, clock)
        with clock.stage("publish"):
            parts = portions(progress, len(jobs))
            places = [
                job.staging.publish(one.manifest, part) for job, one, part in zip(jobs, sealed, parts, strict=True)
            ]
    return tuple(_published(place, one, clock) for place, one in zip(places, sealed, strict=True))


def _open_jobs(
    plans: Sequence[ExportPlan], stagings: Sequence[Staging], journals: Sequence[Journal]
) -> list[BundleJob]:
    """Each bundle's job; the tokenizer's files are put into the bundle, and compared with transformers."""
    jobs = [
        BundleJob(plan, staging, journal, packaging.add_tokenizer(staging, plan.checkpoint))
        for plan, staging, journal in zip(plans, stagings, journals, strict=True)
    ]
    check_agreement(plans[0].checkpoint, stagings[0].folder / "tokenizer.json")
    return jobs


def _load(job: BundleJob, clock: StageClock) -> Any:
    with clock.stage("load"):
        return reference.load_model(job.plan.checkpoint, job.staging.work, clock.progress)


def _share(jobs: Sequence[BundleJob], model: Lazy[Any], fresh: bool, clock: StageClock) -> Shared:
    """The goldens and the compiled template, made once and put into every bundle."""
    journal = jobs[0].journal
    shelf = reference_shelf([job.plan for job in jobs], fresh)
    goldens = journal.step("reference", partial(_reference, jobs, model, clock), shelf=shelf)
    prompt = journal.step("prompt", partial(_prompt, jobs[0], goldens, clock))
    shared = Shared(goldens, prompt)
    for job in jobs:
        packaging.add_shared(job.staging, shared)
    return shared


def _reference(jobs: Sequence[BundleJob], model: Lazy[Any], clock: StageClock) -> Goldens:
    loaded = model.get()
    with clock.stage("reference"):
        plans, first = [job.plan for job in jobs], jobs[0]
        return reference.make_goldens(plans, loaded, first.codec, first.staging.work, clock.progress)


def _prompt(job: BundleJob, goldens: Goldens, clock: StageClock) -> CompiledPrompt:
    with clock.stage("prompt"):
        return compile_prompt(job.codec, job.plan.checkpoint.stop_ids, goldens.prompts)


def _calibrations(
    jobs: Sequence[BundleJob], model: Lazy[Any], request: ExportRequest, clock: StageClock
) -> dict[Recipe, Lazy[Calibrated]]:
    """The model as each recipe calibrates it, made if a program must be built from it."""

    def make(job: BundleJob) -> Calibrated:
        plan, measured = job.plan, _goes_on(job.plan, request)
        return calibrate(model.get(), plan.recipe, plan.text, job.codec, job.staging.work, clock, measured)

    return {job.plan.recipe: Lazy(partial(make, job)) for job in jobs}


def _goes_on(plan: ExportPlan, request: ExportRequest) -> bool:
    """Whether a recipe that fails its gate is followed by a finer one."""
    return request.recipe is None and bool(plan.recipe.finer) and request.gate == "enforce"


def _build(
    job: BundleJob,
    last: bool,
    calibrated: Mapping[Recipe, Lazy[Calibrated]],
    request: ExportRequest,
    clock: StageClock,
) -> Built:
    """One runtime's program; the last runtime uses up the float model, the others use a copy."""
    plan = job.plan
    make = partial(_built, job, last, calibrated[plan.recipe], clock)
    shelf = shelf_of(plan, _goes_on(plan, request), request.fresh)
    built: Built = job.journal.step("build", make, job.staging.work, shelf=shelf)
    plan.runtime.exporter.check_release(built.program, plan.target.oldest_runtime.get(plan.runtime.name))
    return built


def _built(job: BundleJob, last: bool, calibrated: Lazy[Calibrated], clock: StageClock) -> Built:
    from ..calibrate.simulation import copy_of

    found = calibrated.get()
    model = found.model if last else copy_of(found.model)
    return build.build(job.plan, model, found, job.staging.work, clock)


def _prove(
    job: BundleJob, built: Built, shared: Shared, request: ExportRequest, before: Sequence[Evidence], clock: StageClock
) -> Proven:
    """Pack one bundle, run it, and check its gate and the devices; ``before`` is the evidence of those before it."""
    runtime, goldens = job.plan.runtime.name, shared.goldens
    with clock.stage("pack", runtime=runtime):
        packed = packaging.pack(job, built, shared, clock.progress)
    with job.staging.draft(packed.manifest) as bundle:
        gate, work = job.plan.recipe.gate, job.staging.work
        proof = job.journal.step(
            "prove", partial(proving.timed_prove, bundle, gate, work, clock, goldens), goldens.records, gate
        )
        manifest = proving.proven_manifest(packed.manifest, proof)
        evidence = Evidence(manifest, proof.goldens, proof.recorded, proof.verdict, proof.behaviour)
        gates.enforce_gate(proof, (*before, evidence), request, clock)
        found = job.journal.step("measure", partial(proving.timed_speed, bundle, work, clock))
        memory = {name: int(found.pop(name)) for name in RUN_MEMORY if name in found}
        evidence = replace(evidence, speed=found, run_memory=memory)
        verdicts = proving.prove_on_each(job, bundle, proof, request, clock)
        evidence = replace(evidence, devices=verdicts)
        gates.enforce_devices((*before, evidence), clock)
    records = tuple(proving.device_record(verdict) for verdict in verdicts)
    return Proven(packed, manifest.model_copy(update={"devices": records}), evidence)


def _published(place: Path, sealed: Sealed, clock: StageClock) -> Published:
    evidence = replace(sealed.evidence, bundle=place)
    size = size_on_disk(place)
    return Published(place, size, sealed.manifest, evidence, clock.seconds, clock.memory, tuple(clock.resumed))
