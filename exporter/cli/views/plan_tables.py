"""What ``gemcut plan`` shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ...quantize.recipe import list_recipes, load_recipe
from ...util.text import count_text, size_text
from ..common import say
from ..graded_documents import recipe_grades
from .table import table

if TYPE_CHECKING:
    from ...estimate.overview import ExportCost, Plan
    from ...estimate.running import Running
    from ...target import Target


def show(plan: Plan, target: Target) -> None:
    """Show a plan: the bundles on their devices, the recipes side by side, then what making one takes here."""
    merged = f" with {plan.adapter} merged in" if plan.adapter else ""
    say(f"{plan.model}{merged} on {plan.target}: an estimate\n")
    say(f"on a device: {target.description}")
    table(_bundle_rows(plan.bundles), ("", *(one.runtime for one in plan.bundles)))
    if plan.bundles[0].devices:
        _show_devices(plan.bundles)
    say(f"the recipes, for {plan.bundles[0].runtime} (marked: the chosen one)")
    table(_recipe_rows(plan), ("recipe", "at its limits", "download", "own memory", "mapped", "decode", "runs from"))
    if plan.finer:
        then = ", then ".join(f"{one.recipe} ({size_text(one.bundle)})" for one in plan.finer)
        say(f"If the model fails the gate of {plan.recipe}, as gemcut export measures it, it goes on to {then}.\n")
    say(f"what the {size_text(plan.bundles[0].bundle)} for {plan.bundles[0].runtime} are made of")
    table(
        ((c.name, count_text(c.parameters), size_text(c.bytes), size_text(c.read)) for c in plan.tensors),
        ("tensors", "parameters", "in the bundle", "read per token"),
    )
    say(f"making it, on this machine ({plan.bundles[0].runtime}, {plan.recipe})")
    table(export_rows(plan.export))
    for note in plan.notes:
        say(f"note: {note}")


def _bundle_rows(bundles: Sequence[Running]) -> Iterator[tuple[str, ...]]:
    yield ("recipe", *(one.recipe for one in bundles))
    yield ("context", *(f"{one.context} tokens" for one in bundles))
    yield ("download, compressed", *(size_text(one.download_size) for one in bundles))
    yield ("on the device, after a first start", *(size_text(one.device_size) for one in bundles))
    yield ("memory of its own", *(f"{size_text(one.own)}, KV cache {size_text(one.cache)}" for one in bundles))
    yield ("mapped from files", *(size_text(one.mapped) for one in bundles))
    yield ("decode", *(f"roughly {one.decode:.0f} tokens/s" for one in bundles))
    yield ("prefill", *(f"roughly {one.prefill:.0f} tokens/s" for one in bundles))


def _show_devices(bundles: Sequence[Running]) -> None:
    say("does it run, by the device's RAM")
    classes = bundles[0].devices
    table(
        (
            ("one app may hold", *(size_text(each.app) for each in classes)),
            *((one.runtime, *(each.verdict for each in one.devices)) for one in bundles),
        ),
        ("", *(f"{each.ram / 1e9:g} GB" for each in classes)),
    )
    say(
        "yes: its own memory and the mapped files stay within what one app may hold. tight: its own does, so the system"
    )
    say("drops mapped pages and reads them again, which can be slow. no: not even its own does.\n")


def _recipe_rows(plan: Plan) -> Iterator[tuple[str, ...]]:
    grades = recipe_grades(load_recipe(name) for name in list_recipes())
    for one in plan.recipes:
        least = next((each.ram for each in one.devices if each.verdict == "yes"), None)
        yield (
            f"{one.recipe} *" if one.recipe == plan.recipe else one.recipe,
            grades[one.recipe].words if one.recipe in grades else "",
            size_text(one.download_size),
            size_text(one.own),
            size_text(one.mapped),
            f"{one.decode:.0f} tokens/s",
            f"{least / 1e9:g} GB" if least else "more than these" if one.devices else "",
        )


def export_rows(cost: ExportCost) -> tuple[tuple[str, str], ...]:
    """Return the rows on what an export takes of this machine."""
    stage = max(cost.memory_by_stage, key=lambda name: cost.memory_by_stage[name])
    longest = sorted(cost.seconds_by_stage.items(), key=lambda item: -item[1])[:3]
    verdict = {True: "yes", False: "NO: gemcut export refuses it", None: "too close to say"}[cost.fits]
    return (
        ("memory", f"{size_text(cost.memory)} (stage {stage}); {size_text(cost.memory_left)} is available"),
        ("disk", f"{size_text(cost.disk)}; {size_text(cost.disk_left)} is free in this folder"),
        ("time", f"roughly {_time(cost.seconds)}: {', '.join(f'{name} {_time(each)}' for name, each in longest)}"),
        ("can be made here", verdict),
    )


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
