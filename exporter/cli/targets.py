"""``gemcut targets``."""

from __future__ import annotations

import click

from . import completed_values as complete
from .common import Group, emit, json_option, say


@click.group(cls=Group)
def command() -> None:
    """List targets, or explain one."""


@command.command("list")
@json_option
def list_command(as_json: bool) -> None:
    """List the shipped targets."""
    from ..target import list_targets, load_target
    from .list_documents import TargetList
    from .target_document import to_document
    from .views.table import table

    targets = tuple(load_target(name) for name in list_targets())
    if as_json:
        emit(TargetList(tuple(map(to_document, targets))))
        return
    table(
        ((t.name, t.description, ", ".join(t.runtimes), t.recipe, str(t.context)) for t in targets),
        ("target", "", "runtimes", "recipe", "context"),
    )
    say("gemcut targets show NAME explains each choice; NAME may also be your own TOML file.")


@command.command("show")
@click.argument("name", shell_complete=complete.TARGETS)
@json_option
def show_command(name: str, as_json: bool) -> None:
    """Explain each choice of the target NAME, a shipped target or a TOML file."""
    from ..target import explained, load_target
    from .target_document import to_document
    from .views.table import table

    target = load_target(name)
    if as_json:
        emit(to_document(target))
        return
    say(f"{target.name}: {target.description}\n")
    rows = ((key, _text(value), target.choices.get(key, "")) for key, value in explained(target).items())
    table(rows, ("key", "value", "why"))


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{key} {item}" for key, item in value.items())
    return str(value)
