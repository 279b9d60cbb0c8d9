"""Recipes, which say how each tensor is stored: ordered rules of which the first that matches decides."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field, model_validator

from ..config import toml_file as datafile
from ..errors import UnsupportedError, nearest

FIGURES = ("mean_kl", "p99_kl", "top1", "perplexity_ratio", "max_logit_diff", "tool_calls")  # those of a gate


@dataclass(frozen=True)
class Gate:
    """The limits that a bundle must keep; None if a figure has no limit.

    Attributes:
        mean_kl: Most that the mean KL divergence may be, in nats.
        p99_kl: Most that the 99th percentile of the positions' KL divergences may be, in nats.
        top1: Smallest share of the positions with the same most likely token, 0..1.
        perplexity_ratio: Most that the bundle's perplexity over the float model's may be.
        max_logit_diff: Most that a logit may differ at any position.
        tool_calls: Smallest share of the float model's tool calls that must be made exactly, 0..1.
        reason: Why the limits are what they are.
    """

    mean_kl: float | None = None
    p99_kl: float | None = None
    top1: float | None = None
    perplexity_ratio: float | None = None
    max_logit_diff: float | None = None
    tool_calls: float | None = None
    reason: str = ""

    def limits(self) -> dict[str, float]:
        """Return the limits by figure."""
        return {name: value for name in FIGURES if (value := getattr(self, name)) is not None}


@dataclass(frozen=True)
class Scheme:
    """How one tensor is stored and multiplied.

    Attributes:
        name: The scheme's name in its recipe.
        weight: 'float32', 'int8' or 'int4', symmetric.
        group: Elements per scale along the reduction dimension; 0 for one scale per output channel.
        activation: 'float32' or 'int8-dynamic'.
        method: How values and scales are chosen; a name of ``quantize.methods.METHODS``.
        otherwise: The scheme for a weight whose columns the groups don't divide; empty if such a weight is refused.
    """

    name: str
    weight: str
    group: int = 0
    activation: str = "float32"
    method: str = "round-to-nearest"
    otherwise: str = ""

    def __str__(self) -> str:
        group = f" by {self.group}" if self.group else ""
        activation = "" if self.activation == "float32" else f", {self.activation}"
        return f"{self.weight}{group}{activation}"


@dataclass(frozen=True)
class Rule:
    """One rule of a recipe; the first that fits a module's name decides.

    Attributes:
        match: A regular expression that must match the whole name.
        scheme: How the module's weight is stored.
        reason: Why.
        optional: Whether it may match no module of a model.
    """

    match: str
    scheme: Scheme
    reason: str = ""
    optional: bool = False


@dataclass(frozen=True)
class Recipe:
    """How each tensor of a model is stored, and what the bundle is held to.

    Attributes:
        name: The recipe's name, which is its file's.
        description: What it is, in one line.
        rules: Its rules, in order.
        gate: The limits that the bundle must keep.
        folds: Whether scales are folded between layers where that is exact.
        schemes: All of its schemes, those that are only another's fallback among them.
        quick: Whether folds and weights are decided by the mean square of each input alone.
        finer: The recipe to go on to if a model fails this one's gate; empty if there is none.
        path: The file that it was read from.
    """

    name: str
    description: str
    rules: tuple[Rule, ...]
    gate: Gate
    folds: bool = False
    quick: bool = False
    schemes: tuple[Scheme, ...] = ()
    finer: str = ""
    path: Path | None = None

    def uncalibrated(self) -> Recipe:
        """Return the same recipe without what needs calibration: nothing is folded, all is rounded to nearest."""
        return replace(self.with_methods(lambda _: Scheme.method), folds=False)

    def with_methods(self, method: Callable[[str], str]) -> Recipe:
        """Return the same recipe with other quantization methods; ``method`` says which takes the place of one."""

        def changed(scheme: Scheme) -> Scheme:
            return replace(scheme, method=method(scheme.method))

        rules = tuple(replace(rule, scheme=changed(rule.scheme)) for rule in self.rules)
        return replace(self, rules=rules, schemes=tuple(map(changed, self.schemes)))


class SchemeTable(datafile.DataFile):
    """How one tensor is stored and multiplied."""

    weight: Literal["float32", "int8", "int4"] = Field(description="What it is stored as; integers are symmetric.")
    group: int = Field(
        default=0,
        ge=0,
        description="Elements per scale along the reduction dimension; 0 for one scale per output channel.",
    )
    activation: Literal["float32", "int8-dynamic"] = Field(
        default="float32", description="int8-dynamic: quantized per token as the product is made."
    )
    method: str = Field(
        default="round-to-nearest",
        min_length=1,
        description="How values and scales are chosen: round-to-nearest, weighted-rounding or gptq.",
    )
    otherwise: str = Field(
        default="",
        description="The scheme for a weight whose columns the groups don't divide. Without it, it is refused.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> SchemeTable:
        if self.weight == "float32" and (self.group or self.activation != "float32"):
            raise ValueError("a float32 weight has no group and no quantized activation")
        if self.otherwise and not self.group:
            raise ValueError("otherwise is for weights that groups don't divide, and this scheme has no group")
        return self


class RuleTable(datafile.DataFile):
    """A rule: modules whose whole name the regular expression matches get the scheme."""

    match: str = Field(min_length=1, description="Python regular expression; must match the whole name.")
    scheme: str = Field(min_length=1, description="A name under [schemes].")
    reason: str = Field(min_length=1, description="Why.")
    optional: bool = Field(
        default=False, description="Whether it may match no module: a recipe for many models needs such rules."
    )

    @model_validator(mode="after")
    def _compiles(self) -> RuleTable:
        try:
            re.compile(self.match)
        except re.error as error:
            raise ValueError(f"match = '{self.match}' is not a regular expression: {error}") from error
        return self


class GateTable(datafile.DataFile):
    """The limits that a bundle must keep; a figure that isn't named has no limit."""

    mean_kl: float | None = Field(default=None, ge=0, description="Nats, at most.")
    p99_kl: float | None = Field(default=None, ge=0, description="Nats, at most, 99th percentile of positions.")
    top1: float | None = Field(default=None, ge=0, le=1, description="Share of positions, at least.")
    perplexity_ratio: float | None = Field(
        default=None, ge=1, description="The bundle's over the float model's, at most."
    )
    max_logit_diff: float | None = Field(default=None, gt=0, description="Logits, at most, at any position.")
    tool_calls: float | None = Field(
        default=None, ge=0, le=1, description="Share of the float model's tool calls made exactly, at least."
    )
    reason: str = Field(min_length=1, description="Why the limits are what they are.")


