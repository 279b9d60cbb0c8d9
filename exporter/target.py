"""Targets: kinds of devices, one TOML file each, data only.

The table that a target may have for one runtime alone is derived from that runtime's plugin.
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
        recipe: Replaces the target's recipe; None to keep the target's.
        context: Replaces the target's slots of the KV cache; None to keep the target's.
    """

    prefill_lengths: tuple[int, ...]
    options: Mapping[str, bool] = field(default_factory=dict)
    recipe: str | None = None
    context: int | None = None


@dataclass(frozen=True)
class RamClass:
    """Devices with the same RAM.

    Attributes:
        ram: Their RAM, in GB of 10^9 bytes.
        app: What one app may hold of it, in GB, before the system ends it or drops its mapped pages.
    """

    ram: float
    app: float


@dataclass(frozen=True)
class Target:
    """A kind of device, as its TOML file describes it.

    Attributes:
        name: The file's name.
        description: What it is, in one line.
        architecture: The instruction set.
        system: The operating system.
        runtimes: The runtimes that it can be exported for, the default first.
        recipe: The default recipe.
        delegate: What runs the matrix products.
        context: The most slots of the KV cache.
        prefill_chunk: The most prompt tokens that one call of the program takes.
        oldest_runtime: Runtime -> the oldest release that must load the program.
        choices: Key -> why it has its value.
        memory_bandwidth: Approximate GB/s, for ``gemcut plan``.
        compute: Approximate int8 GOP/s, for ``gemcut plan``.
        ram_classes: What such devices have, the least RAM first, for ``gemcut plan``.
        path: The file.
        own: What is chosen for one runtime alone, by the runtime's name; only for runtimes that have a table.
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
    ram_classes: tuple[RamClass, ...] = ()
    path: Path | None = None
    own: Mapping[str, RuntimeChoices] = field(default_factory=dict)

    @property
    def platform(self) -> str:
        """System and architecture, as runtimes and delegates name what they have releases for."""
        return f"{self.system}-{self.architecture}"

    def choices_for(self, runtime: str) -> RuntimeChoices:
        """Return what holds for a runtime, its own table first."""
        return self.own.get(runtime) or RuntimeChoices(prefill_lengths=(self.prefill_chunk,))


class RamClassTable(toml_file.DataFile):
    """Devices with the same RAM."""

    ram: float = Field(gt=0, description="Their RAM, in GB of 10^9 bytes.")
    app: float = Field(gt=0, description="What one app may hold of it, in GB.")

    @model_validator(mode="after")
    def _consistent(self) -> RamClassTable:
        if self.app > self.ram:
            raise ValueError(f"app {self.app:g} is more than ram {self.ram:g}")
        return self


class RuntimeTable(toml_file.DataFile):
    """What a target chooses for one runtime alone; each runtime has its own model based on this one."""

    choices: dict[str, str] = Field(default_factory=dict, description="Key of this table -> why it has its value.")

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
            raise ValueError(f"prefill_lengths must ascend, and these don't: {', '.join(map(str, lengths))}")
        return self


# The keys that a runtime's plugin may let a target set for it (``RuntimePlugin.table_keys``).
_TABLE_FIELDS: dict[str, Any] = {
    "recipe": (str | None, Field(default=None, min_length=1, description="Replaces the target's recipe.")),
    "context": (int | None, Field(default=None, ge=16, description="Replaces the target's context.")),
    "prefill_lengths": (
        tuple[Length, ...] | None,
        Field(
            default=None,
            min_length=1,
            description="Prompt tokens of each prefill signature, ascending. Default: prefill_chunk alone.",
        ),
    ),
}


def _one_of(names: Iterable[str]) -> Any:
    """A string whose values the schema lists; ``load_target`` refuses any other."""
    values = list(names)
    allowed = {"const": values[0]} if len(values) == 1 else {"enum": values}
    return Annotated[str, WithJsonSchema({**allowed, "type": "string"})]


class TargetFileBase(toml_file.DataFile):
    """What a target's TOML file holds. The target's name is the file's name."""

    model_config = ConfigDict(title="Gemcut target")

    description: str = Field(min_length=1, description="What it is, in one line.")
    architecture: Architecture = Field(description="The instruction set.")
    system: System = Field(description="The operating system.")
    recipe: str = Field(min_length=1, description="The default recipe: a name, or a file in the same folder.")
    context: int = Field(ge=16, description="Slots of the KV cache; capped at what the model was made for.")
    prefill_chunk: int = Field(ge=1, description="The most prompt tokens that one call of the program takes.")
    memory_bandwidth: float = Field(gt=0, description="Approximate GB/s that all cores read together, for gemcut plan.")
    compute: float = Field(gt=0, description="Approximate int8 GOP/s of a few big cores together, for gemcut plan.")
    ram_classes: tuple[RamClassTable, ...] = Field(
        default=(), description="What such devices have, the least RAM first, for gemcut plan."
    )
    oldest_runtime: dict[str, Version] = Field(
        description="Runtime -> the oldest version that must load the program; for litert, a release of LiteRT-LM."
    )
    choices: dict[str, str] = Field(description="Key of this file -> why it has its value.")

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
                raise ValueError(
                    f"oldest_runtime names '{name}', which runtimes doesn't name: {nearest(name, runtimes)}"
                )
        if any(one.ram >= other.ram or one.app > other.app for one, other in pairwise(self.ram_classes)):
            raise ValueError("ram_classes must ascend, in ram and in app, and these don't")
        if self.prefill_chunk > self.context:
            raise ValueError(f"prefill_chunk {self.prefill_chunk} is larger than context {self.context}")
        for name in _with_tables():
            if name in self.model_fields_set and name not in runtimes:
                raise ValueError(f"the file has a table [{name}], but runtimes doesn't name '{name}'")
        for name, table in self.tables().items():
            _check_choices(table.choices, table.chosen_keys(), f"{name}.choices")
            longest, slots = max(table.value("prefill_lengths") or (0,)), table.value("context") or self.context
            if longest > slots:
                raise ValueError(f"{name}.prefill_lengths has {longest}, which is larger than context {slots}")
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
    "ram_classes",
    "oldest_runtime",
)


