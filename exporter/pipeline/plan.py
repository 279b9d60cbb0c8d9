"""Decides everything that an export will do, before anything slow begins."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..bundle.names import SUFFIX
from ..bundle.staging import check_output
from ..bundle.workdir import held_by
from ..checkpoint.opening import check_context, open_checkpoint
from ..devices.replay import check_devices
from ..errors import UnsupportedError, UsageError, nearest
from ..estimate.fit import refuse, room_for
from ..estimate.resources import this_machine
from ..modeling.kv_cache import CacheSpec
from ..modeling.matrices import matrix_columns
from ..prove.prompts import choose_prompts
from ..quantize.fallback import settled
from ..quantize.recipe import Recipe, load_recipe
from ..runtimes import RUNTIMES, get_runtime
from ..runtimes.base import RuntimePlugin
from ..runtimes.options import chosen
from ..runtimes.program import BuildSpec, Shape
from ..sample import adapter_path, sample_path
from ..target import Target, load_target
from .calibration import chosen_recipe, chosen_text
from .prompt_plan import PromptPlan, checkpoint_codec, plan_prompts
from .request import ExportRequest

if TYPE_CHECKING:
    from ..calibrate.text_segments import CalibrationText
    from ..checkpoint.opened import Checkpoint
    from ..estimate.disk import Files
    from ..estimate.shapes import Shapes
    from ..prompt.chats import Prompt

SAMPLE = "sample"
SMALLEST_PREFILL = 1


@dataclass(frozen=True)
class ExportPlan:
    """What to make for one runtime.

    Attributes:
        checkpoint: The opened checkpoint.
        target: The kind of device.
        recipe: How each tensor is stored.
        runtime: The runtime.
        shape: The program's lengths.
        cache: The layout of its KV cache.
        output: Where the bundle is published.
        options: All of the runtime's own options, by name.
        text: What to calibrate on; None if the recipe needs no calibration.
        prompts: What it is proven with.
    """

    checkpoint: Checkpoint
    target: Target
    recipe: Recipe
    runtime: RuntimePlugin
    shape: Shape
    cache: CacheSpec
    output: Path
    options: Mapping[str, Any] = field(default_factory=dict)
    text: CalibrationText | None = None
    prompts: PromptPlan = field(default_factory=PromptPlan)

    @property
    def delegates(self) -> tuple[str, ...]:
        """What runs the matrix products, the first choice first."""
        return (self.target.delegate,)

    @property
    def spec(self) -> BuildSpec:
        """What the runtime has to make."""
        checkpoint = self.checkpoint
        return BuildSpec(
            config=checkpoint.text_config,
            recipe=self.recipe,
            shape=self.shape,
            cache=self.cache,
            stop_ids=checkpoint.stop_ids,
            bos_id=checkpoint.bos_id,
            delegates=self.delegates,
            options=self.options,
        )


def make_plans(request: ExportRequest) -> tuple[ExportPlan, ...]:
    """Open the checkpoint, and decide target, recipe, lengths and output path for each runtime.

    Raises:
        GemcutError: Something is wrong with the request or the checkpoint, or this machine lacks something; nothing
            slow has begun.
    """
    target = load_target(request.target)
    names = checked_choices(request, target)
    runtimes = [get_runtime(name) for name in names]
    recipes = [chosen_recipe(recipe_for(request, target, name), request.calibration) for name in names]
    checkpoint = _open(request)
    prompts = plan_prompts(request, checkpoint)
    columns = matrix_columns(checkpoint.text_config, names[0])
    recipes = [settled(recipe, columns) for recipe in recipes]
    plans = tuple(
        _plan(request, checkpoint, target, runtime, recipe, prompts)
        for runtime, recipe in zip(runtimes, recipes, strict=True)
    )
    for plan in plans:
        check_fits(plan, request.format)
    return plans


def checked_choices(request: ExportRequest, target: Target) -> list[str]:
    """Return the runtimes that are asked for.

    Raises:
        UnsupportedError: The target doesn't name one.
        UsageError: An option is of a runtime that isn't asked for, or of none.
    """
    names = [_offered(name, target) for name in request.runtimes]
    _check_options(request, names)
    return names


def checked_plans(request: ExportRequest) -> tuple[tuple[ExportPlan, ...], list[Prompt]]:
    """Return the plans, and the prompts that the bundles are proven with, after all that can be checked beforehand.

    Raises:
        GemcutError: As ``make_plans``, ``check_room`` and ``check_devices``.
    """
    plans = make_plans(request)
    prompts = check_room(plans)
    check_devices(request.prove_on, {p.runtime.name: p.runtime.version() for p in plans}, request.device_options)
    return plans, prompts


def check_room(plans: Sequence[ExportPlan]) -> list[Prompt]:
    """Refuse a context that is too short for the prompts, or a choice of prompts that is too small.

    Args:
        plans: Those of one export.

    Returns:
        The prompts.

    Raises:
        UsageError: It is.
        TemplateRefused: The template can't render one of the model's own.
    """
    asked, context = plans[0].prompts, min(plan.shape.context for plan in plans)
    return choose_prompts(
        checkpoint_codec(plans[0].checkpoint), plans[0].cache.window, context, asked.own, built_in=asked.built_in
    )


def recipe_for(request: ExportRequest, target: Target, runtime: str) -> Recipe:
    """Return the recipe for a runtime, as many times finer than the target's as the request has it."""
    recipe = load_recipe(recipe_of(request.recipe, target, runtime))
    for _ in range(request.finer):
        recipe = load_recipe(recipe.finer) if recipe.finer else recipe
    return recipe


