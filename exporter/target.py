"""Targets: kinds of devices, one TOML file each, data only."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from . import datafile
from .errors import nearest
from .stages import Target

PACKAGE = f"{__package__}.targets"
Version = Annotated[str, Field(pattern=r"^\d+\.\d+(\.\d+)?$")]


class TargetFile(datafile.DataFile):
    """What a target's TOML file holds. Its name is the file's name."""

    model_config = ConfigDict(title="Gemcut target")

    description: str = Field(min_length=1, description="What it is, in one line.")
    architecture: Literal["arm64", "x86_64"] = Field(description="The instruction set.")
    system: Literal["android", "linux"] = Field(description="The operating system.")
    runtimes: tuple[Literal["executorch"], ...] = Field(
        min_length=1, description="Runtimes that can be exported for, the default first."
    )
    recipe: str = Field(min_length=1, description="The default recipe: a name, or a file beside this one.")
    delegate: Literal["xnnpack"] = Field(description="What runs the matrix products.")
    context: int = Field(ge=16, description="Slots of the KV cache; capped to what the model was made for.")
    prefill_chunk: int = Field(ge=1, description="Most prompt tokens that one call of the program takes.")
    memory_bandwidth: float = Field(gt=0, description="GB/s that the cores read together: for plan, rough.")
    compute: float = Field(gt=0, description="int8 GOP/s of a few big cores together: for plan, rough.")
    oldest_runtime: dict[str, Version] = Field(description="Runtime -> the oldest version that must load it.")
    choices: dict[str, str] = Field(description="Key of this file -> why it has the value it has.")

    @model_validator(mode="after")
    def _consistent(self) -> TargetFile:
        for key in self.choices:
            if key not in explained():
                raise ValueError(f"choices explains an unknown key '{key}': {nearest(key, explained())}")
        for name in self.oldest_runtime:
            if name not in self.runtimes:
                raise ValueError(f"oldest_runtime names '{name}': {nearest(name, self.runtimes)}")
        if self.prefill_chunk > self.context:
            raise ValueError(f"prefill_chunk {self.prefill_chunk} is more than context {self.context}")
        return self


def explained() -> tuple[str, ...]:
    """The keys of a target that are choices, so that each shipped file explains them all."""
    return tuple(name for name in TargetFile.model_fields if name not in ("description", "choices"))


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
    values = read.model_dump()
    if read.recipe.endswith(".toml"):
        values["recipe"] = str(path.parent / read.recipe)
    return Target(name=path.stem, path=path, **values)


def schema() -> dict[str, Any]:
    """The JSON Schema of a target's file, as ``targets/target.schema.json`` has it."""
    return TargetFile.model_json_schema()
