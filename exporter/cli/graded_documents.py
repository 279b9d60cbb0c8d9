"""The JSON documents that say what users would notice: of a bundle that is inspected, and of each recipe's bundles."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from ..quantize.recipe import Recipe
from ..words.grade import Grade
from ..words.grades import grade


@dataclass(frozen=True)
class RecipeList:
    """``gemcut recipes --json``.

    Attributes:
        recipes: The shipped recipes.
        grades: What users notice at worst of a bundle that keeps the recipe's limits, by the recipe's name.
    """

    recipes: tuple[Recipe, ...]
    grades: dict[str, Grade]


def recipe_grades(recipes: Iterable[Recipe]) -> dict[str, Grade]:
    """Return what users notice at worst of a bundle that keeps each recipe's limits, by the recipe's name.

    A recipe without such limits, which may be as bad as it likes, isn't among them.
    """
    found = {one.name: grade(one.gate.limits()) for one in recipes}
    return {name: each for name, each in found.items() if each is not None}


@dataclass(frozen=True)
class Contents:
    """``gemcut inspect --json``.

    Attributes:
        bundle: Where it is.
        format: Whether it is a folder or a zip.
        size: Bytes of all files.
        oldest_runtime: The oldest known version of the runtime that has every operator and backend that the program
            needs.
        grade: What users notice of it; null if its fidelity wasn't measured.
        manifest: As ``manifest.schema.json`` has it.
        layout: Tables of what is inside the program's own file (sections and signatures of a LiteRT one).
    """

    bundle: str
    format: Literal["dir", "zip"]
    size: int
    oldest_runtime: str | None
    grade: Grade | None
    manifest: dict[str, Any]
    layout: dict[str, list[dict[str, str]]]