def _check_choices(choices: Mapping[str, str], keys: Iterable[str], where: str) -> None:
    for key in choices:
        if key not in keys:
            raise ValueError(f"{where} explains an unknown key '{key}': {nearest(key, keys)}")


def _with_tables(names: Iterable[str] | None = None) -> dict[str, RuntimePlugin]:
    """The plugins of the runtimes that a target may have a table for, by name."""
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
        __doc__=f"What a target chooses for {plugin.name} alone. Every key is optional.",
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
            Field(min_length=1, description="The runtimes that the target can be exported for, the default first."),
        ),
        delegate=(
            _one_of(sorted({each for plugin in runtimes for each in plugin.delegates.names()})),
            Field(description="What runs the matrix products."),
        ),
        **tables,
    )
    return made


def explained(target: Target) -> dict[str, Any]:
    """Return the choices of a target: key -> value, those for one runtime alone as ``RUNTIME.KEY``.

    A runtime's key that takes the target's value isn't a choice. Each shipped file explains all of its choices.
    """
    found = {key: getattr(target, key) for key in KEYS}
    for runtime, own in target.own.items():
        values = {"recipe": own.recipe, "context": own.context, "prefill_lengths": own.prefill_lengths, **own.options}
        found |= {f"{runtime}.{key}": value for key, value in values.items() if value is not None}
    return found


def list_targets() -> dict[str, Path]:
    """Return the shipped targets: name -> file, sorted by name."""
    return toml_file.shipped(PACKAGE)


def load_target(name_or_file: str) -> Target:
    """Load a shipped target by name, or the user's own TOML file.

    Raises:
        UnsupportedError: A name, key or value is unknown; the message has the nearest known one. Or a runtime or a
            delegate has no release for the target's system and architecture.
        UsageError: The file doesn't exist, isn't TOML, or holds a wrong value.
    """
    path = toml_file.locate(name_or_file, list_targets(), _KIND)
    read = toml_file.read(path, target_file(_named_in(path)), _KIND)
    tables = read.tables()
    values = read.model_dump(exclude=set(_with_tables()))
    values["ram_classes"] = tuple(RamClass(one.ram, one.app) for one in read.ram_classes)
    values["recipe"] = _beside(path, read.recipe)
    values["own"] = {name: _choices(path, read, table) for name, table in tables.items()}
    for name, table in tables.items():
        values["choices"] |= {f"{name}.{key}": why for key, why in table.choices.items()}
    target = Target(name=path.stem, path=path, **values)
    for name in target.runtimes:
        _check_runtime(target, find_runtime(name))
    return target


def _named_in(path: Path) -> tuple[str, ...]:
    """The names of all runtimes. Those that the file lists are checked first, so an unknown one is refused first."""
    import tomllib

    names = runtime_names()
    try:
        listed = tomllib.loads(path.read_text(encoding="utf-8-sig")).get("runtimes", [])
    except (OSError, ValueError):
        return names  # load_target reads it again, and says what is wrong
    for index, name in enumerate(listed if isinstance(listed, list) else []):
        if isinstance(name, str) and name not in RUNTIMES:
            raise UnsupportedError(f"{path}: runtimes.{index} = '{name}': {nearest(name, names)}", hint=_HINT)
    return names


_HINT = (
    "See target.schema.json in the package for what a target file holds, or gemcut targets show NAME for an example."
)


def _choices(path: Path, read: TargetFileBase, table: RuntimeTable) -> RuntimeChoices:
    recipe = table.value("recipe")
    return RuntimeChoices(
        prefill_lengths=table.value("prefill_lengths") or (read.prefill_chunk,),
        options={key: table.value(key) for key in table.chosen_keys() if key not in _TABLE_FIELDS},
        recipe=_beside(path, recipe) if recipe else None,
        context=table.value("context"),
    )


def _check_runtime(target: Target, runtime: RuntimePlugin) -> None:
    """Refuse a delegate that the runtime doesn't have, and a platform that either has no release for."""
    if target.delegate not in runtime.delegates:
        raise UnsupportedError(
            f"{target.path}: delegate = '{target.delegate}': {nearest(target.delegate, runtime.delegates.names())}",
            hint=f"{runtime.name} has these delegates; docs/contributing/add-a-delegate.md says how to add one.",
        )
    delegate = runtime.delegate(target.delegate)
    for title, platforms in ((runtime.title, runtime.platforms), (delegate.title, delegate.platforms)):
        if platforms and target.platform not in platforms:
            raise UnsupportedError(
                f"{target.path}: {title} has no release for {target.system} on {target.architecture}: "
                f"{nearest(target.platform, platforms)}",
                hint="Change system and architecture, or remove the runtime from runtimes.",
            )


def _beside(target: Path, recipe: str) -> str:
    """The recipe that a target's file names: a name, or a file in the target's folder."""
    return str(target.parent / recipe) if recipe.endswith(".toml") else recipe


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a target's file, as ``targets/target.schema.json`` has it: of packaged runtimes."""
    return target_file(RUNTIMES.packaged).model_json_schema()
