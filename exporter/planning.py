"""Decides everything that an export will do before anything slow begins."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .bundle.staging import check_output
from .checkpoint import check_context, open_checkpoint
from .errors import UnsupportedError, UsageError, nearest
from .graph.cache import CacheSpec, cache_spec
from .graph.supported import refuse_unsupported
from .quantize.recipe import load_recipe
from .quantize.schemes import decide, without_weights
from .request import ExportRequest
from .runtimes import get_runtime
from .sample import sample_path
from .stages import Recipe, Target
from .target import load_target

if TYPE_CHECKING:
    from .checkpoint import Checkpoint
    from .runtimes.base import Runtime

SAMPLE = "sample"


@dataclass(frozen=True)
class ExportPlan:
    """What will be made. Lengths in tokens."""

    checkpoint: Checkpoint
    target: Target
    recipe: Recipe
    runtime: Runtime
    cache: CacheSpec
    output: Path


def make_plan(request: ExportRequest) -> ExportPlan:
    """Opens the checkpoint and settles target, recipe, runtime, context and place.

    Raises:
        GemcutError: whatever is wrong with the request or the checkpoint, before any work.
    """
    target = load_target(request.target)
    recipe = load_recipe(request.recipe or target.recipe)
    runtime = get_runtime(_one_runtime(request, target))
    checkpoint = _open(request)
    context = request.context or min(target.context, checkpoint.text_config.max_position_embeddings)
    check_context(checkpoint, context)
    refuse_unsupported(checkpoint.text_config)
    decide(without_weights(checkpoint.text_config), recipe)  # a rule that can't be kept is said now, not in minutes
    cache = cache_spec(checkpoint.text_config, context, min(target.prefill_chunk, context))
    name = f"{checkpoint.name}-{target.name}-{runtime.name}"
    default = Path("bundles") / (f"{name}.gemcut" if request.format == "zip" else name)
    output = check_output(request.output or default, request.format, request.force)
    return ExportPlan(checkpoint, target, recipe, runtime, cache, output)


def _one_runtime(request: ExportRequest, target: Target) -> str:
    if len(request.runtimes) != 1:
        raise UsageError(f"One runtime at a time so far, not {', '.join(request.runtimes) or 'none'}.")
    name = request.runtimes[0]
    if name not in target.runtimes:
        raise UnsupportedError(
            f"The target {target.name} has no runtime '{name}'.", hint=nearest(name, target.runtimes)
        )
    return name


def _open(request: ExportRequest) -> Checkpoint:
    if request.model is not None:
        return open_checkpoint(request.model, chat_template=request.chat_template)
    checkpoint = open_checkpoint(str(sample_path()), chat_template=request.chat_template)
    return dataclasses.replace(checkpoint, name=SAMPLE, source=SAMPLE)
