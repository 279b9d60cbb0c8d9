"""What ``gemcut export --dry-run`` shows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...util.text import path_text, size_text
from ..common import say
from .plan_tables import export_rows
from .table import table

if TYPE_CHECKING:
    from ...pipeline.planned_export import DryRun, PlannedBundle


def show_dry_run(found: DryRun) -> None:
    """Show what an export would make."""
    say(f"{found.model} for {found.target}: every check that comes before the work has passed\n")
    table(
        (
            (
                path_text(Path(one.bundle)) if one.bundle else "under bundles/",
                one.runtime,
                one.recipe,
                f"{one.context} tokens",
                f"about {size_text(one.size)}",
                "replaced" if one.replaces else "new",
            )
            for one in found.bundles
        ),
        ("bundle", "runtime", "recipe", "context", "size", ""),
    )
    for line in proof_lines(found):
        say(line)
    if found.export:
        say(f"\nmaking it, on this machine ({found.bundles[0].runtime}, {found.bundles[0].recipe})")
        table(export_rows(found.export))
    for note in found.notes:
        say(f"note: {note}")
    say("Nothing was made: this was a dry run.")


def planned_text(one: PlannedBundle) -> str:
    """Return a bundle that would be made, in a line."""
    place = path_text(Path(one.bundle)) if one.bundle else "a place under bundles/"
    return f"{one.runtime}, {one.recipe}, {one.context} tokens, about {size_text(one.size)}, to {place}"


def proof_lines(found: DryRun) -> list[str]:
    """Return how the bundles would be proven, in lines."""
    lines = []
    if found.prompts is not None:
        lines.append(
            f"proven with {found.prompts} prompts, {' and '.join(('here', *(f'on {d}' for d in found.devices)))}"
        )
    if found.finer:
        lines.append(f"if the model fails the gate of {found.bundles[0].recipe}: on to {', then '.join(found.finer)}")
    return lines