class RecipeFile(datafile.DataFile):
    """What a recipe's TOML file holds. Its name is the file's name."""

    model_config = ConfigDict(title="Gemcut recipe")

    description: str = Field(min_length=1, description="What it is, in one line.")
    folds: bool = Field(
        default=False, description="Whether scales are folded into norms and between layers, where that is exact."
    )
    finer: str = Field(
        default="",
        description="Where an export goes on to if a model fails the gate, and no recipe was asked for.",
    )
    schemes: dict[str, SchemeTable] = Field(min_length=1)
    rules: tuple[RuleTable, ...] = Field(min_length=1, description="In order; the first that matches decides.")
    gate: GateTable

    @model_validator(mode="after")
    def _consistent(self) -> RecipeFile:
        for rule in self.rules:
            if rule.scheme not in self.schemes:
                raise ValueError(
                    f"the rule '{rule.match}' names the scheme '{rule.scheme}': {nearest(rule.scheme, self.schemes)}"
                )
        for name, scheme in self.schemes.items():
            if scheme.otherwise and scheme.otherwise not in self.schemes:
                near = nearest(scheme.otherwise, self.schemes)
                raise ValueError(f"the scheme '{name}' falls back to '{scheme.otherwise}': {near}")
            if scheme.otherwise and self.schemes[scheme.otherwise].group:
                raise ValueError(f"the scheme '{name}' falls back to '{scheme.otherwise}', which has groups too")
        used = {rule.scheme for rule in self.rules} | {scheme.otherwise for scheme in self.schemes.values()}
        for name in self.schemes:
            if name not in used:
                raise ValueError(f"no rule uses the scheme '{name}'")
        seen: set[str] = set()
        for rule in self.rules:
            if rule.match in seen:
                raise ValueError(f"the rule '{rule.match}' appears twice: the second would never decide")
            seen.add(rule.match)
        return self


