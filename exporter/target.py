"""Targets: kinds of devices, one TOML file each, data only.

What a target may say of one runtime alone, in a table of the runtime's name, derives from that runtime's plugin.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, WithJsonSchema, create_model, model_validator

from .config import toml_file
from .errors import UnsupportedError, nearest
from .runtimes import RUNTIMES, find_runtime, runtime_names
from .runtimes.base import RuntimePlugin

PACKAGE = f"{__package__}.targets"
_KIND = "target"
Version = Annotated[str, Field(pattern=r"^\d+\.\d+(\.\d+)?$")]
Length = Annotated[int, Field(ge=1)]
Architecture = Literal["arm64", "x86_64"]
System = Literal["android", "linux"]


@dataclass(frozen=True)
class RuntimeChoices:
    """What a target chooses for one runtime alone.

    Attributes:
        prefill_lengths: Prompt tokens of each prefill, ascending.
        options: The runtime's own options that a target may choose, by name.
        recipe: In place of the target's; None for that.
        context: Slots of the KV cache in place of the target's; None for that.
    """

    prefill_lengths: tuple[int, ...]
    options: Mapping[str, bool] = field(default_factory=dict)
    recipe: str | None = None
    context: int | None = None


@dataclass(frozen=True)
class Target:
    """A kind of device, as its TOML file has it.

    Attributes:
        name: The file's name.
        description: What it is, in one line.
        architecture: The instruction set.
        system: The operating system.
        runtimes: Those that can be exported for, the default first.
        recipe: The default recipe.
        delegate: What runs the matrix products.
        context: Slots of the KV cache, at most.
        prefill_chunk: Most prompt tokens that one call of the program takes.
        oldest_runtime: Runtime -> the oldest release that must load the program.
        choices: Key -> why it has the value it has.
        memory_bandwidth: GB/s, rough, for ``gemcut plan``.
        compute: int8 GOP/s, rough, for ``gemcut plan``.
        path: The file.
        own: What is chosen for one runtime alone, by its name; of those runtimes that a target may say something of.
    """

    name: str
    description: str
    architecture: str
    system: str
    runtimes: tuple[str, ...]
    recipe: str
    delegate: str
    context: int
    prefill_chunk: int
    oldest_runtime: dict[str, str]
    choices: dict[str, str]
    memory_bandwidth: float = 0.0
    compute: float = 0.0
    path: Path | None = None
    own: Mapping[str, RuntimeChoices] = field(default_factory=dict)

    @property
    def platform(self) -> str:
        """System and architecture, as runtimes and delegates name what they have releases for."""
        return f"{self.system}-{self.architecture}"

    def choices_for(self, runtime: str) -> RuntimeChoices:
        """Return what holds for a runtime, its own table first."""
        return self.own.get(runtime) or RuntimeChoices(prefill_lengths=(self.prefill_chunk,))


class RuntimeTable(toml_file.DataFile):
    """What a target chooses for one runtime alone; each runtime has a model of its own that is based on this."""

    choices: dict[str, str] = Field(default_factory=dict, description="Key of this table -> why it is so.")

    @classmethod
    def chosen_keys(cls) -> tuple[str, ...]:
        """Return the keys that choose something."""
        return tuple(name for name in cls.model_fields if name != "choices")

    def value(self, key: str) -> Any:
        """Return a key's value; None if the runtime has no such key."""
        return getattr(self, key, None)

    @model_validator(mode="after")
    def _consistent(self) -> RuntimeTable:
        lengths = self.value("prefill_lengths") or ()
        if any(one >= other for one, other in pairwise(lengths)):
            raise ValueError(f"prefill_lengths don't ascend: {', '.join(map(str, lengths))}")
        return self


# The keys that a runtime's plugin may let a target set for it (``RuntimePlugin.table_keys``).
_TABLE_FIELDS: dict[str, Any] = {
    "recipe": (str | None, Field(default=None, min_length=1, description="In place of the target's recipe.")),
    "context": (int | None, Field(default=None, ge=16, description="In place of the target's context.")),
    "prefill_lengths": (
        tuple[Length, ...] | None,
        Field(
            default=None,
            min_length=1,
            description="Prompt tokens of each prefill signature, ascending. Without it, prefill_chunk alone.",
        ),
    ),
}


def _one_of(names: Iterable[str]) -> Any:
    """A string that the schema lists the values of; what is refused is refused by ``load_target``."""
    values = list(names)
    allowed = {"const": values[0]} if len(values) == 1 else {"enum": values}
    return Annotated[str, WithJsonSchema({**allowed, "type": "string"})]