def has_finer(request: ExportRequest) -> bool:
    """Return whether a runtime's recipe names a finer one."""
    target = load_target(request.target)
    return any(recipe_for(request, target, name).finer for name in request.runtimes)


def recipe_of(asked: str | None, target: Target, runtime: str) -> str:
    """Return the recipe for a runtime: the requested one, else the target's for that runtime, else the target's."""
    return asked or target.choices_for(runtime).recipe or target.recipe


def _plan(
    request: ExportRequest,
    checkpoint: Checkpoint,
    target: Target,
    runtime: RuntimePlugin,
    recipe: Recipe,
    prompts: PromptPlan,
) -> ExportPlan:
    own = {option.name for option in runtime.options}
    asked = {name: value for name, value in request.options.items() if name in own}
    options = chosen(runtime.options, target.choices_for(runtime.name).options, asked)
    shape = _shape(request, checkpoint, target, runtime, asked)
    oldest = target.oldest_runtime.get(runtime.name)
    # What can't be done is refused now rather than in minutes.
    runtime.exporter.check(checkpoint.text_config, recipe, (target.delegate,), oldest)
    return ExportPlan(
        checkpoint=checkpoint,
        target=target,
        recipe=recipe,
        runtime=runtime,
        shape=shape,
        cache=runtime.exporter.cache(checkpoint.text_config, shape, options),
        output=_output(request, f"{checkpoint.name}-{target.name}-{runtime.name}"),
        options=options,
        text=chosen_text(recipe, request.calibration),
        prompts=prompts,
    )


def _check_options(request: ExportRequest, names: Sequence[str]) -> None:
    """Refuse an option of a runtime that isn't requested, and one that no runtime has."""
    owners = {option.name: runtime for runtime in RUNTIMES for option in runtime.options}
    for name in request.options:
        owner = owners.get(name)
        if owner is None:
            raise UsageError(f"no runtime has the option '{name}': {nearest(name, owners)}")
        if owner.name not in names:
            flag = next(option.flag for option in owner.options if option.name == name)
            raise UsageError(
                f"{flag} is an option of {owner.name}, which --runtime doesn't name",
                hint=f"Remove {flag}, or add {owner.name} to --runtime.",
            )


def _shape(
    request: ExportRequest, checkpoint: Checkpoint, target: Target, runtime: RuntimePlugin, asked: Mapping[str, bool]
) -> Shape:
    own = target.choices_for(runtime.name)
    longest = checkpoint.text_config.max_position_embeddings
    context = request.context or min(own.context or target.context, longest)
    check_context(checkpoint, context)
    lengths = tuple(sorted(request.prefill_lengths))
    runtime.check_options(asked, lengths)
    for length in lengths:
        if not SMALLEST_PREFILL <= length <= context:
            raise UsageError(
                f"--prefill-lengths {length}: a prefill takes from {SMALLEST_PREFILL} to {context} tokens, the context",
                hint="Choose shorter lengths, or a larger --context.",
            )
    return Shape(context, lengths or tuple(sorted({min(length, context) for length in own.prefill_lengths})))


def _output(request: ExportRequest, name: str) -> Path:
    """Where a bundle is published; with several runtimes ``-o`` names the folder that holds a bundle for each."""
    file = f"{name}{SUFFIX}" if request.format == "zip" else name
    if request.output is None:
        place = Path("bundles") / file
    else:
        place = request.output if len(request.runtimes) == 1 else request.output / file
    return check_output(place, request.format, request.force)


def _offered(name: str, target: Target) -> str:
    if name not in target.runtimes:
        raise UnsupportedError(
            f"the target {target.name} doesn't name the runtime '{name}': {nearest(name, target.runtimes)}",
            hint="To add a runtime, name it under runtimes in a target file of your own.",
        )
    return name


def _open(request: ExportRequest) -> Checkpoint:
    """The checkpoint; with an adapter, its name is made of both names."""
    model = str(sample_path()) if request.model is None else request.model
    adapter = None if request.adapter is None else adapter_path(request.adapter)
    checkpoint = open_checkpoint(model, chat_template=request.chat_template, adapter=adapter)
    if request.model is None:
        checkpoint = dataclasses.replace(checkpoint, name=SAMPLE, source=SAMPLE)
    if checkpoint.adapter is not None:
        checkpoint = dataclasses.replace(checkpoint, name=f"{checkpoint.name}-{checkpoint.adapter.name}")
    return checkpoint


def check_fits(plan: ExportPlan, form: str) -> None:
    """Refuse an export that this machine surely can't do, before anything slow begins.

    Args:
        plan: What would be made.
        form: 'dir' or 'zip'.

    Raises:
        LackingError: Memory or disk doesn't suffice; the message says how much is needed and how much there is.
    """
    if not plan.runtime.has_cost_model:
        return
    shapes, files = sizes_of(plan)
    here = this_machine(plan.output.parent)
    machine = replace(here, disk=here.disk + held_by_killed_runs(plan.output))
    refuse(room_for(shapes, files, machine, form), plan.output)


def sizes_of(plan: ExportPlan) -> tuple[Shapes, Files]:
    """Return the shapes that an export's cost is estimated by, and its files."""
    from ..estimate.disk import files_of
    from ..estimate.shapes import shapes_of

    checkpoint, check = plan.checkpoint, plan.runtime.delegate(plan.target.delegate).check_scheme
    shapes = shapes_of(checkpoint.text_config, plan.recipe, plan.shape.context, plan.shape.prefill[-1], check)
    return shapes, files_of(shapes, checkpoint.path)


def held_by_killed_runs(output: Path) -> int:
    """Return the bytes that killed runs left beside a bundle's place; one is resumed, or its bytes are freed."""
    return held_by(output.parent.glob(f".{output.name}.partial-*"))
