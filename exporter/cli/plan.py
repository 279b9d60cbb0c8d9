"""``gemcut plan``."""

from __future__ import annotations

from dataclasses import replace

import click

from .common import Command, console_progress, emit, json_option
from .shared_options import DEFAULT_TARGET, adapter_option, model_argument, recipe_option, target_option


@click.command(cls=Command)
@model_argument
@target_option(DEFAULT_TARGET)
@recipe_option
@adapter_option
@click.option("--context", type=click.IntRange(min=1), help="Tokens of prompt and reply. Default: the target's.")
@json_option
def command(
    model: str | None, target: str, recipe: str | None, adapter: str | None, context: int | None, as_json: bool
) -> None:
    """Estimate bundles of MODEL on a target, and what it takes to make them, from its config.json alone.

    MODEL is a directory or a hub id, org/name[@revision]; without it, the sample. No weights are read.

    It says for each runtime of the target how large the bundle is, what it takes of a device, and on which it runs by
    their RAM; then sets the recipes side by side. Sizes follow from the shapes and are right to a few percent; memory
    and disk are right within 20%. Speeds are rough figures of the target. What it takes to make the bundle is this
    machine's; the seconds come from a measurement of less than a second of how fast it is now, and are just as rough:
    close other programs first. Before it begins, gemcut export refuses (exit code 8) whatever surely won't fit.
    """
    from ..estimate.overview import estimate
    from ..sample import adapter_path, sample_path
    from ..target import load_target

    device = load_target(target)
    folder = None if adapter is None else adapter_path(adapter)
    with console_progress() as progress:
        plan = estimate(model or str(sample_path()), device, recipe, context, progress, folder)
    if model is None:
        plan = replace(plan, model="sample")
    if as_json:
        emit(plan)
        return
    from .views.plan_tables import show

    show(plan, device)
