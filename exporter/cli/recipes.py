"""``gemcut recipes``."""

from __future__ import annotations

import click

from . import completed_values as complete
from .common import Group, emit, json_option, say
from .recipe_search import search_command, sensitivity_command


@click.group(cls=Group)
def command() -> None:
    """List quantization recipes, explain one, or search for one."""


command.add_command(sensitivity_command)
command.add_command(search_command)


@command.command("list")
@json_option
def list_command(as_json: bool) -> None:
    """List the shipped recipes."""
    from ..quantize.recipe import list_recipes, load_recipe
    from .graded_documents import RecipeList, recipe_grades
    from .views.table import table

    recipes = tuple(load_recipe(name) for name in list_recipes())
    grades = recipe_grades(recipes)
    if as_json:
        emit(RecipeList(recipes, grades))
        return
    rows = ((r.name, grades[r.name].words if r.name in grades else "", r.description) for r in recipes)
    table(rows, ("recipe", "at its limits", ""))
    say("gemcut recipes show NAME explains each rule; NAME may also be your own TOML file.")


@command.command("show")
@click.argument("name", shell_complete=complete.RECIPES)
@json_option
def show_command(name: str, as_json: bool) -> None:
    """Explain the rules and limits of the recipe NAME, a shipped recipe or a TOML file."""
    from ..quantize.recipe import load_recipe
    from ..words.grades import AT_LEAST, words_of
    from .views.table import table

    recipe = load_recipe(name)
    if as_json:
        emit(recipe)
        return
    say(f"{recipe.name}: {recipe.description}\n\nThe first rule that matches a module's full name decides:")
    table(
        ((r.match, r.scheme.weight, str(r.scheme.group or "row"), r.scheme.activation, r.reason) for r in recipe.rules),
        ("module", "weight", "group", "activation", "why"),
    )
    say("A bundle must keep these limits against the float model:")
    rows = (
        (name, f"{'>=' if name in AT_LEAST else '<='} {limit:g}", words_of(name, limit))
        for name, limit in recipe.gate.limits().items()
    )
    table(rows, ("figure", "limit", "at the limit"))
    say(recipe.gate.reason)
