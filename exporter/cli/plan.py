"""``gemcut plan``."""

from __future__ import annotations

from dataclasses import replace

import click

from .common import Command, console_progress, emit, json_option, say


@click.command(cls=Command)
@click.argument("model", required=False)
@click.option("--target", required=True, metavar="NAME|FILE.toml", help="What kind of device; see gemcut targets.")
@click.option("--recipe", metavar="NAME|FILE.toml", help="Default: the target's.")
@click.option("--context", type=click.IntRange(min=1), help="Slots of the KV cache. Default: the target's.")
@json_option
def command(model: str | None, target: str, recipe: str | None, context: int | None, as_json: bool) -> None:
    """Estimate size, memory and speed of MODEL on a target, from its config.json alone.

    MODEL is a directory or a hub id, org/name[@revision]; without it, the sample.
    """
    from ..plan import estimate
    from ..quantize.recipe import load_recipe
    from ..sample import sample_path
    from ..target import load_target

    device = load_target(target)
    scheme = load_recipe(recipe or device.recipe)
    with console_progress() as progress:
        plan = estimate(model or str(sample_path()), device, scheme, context, progress)
    if model is None:
        plan = replace(plan, model="sample")
    if as_json:
        emit(plan)
        return
    _show(plan)


def _show(plan) -> None:  # type: ignore[no-untyped-def]
    from ..report.console import count_text, size_text, table

    say(f"{plan.model} on {plan.target}, recipe {plan.recipe}, context {plan.context}: an estimate\n")
    table(
        ((c.name, count_text(c.parameters), size_text(c.bytes), size_text(c.read)) for c in plan.tensors),
        ("tensors", "parameters", "in the bundle", "read per token"),
    )
    table(
        (
            ("parameters", f"{count_text(plan.parameters)} (a tied head counted once)"),
            ("program", f"about {size_text(plan.program)}; tokenizer and goldens come on top"),
            (
                "memory",
                f"{size_text(plan.memory)}, of it {size_text(plan.cache)} KV cache; activations on top",
            ),
            ("decode", f"roughly {plan.decode:.0f} tokens/s: {size_text(plan.read)} read per token"),
            ("prefill", f"roughly {plan.prefill:.0f} tokens/s"),
        )
    )
