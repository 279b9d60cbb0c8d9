"""An export and a validation, stage by stage. It reads like the table of contents; the details are elsewhere.

checkpoint -> plan -> reference -> graph -> quantize -> lower -> pack -> prove -> publish
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

from ..bundle.staging import Staging
from ..devices.replay import check_devices
from ..util.progress import Progress
from ..util.stage_clock import Clock
from . import gates as holding
from . import journal as resume
from . import reference as reference_stage
from .bundle_job import Draft
from .journal.serializers import OfPrompt, OfReference
from .plan import make_plans
from .prompt import CompiledPrompt, compile_prompt
from .request import ExportRequest, Published
from .stages import Goldens


def export(request: ExportRequest, progress: Progress) -> tuple[Published, ...]:
    """Cuts a model to a bundle for each runtime, proves the packed bundles, and publishes them.

    One run of the float model and one set of goldens serve all of them. What a run of the same export had finished when
    it was killed is taken over; see ``resume``.

    Raises:
        GemcutError: nothing was published, and the output paths hold what they held before.
    """
    clock = Clock(progress)
    with clock.stage("plan", "Opening the checkpoint"):
        plans = make_plans(request)
        check_devices(request.prove_on, {p.runtime.name: p.runtime.version() for p in plans}, request.device_options)
        keys = resume.keys_of(plans)
    with ExitStack() as stack:
        stagings = [
            stack.enter_context(Staging(plan.output, request.format, request.force, key, request.fresh))
            for plan, key in zip(plans, keys, strict=True)
        ]
        kept = resume.take_over(stagings, clock)
        drafts = [Draft(*parts) for parts in zip(plans, stagings, kept, strict=True)]
        model = resume.Late(lambda: _load(drafts, clock))
        for draft in drafts:
            draft.add_tokenizer()
        goldens = kept[0].once("reference", OfReference(), lambda: _reference(drafts, model.get(), clock))
        for draft in drafts:
            draft.add_goldens(goldens)
        prompt = kept[0].once("prompt", OfPrompt(), lambda: _prompt(drafts[0], goldens, clock))
        for draft in drafts:
            draft.add_prompt(prompt)
        for draft in drafts:
            draft.build(partial(_model_of, draft, drafts, model), clock)
        model.drop()
        for draft in drafts:
            with clock.stage("pack", f"Packing for {draft.runtime.name}"):
                draft.pack(progress)
            with draft.opened() as bundle:
                proof = draft.prove(bundle, goldens, clock)
                holding.hold_gate(drafts, proof, request, clock)
                draft.measure(bundle, clock)
                draft.prove_on(request.prove_on, bundle, proof, request.device_options, clock)
                holding.hold_devices(drafts, clock)
        with clock.stage("seal", "Sealing"):
            for draft in drafts:
                draft.seal(progress)
        holding.hold_budgets(drafts, request, clock, progress)
        with clock.stage("publish", "Publishing"):
            places = [draft.publish(progress) for draft in drafts]
    return tuple(draft.published(place, clock) for place, draft in zip(places, drafts, strict=True))


def _load(drafts: Sequence[Draft], clock: Clock) -> Any:
    with clock.stage("load", "Loading the float model"):
        return reference_stage.load_model(drafts[0].plan, drafts[0].staging.work, clock.progress)


def _reference(drafts: Sequence[Draft], model: Any, clock: Clock) -> Goldens:
    plans, first = [draft.plan for draft in drafts], drafts[0]
    with clock.stage("reference", "Running the float model on the golden prompts"):
        return reference_stage.make_goldens(plans, model, first.codec, first.staging.work, clock.progress)


def _model_of(draft: Draft, drafts: Sequence[Draft], model: resume.Late[Any]) -> Any:
    return reference_stage.model_for(draft, drafts, model.get())


def _prompt(draft: Draft, goldens: Goldens, clock: Clock) -> CompiledPrompt:
    with clock.stage("prompt", "Compiling the chat template"):
        return compile_prompt(draft.codec, draft.plan.checkpoint.stop_ids, goldens.prompts)
