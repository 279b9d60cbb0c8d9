"""Decides everything that an export will do before anything slow begins."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..bundle.staging import check_output
from ..checkpoint.opening import check_context, open_checkpoint
from ..config.target import LitertChoices, Target, load_target
from ..errors import UnsupportedError, UsageError, nearest
from ..estimate.fit import refuse, room_for
from ..estimate.host import this_machine
from ..modeling.kv_cache import CacheSpec
from ..quantize.recipe import Recipe, load_recipe
from ..runtimes import get_runtime
from ..runtimes.base import Order, Shape
from ..sample import adapter_path, sample_path
from .request import ExportRequest

if TYPE_CHECKING:
    from ..checkpoint.records import Checkpoint
    from ..runtimes.base import Runtime

SAMPLE = "sample"
SMALLEST_PREFILL = 1


@dataclass(frozen=True)
class ExportPlan:
    """What will be made for one runtime. plain_program: its bare program goes into the bundle too."""

    checkpoint: Checkpoint
    target: Target
    recipe: Recipe
    runtime: Runtime
    shape: Shape
    cache: CacheSpec
    output: Path
    plain_program: bool = False

    @property
    def order(self) -> Order:
        """What the runtime is asked to make."""
        checkpoint = self.checkpoint
        return Order(
            config=checkpoint.text_config,
            recipe=self.recipe,
            shape=self.shape,
            cache=self.cache,
            stop_ids=checkpoint.stop_ids,
            bos_id=checkpoint.bos_id,
        )


def make_plans(request: ExportRequest) -> tuple[ExportPlan, ...]:
    """Opens the checkpoint and settles target, recipe, lengths and place for each runtime.

    Raises:
        GemcutError: whatever is wrong with the request or the checkpoint, or lacking on this machine, before any work.
    """
    target = load_target(request.target)
    names = [_offered(name, target) for name in request.runtimes]
    if request.plain_tflite and "litert" not in names:
        raise UsageError("--plain-tflite: no LiteRT bundle is asked for", hint="Add litert to --runtime.")
    runtimes = [get_runtime(name) for name in names]
    recipes = [load_recipe(request.recipe or _own(runtime, target).recipe or target.recipe) for runtime in runtimes]
    checkpoint = _open(request)
    plans = tuple(
        _plan(request, checkpoint, target, runtime, recipe) for runtime, recipe in zip(runtimes, recipes, strict=True)
    )
    for plan in plans:
        refuse_lacking(plan, request.format)
    return plans


def _plan(
    request: ExportRequest, checkpoint: Checkpoint, target: Target, runtime: Runtime, recipe: Recipe
) -> ExportPlan:
    shape = _shape(request, checkpoint, target, runtime)
    oldest = target.oldest_runtime.get(runtime.name)
    runtime.check(checkpoint.text_config, recipe, oldest)  # what can't be kept is said now, not in minutes
    return ExportPlan(
        checkpoint=checkpoint,
        target=target,
        recipe=recipe,
        runtime=runtime,
        shape=shape,
        cache=runtime.cache(checkpoint.text_config, shape),
        output=_output(request, f"{checkpoint.name}-{target.name}-{runtime.name}"),
        plain_program=request.plain_tflite and runtime.name == "litert",
    )


def _own(runtime: Runtime, target: Target) -> LitertChoices:
    """What the target chooses for this runtime alone."""
    if runtime.name == "litert" and target.litert is not None:
        return target.litert
    return LitertChoices(prefill_lengths=(target.prefill_chunk,))


def _shape(request: ExportRequest, checkpoint: Checkpoint, target: Target, runtime: Runtime) -> Shape:
    own = _own(runtime, target)
    longest = checkpoint.text_config.max_position_embeddings
    context = request.context or min(own.context or target.context, longest)
    check_context(checkpoint, context)
    asked = tuple(sorted(request.prefill_lengths))
    if request.dynamic_shape is not None and "litert" not in request.runtimes:
        raise UsageError(
            "--dynamic-shape is LiteRT's: an ExecuTorch program takes any number of tokens anyway",
            hint="Leave it out, or add litert to --runtime.",
        )
    if request.dynamic_shape and asked:
        raise UsageError("--prefill-lengths and --dynamic-shape exclude each other", hint="Take one of them.")
    for length in asked:
        if not SMALLEST_PREFILL <= length <= context:
            raise UsageError(
                f"--prefill-lengths {length}: a prefill takes {SMALLEST_PREFILL} to {context} tokens, the context",
                hint="Take shorter ones, or a larger --context.",
            )
    lengths = asked or tuple(sorted({min(length, context) for length in own.prefill_lengths}))
    dynamic = own.dynamic_shape if request.dynamic_shape is None else request.dynamic_shape
    dynamic = dynamic and runtime.name == "litert"
    return Shape(context, lengths, dynamic)


def _output(request: ExportRequest, name: str) -> Path:
    """Where a bundle goes; with several runtimes ``-o`` names the folder that holds a bundle each."""
    file = f"{name}.gemcut" if request.format == "zip" else name
    if request.output is None:
        place = Path("bundles") / file
    else:
        place = request.output if len(request.runtimes) == 1 else request.output / file
    return check_output(place, request.format, request.force)


def _offered(name: str, target: Target) -> str:
    if name not in target.runtimes:
        raise UnsupportedError(
            f"The target {target.name} has no runtime '{name}'.", hint=nearest(name, target.runtimes)
        )
    return name


def _open(request: ExportRequest) -> Checkpoint:
    """The checkpoint; with an adapter, under both of their names."""
    model = str(sample_path()) if request.model is None else request.model
    adapter = None if request.adapter is None else adapter_path(request.adapter)
    checkpoint = open_checkpoint(model, chat_template=request.chat_template, adapter=adapter)
    if request.model is None:
        checkpoint = dataclasses.replace(checkpoint, name=SAMPLE, source=SAMPLE)
    if checkpoint.adapter is not None:
        checkpoint = dataclasses.replace(checkpoint, name=f"{checkpoint.name}-{checkpoint.adapter.name}")
    return checkpoint


def refuse_lacking(plan: ExportPlan, form: str) -> None:
    """Refuses an export that this machine can't do, before anything slow; nothing where that isn't sure.

    Raises:
        LackingError: memory or disk; says how much is needed, what there is, and what to do.
    """
    from ..estimate.disk import files_of
    from ..estimate.shapes import shapes_of

    if plan.runtime.name != "executorch":
        return  # estimates are of ExecuTorch's lowering
    checkpoint = plan.checkpoint
    shapes = shapes_of(checkpoint.text_config, plan.recipe, plan.shape.context, plan.shape.prefill[-1])
    files = files_of(shapes, checkpoint.path)
    here = this_machine(plan.output.parent)
    machine = replace(here, disk=here.disk + _held(plan.output))
    refuse(room_for(shapes, files, machine, form), plan.output)


def _held(output: Path) -> int:
    """Bytes that a killed run of this export left there: it is resumed, or they are freed."""
    partials = output.parent.glob(f".{output.name}.partial*")
    found = [file.lstat() for partial in partials for file in partial.rglob("*") if file.is_file()]
    return sum({one.st_ino: one.st_size for one in found}.values())  # some are there under two names