class TargetFileBase(toml_file.DataFile):
    """What a target's TOML file holds. Its name is the file's name."""

    model_config = ConfigDict(title="Gemcut target")

    description: str = Field(min_length=1, description="What it is, in one line.")
    architecture: Architecture = Field(description="The instruction set.")
    system: System = Field(description="The operating system.")
    recipe: str = Field(min_length=1, description="The default recipe: a name, or a file beside this one.")
    context: int = Field(ge=16, description="Slots of the KV cache; capped to what the model was made for.")
    prefill_chunk: int = Field(ge=1, description="Most prompt tokens that one call of the program takes.")
    memory_bandwidth: float = Field(gt=0, description="GB/s that the cores read together: for plan, rough.")
    compute: float = Field(gt=0, description="int8 GOP/s of a few big cores together: for plan, rough.")
    oldest_runtime: dict[str, Version] = Field(
        description="Runtime -> the oldest version that must load it; for litert a release of LiteRT-LM."
    )
    choices: dict[str, str] = Field(description="Key of this file -> why it has the value it has.")

    def value(self, key: str) -> Any:
        """Return a key's value."""
        return getattr(self, key)

    def tables(self) -> dict[str, RuntimeTable]:
        """Return the tables of the runtimes that the file names, by name."""
        return {name: table for name in self.value("runtimes") if (table := getattr(self, name, None)) is not None}

    @model_validator(mode="after")
    def _consistent(self) -> TargetFileBase:
        runtimes = self.value("runtimes")
        _check_choices(self.choices, KEYS, "choices")
        for name in self.oldest_runtime:
            if name not in runtimes:
                raise ValueError(f"oldest_runtime names '{name}': {nearest(name, runtimes)}")
        if self.prefill_chunk > self.context:
            raise ValueError(f"prefill_chunk {self.prefill_chunk} is more than context {self.context}")
        for name in _with_tables():
            if name in self.model_fields_set and name not in runtimes:
                raise ValueError(f"there is a table [{name}], but runtimes doesn't name '{name}'")
        for name, table in self.tables().items():
            _check_choices(table.choices, table.chosen_keys(), f"{name}.choices")
            longest, slots = max(table.value("prefill_lengths") or (0,)), table.value("context") or self.context
            if longest > slots:
                raise ValueError(f"{name}.prefill_lengths has {longest}, which is more than context {slots}")
        return self


KEYS = (
    "architecture",
    "system",
    "runtimes",
    "recipe",
    "delegate",
    "context",
    "prefill_chunk",
    "memory_bandwidth",
    "compute",
    "oldest_runtime",
)


def _check_choices(choices: Mapping[str, str], keys: Iterable[str], where: str) -> None:
    for key in choices:
        if key not in keys:
            raise ValueError(f"{where} explains an unknown key '{key}': {nearest(key, keys)}")


def _with_tables(names: Iterable[str] | None = None) -> dict[str, RuntimePlugin]:
    """The runtimes that a target may have a table for."""
    wanted = set(names or runtime_names())
    return {
        plugin.name: plugin
        for plugin in RUNTIMES
        if plugin.name in wanted and (plugin.table_keys or any(option.in_target for option in plugin.options))
    }


def _table_model(plugin: RuntimePlugin) -> type[RuntimeTable]:
    options: dict[str, Any] = {
        option.name: (bool, Field(default=False, description=option.in_target))
        for option in plugin.options
        if option.in_target
    }
    made: type[RuntimeTable] = create_model(
        f"{plugin.name.capitalize()}Table",
        __base__=RuntimeTable,
        __doc__=f"What a target chooses for {plugin.name} alone. Every key may be left out.",
        **{key: _TABLE_FIELDS[key] for key in plugin.table_keys},
        **options,
    )
    return made


@functools.cache
def target_file(names: tuple[str, ...]) -> type[TargetFileBase]:
    """Return the model of a target's file, with the tables of these runtimes."""
    runtimes = [plugin for plugin in RUNTIMES if plugin.name in names]
    tables: dict[str, Any] = {
        name: (model, Field(default_factory=model, description=f"What differs for {name}."))
        for name, model in ((name, _table_model(plugin)) for name, plugin in _with_tables(names).items())
    }
    made: type[TargetFileBase] = create_model(
        "TargetFile",
        __base__=TargetFileBase,
        __doc__=TargetFileBase.__doc__,
        runtimes=(
            tuple[_one_of(names), ...],  # type: ignore[misc]
            Field(min_length=1, description="Runtimes that can be exported for, the default first."),
        ),
        delegate=(
            _one_of(sorted({each for plugin in runtimes for each in plugin.delegates.names()})),
            Field(description="What runs the matrix products."),
        ),
        **tables,
    )
    return made