def list_recipes() -> dict[str, Path]:
    """Return the files of the shipped recipes by name, sorted by name."""
    return datafile.shipped(__package__ or "", "recipes")


def load_recipe(name_or_file: str) -> Recipe:
    """Load a shipped recipe by name, or a TOML file of the user's own.

    Args:
        name_or_file: What the user wrote.

    Raises:
        UnsupportedError: A name, a key or a weight format is unknown; the message has the nearest.
        UsageError: The file doesn't exist, isn't TOML, or holds a wrong value.
    """
    path = datafile.locate(name_or_file, list_recipes(), "recipe")
    read = datafile.read(path, RecipeFile, "recipe")
    if read.finer and read.finer not in list_recipes():
        raise UnsupportedError(
            f"{path}: finer names the recipe '{read.finer}': {nearest(read.finer, list_recipes())}",
            hint="Name a shipped recipe; see gemcut recipes.",
        )
    schemes = {name: Scheme(name=name, **table.model_dump()) for name, table in read.schemes.items()}
    rules = tuple(Rule(r.match, schemes[r.scheme], r.reason, r.optional) for r in read.rules)
    return Recipe(
        name=path.stem,
        description=read.description,
        rules=rules,
        gate=Gate(**read.gate.model_dump()),
        folds=read.folds,
        schemes=tuple(schemes.values()),
        finer=read.finer,
        path=path,
    )


def finer_than(recipe: Recipe) -> Iterator[Recipe]:
    """Yield the recipes that an export goes on to, in order."""
    while recipe.finer:
        recipe = load_recipe(recipe.finer)
        yield recipe


def rule_for(recipe: Recipe, module_name: str) -> Rule:
    """Return the rule that decides for a module.

    Args:
        recipe: The recipe.
        module_name: The module's name in the model.

    Raises:
        UnsupportedError: No rule matches the name.
    """
    for rule in recipe.rules:
        if re.fullmatch(rule.match, module_name):
            return rule
    raise UnsupportedError(
        f"recipe '{recipe.name}': no rule matches the module '{module_name}'",
        hint="End the rules with one that matches all that is left: match = '.*'.",
    )


def scheme_for(recipe: Recipe, module_name: str) -> Scheme:
    """Return how a module's weight is stored, by the first rule that matches its name.

    Args:
        recipe: The recipe.
        module_name: The module's name in the model.

    Raises:
        UnsupportedError: No rule matches the name.
    """
    return rule_for(recipe, module_name).scheme


def unused_rules(recipe: Recipe, names: Iterable[str]) -> None:
    """Refuse a recipe with a rule that matches none of the model's modules, which is most likely a slip.

    Args:
        recipe: The recipe.
        names: The names of all modules that have a weight to quantize.

    Raises:
        UnsupportedError: There is such a rule; the message has the first, and the module whose name is nearest to it.
    """
    known = list(names)
    for rule in recipe.rules:
        if rule.optional or any(re.fullmatch(rule.match, name) for name in known):
            continue
        plain = rule.match.replace("\\", "")
        near = difflib.get_close_matches(plain, known, n=1, cutoff=0.0)
        says = f"; the nearest module is '{near[0]}'" if near else "; the model has no module to quantize"
        raise UnsupportedError(
            f"recipe '{recipe.name}': the rule '{rule.match}' matches no module{says}",
            hint="Correct the rule or remove it from the recipe.",
        )


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a recipe's file, which is shipped as ``quantize/recipe.schema.json``."""
    return RecipeFile.model_json_schema()
