"""Targets: kinds of devices, one TOML file each, data only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from ..errors import nearest
from . import toml_file as datafile


@dataclass(frozen=True)
class LitertChoices:
    """What a target chooses for LiteRT alone; None takes the target's own value.

    prefill_lengths: prompt tokens of each prefill signature, ascending. dynamic_shape: one prefill signature of any
    length instead. context: slots of the KV cache.
    """

    prefill_lengths: tuple[int, ...] = (128,)
    dynamic_shape: bool = False
    recipe: str | None = None
    context: int | None = None


@dataclass(frozen=True)
class Target:
    """A kind of device, as its TOML file has it. ``choices`` explains each value to a reader.

    memory_bandwidth: GB/s; compute: int8 GOP/s; both rough, for ``gemcut plan``.
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
    litert: LitertChoices | None = None


PACKAGE = f"{(__package__ or '').rpartition('.')[0]}.targets"
Version = Annotated[str, Field(pattern=r"^\d+\.\d+(\.\d+)?$")]
Length = Annotated[int, Field(ge=1)]


class LitertTable(datafile.DataFile):
    """What a target chooses for LiteRT alone. Every key may be left out."""

    recipe: str | None = Field(default=None, min_length=1, description="In place of the target's recipe.")
    context: int | None = Field(default=None, ge=16, description="In place of the target's context.")
    prefill_lengths: tuple[Length, ...] | None = Field(
        default=None,
        min_length=1,
        description="Prompt tokens of each prefill signature, ascending. Without it, prefill_chunk alone.",
    )
    dynamic_shape: bool = Field(
        default=False, description="One prefill signature that takes any number of tokens instead."
    )
    choices: dict[str, str] = Field(default_factory=dict, description="Key of this table -> why it is so.")

    @model_validator(mode="after")
    def _consistent(self) -> LitertTable:
        _check_choices(self.choices, LITERT_KEYS, "litert.choices")
        lengths = self.prefill_lengths or ()
        if any(one >= other for one, other in pairwise(lengths)):
            raise ValueError(f"prefill_lengths don't ascend: {', '.join(map(str, lengths))}")
        return self


LITERT_KEYS = tuple(name for name in LitertTable.model_fields if name != "choices")


class TargetFile(datafile.DataFile):
    """What a target's TOML file holds. Its name is the file's name."""

    model_config = ConfigDict(title="Gemcut target")

    description: str = Field(min_length=1, description="What it is, in one line.")
    architecture: Literal["arm64", "x86_64"] = Field(description="The instruction set.")
    system: Literal["android", "linux"] = Field(description="The operating system.")
    runtimes: tuple[Literal["executorch", "litert"], ...] = Field(
        min_length=1, description="Runtimes that can be exported for, the default first."
    )
    recipe: str = Field(min_length=1, description="The default recipe: a name, or a file beside this one.")
    delegate: Literal["xnnpack"] = Field(description="What runs the matrix products.")
    context: int = Field(ge=16, description="Slots of the KV cache; capped to what the model was made for.")
    prefill_chunk: int = Field(ge=1, description="Most prompt tokens that one call of the program takes.")
    memory_bandwidth: float = Field(gt=0, description="GB/s that the cores read together: for plan, rough.")
    compute: float = Field(gt=0, description="int8 GOP/s of a few big cores together: for plan, rough.")
    oldest_runtime: dict[str, Version] = Field(
        description="Runtime -> the oldest version that must load it; for litert a release of LiteRT-LM."
    )
    litert: LitertTable = Field(default_factory=LitertTable, description="What differs for LiteRT.")
    choices: dict[str, str] = Field(description="Key of this file -> why it has the value it has.")

    @model_validator(mode="after")
    def _consistent(self) -> TargetFile:
        _check_choices(self.choices, KEYS, "choices")
        for name in self.oldest_runtime:
            if name not in self.runtimes:
                raise ValueError(f"oldest_runtime names '{name}': {nearest(name, self.runtimes)}")
        if self.prefill_chunk > self.context:
            raise ValueError(f"prefill_chunk {self.prefill_chunk} is more than context {self.context}")
        if "litert" in self.model_fields_set and "litert" not in self.runtimes:
            raise ValueError("there is a table [litert], but runtimes doesn't name 'litert'")
        longest, slots = max(self.litert.prefill_lengths or (0,)), self.litert.context or self.context
        if longest > slots:
            raise ValueError(f"litert.prefill_lengths has {longest}, which is more than context {slots}")
        return self


KEYS = tuple(name for name in TargetFile.model_fields if name not in ("description", "choices", "litert"))


def _check_choices(choices: Mapping[str, str], keys: Iterable[str], where: str) -> None:
    for key in choices:
        if key not in keys:
            raise ValueError(f"{where} explains an unknown key '{key}': {nearest(key, keys)}")


def explained(target: Target) -> dict[str, Any]:
    """The choices of a target: key -> value, those for LiteRT as ``litert.KEY``.

    A key for LiteRT that takes the target's own value is no choice. Each shipped file explains all of these.
    """
    found = {key: getattr(target, key) for key in KEYS}
    if target.litert is not None:
        own = {key: getattr(target.litert, key) for key in LITERT_KEYS}
        found |= {f"litert.{key}": value for key, value in own.items() if value is not None}
    return found


def list_targets() -> dict[str, Path]:
    """The shipped targets: name -> file, by name."""
    return datafile.shipped(PACKAGE)


def load_target(name_or_file: str) -> Target:
    """Loads a shipped target by name, or a TOML file of the user's own.

    Raises:
        UnsupportedError: An unknown name, key or value; the message has the nearest.
        UsageError: A file that isn't there, isn't TOML, or holds a wrong value.
    """
    path = datafile.locate(name_or_file, list_targets(), "target")
    read = datafile.read(path, TargetFile, "target")
    values = read.model_dump(exclude={"litert"})
    values["recipe"] = _beside(path, read.recipe)
    if "litert" in read.runtimes:
        values["litert"] = LitertChoices(
            prefill_lengths=read.litert.prefill_lengths or (read.prefill_chunk,),
            dynamic_shape=read.litert.dynamic_shape,
            recipe=_beside(path, read.litert.recipe) if read.litert.recipe else None,
            context=read.litert.context,
        )
        values["choices"] |= {f"litert.{key}": why for key, why in read.litert.choices.items()}
    return Target(name=path.stem, path=path, **values)


def _beside(target: Path, recipe: str) -> str:
    """A recipe as a target's file names it: a name, or a file beside the target's."""
    return str(target.parent / recipe) if recipe.endswith(".toml") else recipe


def schema() -> dict[str, Any]:
    """The JSON Schema of a target's file, as ``targets/target.schema.json`` has it."""
    return TargetFile.model_json_schema()
