"""``gemcut plan``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from .common import Command, console_progress, emit, json_option, say

if TYPE_CHECKING:
    from ..estimate.overview import ExportCost, Plan


@click.command(cls=Command)
@click.argument("model", required=False)
@click.option("--target", required=True, metavar="NAME|FILE.toml", help="The kind of device; see gemcut targets.")
@click.option("--recipe", metavar="NAME|FILE.toml", help="How to quantize. Default: the target's.")
@click.option("--adapter", metavar="DIR|sample", help="A PEFT adapter to merge into MODEL.")
@click.option("--context", type=click.IntRange(min=1), help="Slots of the KV cache. Default: the target's.")
@json_option
def command(
    model: str | None, target: str, recipe: str | None, adapter: str | None, context: int | None, as_json: bool
) -> None:
    """Estimate a bundle of MODEL on a target, and what it takes to make it, from its config.json alone.

    MODEL is a directory or a hub id, org/name[@revision]; without it, the sample. No weights are read.

    All figures are for ExecuTorch bundles. Sizes follow from the shapes and are right to a few percent; memory and
    disk are right within 20%. Speeds are rough figures of the target. Seconds are this machine's, from a measurement
    of less than a second of how fast it is now, and just as rough: close other programs first. Before it begins,
    gemcut export refuses (exit code 8) whatever surely won't fit.
    """
    from ..estimate.overview import estimate
    from ..quantize.recipe import load_recipe
    from ..sample import adapter_path, sample_path
    from ..target import load_target

    device = load_target(target)
    scheme = load_recipe(recipe or device.recipe)
    folder = None if adapter is None else adapter_path(adapter)
    with console_progress() as progress:
        plan = estimate(model or str(sample_path()), device, scheme, context, progress, folder, recipe is not None)
    if model is None:
        plan = replace(plan, model="sample")
    if as_json:
        emit(plan)
        return
    _show(plan)


def _show(plan: Plan) -> None:
    from ..util.text import count_text, size_text
    from .views.table import table

    merged = f" with {plan.adapter} merged in" if plan.adapter else ""
    say(f"{plan.model}{merged} on {plan.target}, recipe {plan.recipe}, context {plan.context}: an estimate\n")
    table(
        ((c.name, count_text(c.parameters), size_text(c.bytes), size_text(c.read)) for c in plan.tensors),
        ("tensors", "parameters", "in the bundle", "read per token"),
    )
    say("the bundle, for ExecuTorch")
    table(
        (
            ("parameters", f"{count_text(plan.parameters)} (a tied head counted once)"),
            ("size", f"{size_text(plan.bundle)}, of which the program is {size_text(plan.program)}"),
            (
                "memory, running",
                f"{size_text(plan.memory)} with a full context, of which the KV cache is {size_text(plan.cache)}",
            ),
            ("decode", f"roughly {plan.decode:.0f} tokens/s: {size_text(plan.read)} read per token"),
            ("prefill", f"roughly {plan.prefill:.0f} tokens/s"),
        )
    )
    say("making it, here")
    table(_export_rows(plan.export))
    if plan.finer:
        then = ", then ".join(f"{one.recipe} ({size_text(one.bundle)})" for one in plan.finer)
        say(f"If the model fails the gate of {plan.recipe}, as gemcut export measures it, it goes on to {then}.")
    for note in plan.notes:
        say(f"note: {note}")


def _export_rows(cost: ExportCost) -> tuple[tuple[str, str], ...]:
    from ..util.text import size_text

    stage = max(cost.memory_by_stage, key=lambda name: cost.memory_by_stage[name])
    longest = sorted(cost.seconds_by_stage.items(), key=lambda item: -item[1])[:3]
    verdict = {True: "yes", False: "NO: gemcut export refuses it", None: "too close to say"}[cost.fits]
    return (
        ("memory", f"{size_text(cost.memory)} (stage {stage}); {size_text(cost.memory_left)} is available"),
        ("disk", f"{size_text(cost.disk)}; {size_text(cost.disk_left)} is free in this folder"),
        ("time", f"roughly {_time(cost.seconds)}: {', '.join(f'{name} {_time(each)}' for name, each in longest)}"),
        ("fits", verdict),
    )


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
