"""What an export would make: everything that can be checked before anything slow is, and then nothing is made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..bundle.output_path import check_output
from ..checkpoint.hub import is_fetched
from ..devices.replay import check_devices
from ..errors import UnsupportedError
from ..estimate.overview import ExportCost, estimate, export_cost
from ..estimate.running import running
from ..quantize.recipe import finer_than
from ..runtimes import get_runtime
from ..sample import adapter_path
from ..target import load_target
from ..util.progress import Progress
from ..util.text import size_text
from .bit_search import check_search
from .plan import ExportPlan, checked_choices, checked_plans, held_by_killed_runs, sizes_of
from .request import ExportRequest

if TYPE_CHECKING:
    from ..estimate.running import Running

UNFETCHED = (
    "the model's weights and tokenizer aren't here, and a dry run fetches none: only its configuration was checked"
)


@dataclass(frozen=True)
class PlannedBundle:
    """A bundle that an export would make.

    Attributes:
        bundle: Where it would be; null if that depends on what wasn't fetched.
        runtime: The runtime.
        recipe: The recipe, or the first that would be tried.
        context: Tokens of prompt and reply together.
        prefill_lengths: Tokens that each prefill takes.
        format: 'dir' for a folder, 'zip' for one file.
        size: Bytes of all of its files, estimated.
        replaces: Whether there is a bundle already, which it would replace.
    """

    bundle: str | None
    runtime: str
    recipe: str
    context: int
    prefill_lengths: tuple[int, ...]
    format: Literal["dir", "zip"]
    size: int
    replaces: bool


@dataclass(frozen=True)
class DryRun:
    """``gemcut export --dry-run --json``.

    Attributes:
        model: The model's name.
        target: The target's name.
        bundles: What would be made, a bundle for each runtime.
        prompts: How many prompts they would be proven with; null if that depends on what wasn't fetched.
        devices: Where they would be proven as well.
        export: What making the first of them takes; null if that was never measured for its runtime.
        finer: Recipes that would follow if the first fails its gate, in order.
        notes: What the user should know.
    """

    model: str
    target: str
    bundles: tuple[PlannedBundle, ...]
    prompts: int | None
    devices: tuple[str, ...]
    export: ExportCost | None
    finer: tuple[str, ...]
    notes: tuple[str, ...]


def dry_run(request: ExportRequest, progress: Progress) -> DryRun:
    """Check an export as far as that is possible before anything slow begins, and say what it would make.

    The weights of a model on the hub are not fetched.

    Args:
        request: What to export.
        progress: Receives the stages.

    Raises:
        GemcutError: As ``export``, for whatever it would refuse at its start.
    """
    searches = request.max_size is not None or request.max_kl is not None
    if searches:
        check_search(request)
        request = replace(request, calibration=None)
    notes = tuple(_notes(request, searches))
    if request.model is not None and not is_fetched(request.model):
        return _by_configuration(request, notes, progress)
    progress.stage("Checking all that can be checked before the work")
    plans, prompts = checked_plans(request)
    first = plans[0]
    estimates = [_running(plan) for plan in plans]
    return DryRun(
        model=first.checkpoint.name,
        target=first.target.name,
        bundles=tuple(
            PlannedBundle(
                bundle=str(plan.output),
                runtime=plan.runtime.name,
                recipe=plan.recipe.name,
                context=plan.shape.context,
                prefill_lengths=plan.shape.prefill,
                format=request.format,
                size=found.bundle,
                replaces=plan.output.is_file() or (plan.output.is_dir() and any(plan.output.iterdir())),
            )
            for plan, found in zip(plans, estimates, strict=True)
        ),
        prompts=len(prompts),
        devices=request.prove_on,
        export=export_cost(*sizes_of(first), _existing(first.output)) if first.runtime.has_cost_model else None,
        finer=_finer(request, searches, first),
        notes=(*first.checkpoint.notes, *notes, *_left(plans)),
    )


def _running(plan: ExportPlan) -> Running:
    shapes, _ = sizes_of(plan)
    shapes = replace(shapes, cache=plan.cache)
    return running(plan.target, plan.runtime, plan.recipe.name, plan.shape.context, shapes, plan.checkpoint.path)


def _finer(request: ExportRequest, searches: bool, first: ExportPlan) -> tuple[str, ...]:
    if searches or request.recipe is not None or request.gate != "enforce":
        return ()
    return tuple(one.name for one in finer_than(first.recipe))


def _notes(request: ExportRequest, searches: bool) -> Iterator[str]:
    if searches:
        limits = [
            *([f"at most {size_text(request.max_size)}"] if request.max_size is not None else []),
            *([f"at most {request.max_kl:g} nats"] if request.max_kl is not None else []),
        ]
        yield f"a recipe of {' and '.join(limits)} would be searched for first, so size and recipe are only a start"
    if request.gate == "report":
        yield "a bundle that fails its gate would be published too, marked as unproven"


def _left(plans: Sequence[ExportPlan]) -> Iterator[str]:
    for plan in plans:
        if held := held_by_killed_runs(plan.output):
            yield (
                f"a run that was killed left {size_text(held)} beside {plan.output.name}: the same export goes on "
                "from there, any other removes it"
            )


def _existing(path: Path) -> Path:
    """The nearest folder that is there: where the bundle's would be made."""
    return next(folder for folder in path.parents if folder.is_dir())


def _by_configuration(request: ExportRequest, notes: tuple[str, ...], progress: Progress) -> DryRun:
    """What can be said of a model of the hub that would be fetched first."""
    assert request.model is not None
    target = load_target(request.target)
    names = checked_choices(request, target)
    adapter = None if request.adapter is None else adapter_path(request.adapter)
    found = estimate(
        request.model, replace(target, runtimes=tuple(names)), request.recipe, request.context, progress, adapter
    )
    if len(found.bundles) < len(names):
        raise UnsupportedError(found.notes[0])
    place = None if request.output is None else str(request.output)
    if request.output is not None and len(names) == 1:
        place = str(check_output(request.output, request.format, request.force))
    runtimes = {name: get_runtime(name) for name in names}
    for runtime in runtimes.values():
        own = {option.name for option in runtime.options}
        asked = {name: value for name, value in request.options.items() if name in own}
        runtime.check_options(asked, tuple(sorted(request.prefill_lengths)))
    check_devices(request.prove_on, {name: one.version() for name, one in runtimes.items()}, request.device_options)
    bundles = tuple(
        PlannedBundle(
            bundle=place if len(names) == 1 else None,
            runtime=one.runtime,
            recipe=one.recipe,
            context=one.context,
            prefill_lengths=tuple(sorted(request.prefill_lengths)),
            format=request.format,
            size=one.bundle,
            replaces=False,
        )
        for one in found.bundles
    )
    return DryRun(
        model=found.model,
        target=target.name,
        bundles=bundles,
        prompts=None,
        devices=request.prove_on,
        export=found.export,
        finer=tuple(one.recipe for one in found.finer),
        notes=(*notes, *found.notes, UNFETCHED),
    )