def explained(target: Target) -> dict[str, Any]:
    """Return the choices of a target: key -> value, those for a runtime alone as ``RUNTIME.KEY``.

    A key for a runtime that takes the target's own value is no choice. Each shipped file explains all of these.
    """
    found = {key: getattr(target, key) for key in KEYS}
    for runtime, own in target.own.items():
        values = {"recipe": own.recipe, "context": own.context, "prefill_lengths": own.prefill_lengths, **own.options}
        found |= {f"{runtime}.{key}": value for key, value in values.items() if value is not None}
    return found


def list_targets() -> dict[str, Path]:
    """Return the shipped targets: name -> file, by name."""
    return toml_file.shipped(PACKAGE)


def load_target(name_or_file: str) -> Target:
    """Load a shipped target by name, or a TOML file of the user's own.

    Raises:
        UnsupportedError: An unknown name, key or value; the message has the nearest. Or a runtime or a delegate that
            has no release for the target's system and architecture.
        UsageError: A file that isn't there, isn't TOML, or holds a wrong value.
    """
    path = toml_file.locate(name_or_file, list_targets(), _KIND)
    read = toml_file.read(path, target_file(_named_in(path)), _KIND)
    tables = read.tables()
    values = read.model_dump(exclude=set(_with_tables()))
    values["recipe"] = _beside(path, read.recipe)
    values["own"] = {name: _choices(path, read, table) for name, table in tables.items()}
    for name, table in tables.items():
        values["choices"] |= {f"{name}.{key}": why for key, why in table.choices.items()}
    target = Target(name=path.stem, path=path, **values)
    for name in target.runtimes:
        _check_runtime(target, find_runtime(name))
    return target


def _named_in(path: Path) -> tuple[str, ...]:
    """The names of all runtimes, after those that the file names have been checked: an unknown one is refused first."""
    import tomllib

    names = runtime_names()
    try:
        listed = tomllib.loads(path.read_text(encoding="utf-8")).get("runtimes", [])
    except (OSError, ValueError):
        return names  # reading it in earnest says what is wrong
    for index, name in enumerate(listed if isinstance(listed, list) else []):
        if isinstance(name, str) and name not in RUNTIMES:
            raise UnsupportedError(f"{path}: runtimes.{index} = '{name}': {nearest(name, names)}", hint=_HINT)
    return names


_HINT = "target.schema.json in the package says what a target file holds; gemcut targets show NAME shows one."


def _choices(path: Path, read: TargetFileBase, table: RuntimeTable) -> RuntimeChoices:
    recipe = table.value("recipe")
    return RuntimeChoices(
        prefill_lengths=table.value("prefill_lengths") or (read.prefill_chunk,),
        options={key: table.value(key) for key in table.chosen_keys() if key not in _TABLE_FIELDS},
        recipe=_beside(path, recipe) if recipe else None,
        context=table.value("context"),
    )


def _check_runtime(target: Target, runtime: RuntimePlugin) -> None:
    """Refuses a delegate that the runtime hasn't, and a platform that one of them has no release for."""
    if target.delegate not in runtime.delegates:
        raise UnsupportedError(
            f"{target.path}: delegate = '{target.delegate}': {nearest(target.delegate, runtime.delegates.names())}",
            hint=f"These are the delegates of {runtime.name}; docs/contributing/add-a-delegate.md says how to add one.",
        )
    delegate = runtime.delegate(target.delegate)
    for title, platforms in ((runtime.title, runtime.platforms), (delegate.title, delegate.platforms)):
        if platforms and target.platform not in platforms:
            raise UnsupportedError(
                f"{target.path}: {title} has no release for {target.system} on {target.architecture}: "
                f"{nearest(target.platform, platforms)}",
                hint="Change system and architecture, or leave the runtime out of runtimes.",
            )


def _beside(target: Path, recipe: str) -> str:
    """A recipe as a target's file names it: a name, or a file beside the target's."""
    return str(target.parent / recipe) if recipe.endswith(".toml") else recipe


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a target's file, as ``targets/target.schema.json`` has it: of packaged runtimes."""
    return target_file(RUNTIMES.packaged).model_json_schema()
