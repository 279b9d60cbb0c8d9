"""The tables of ``gemcut.toml``: what an editor and ``config.py`` check the file against."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, WithJsonSchema, create_model
from pydantic_core import PydanticCustomError

from ..config import toml_file as datafile
from ..pipeline.budget_limits import SIZE_PATTERN, parse_size
from ..runtimes import RUNTIMES
from ..runtimes.base import RuntimePlugin

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"


def _bytes(value: Any) -> Any:
    return parse_size(value) if isinstance(value, str) else value


Size = Annotated[
    int,
    BeforeValidator(_bytes),
    Field(ge=1),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": SIZE_PATTERN}]}),
]
Text = Annotated[str, Field(min_length=1)]
Length = Annotated[int, Field(ge=1)]
Ratio = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(pattern=NAME_PATTERN)]


UNKNOWN_RUNTIME = "unknown_runtime"


def _known_runtime(name: str) -> str:
    if name not in RUNTIMES:
        raise PydanticCustomError(UNKNOWN_RUNTIME, "unknown runtime")
    return name


RuntimeName = Annotated[
    str,
    AfterValidator(_known_runtime),
    WithJsonSchema({"enum": list(RUNTIMES.packaged), "type": "string"}),
]


class BudgetTable(datafile.DataFile):
    """What the bundle must keep besides its recipe's gate. If it is over any, nothing is published (exit code 7)."""

    download_size: Size | None = Field(
        default=None,
        description="The most bytes as a download, compressed: a number, '12 MB' (1000s), or '12 MiB' (1024s).",
    )
    device_size: Size | None = Field(
        default=None, description="The most bytes on the device: the bundle and what the runtime writes beside it."
    )
    peak_memory: Size | None = Field(
        default=None,
        description="The most memory that the bundle adds to the process that runs it, in bytes.",
    )
    load_time: Ratio | None = Field(default=None, description="Load time, at most this many times the baseline's.")
    prefill: Ratio | None = Field(
        default=None, description="Prefill tokens per second, at least this share of the baseline's."
    )
    decode: Ratio | None = Field(
        default=None, description="Decode tokens per second, at least this share of the baseline's."
    )
    mean_kl: float | None = Field(
        default=None, ge=0, description="The largest mean KL divergence from the float model, in nats."
    )
    top1: Share | None = Field(
        default=None, description="The smallest share of likeliest tokens that are the float model's."
    )
    tool_calls: Share | None = Field(
        default=None, description="The smallest share of the float model's tool calls made exactly."
    )
    expected: Share | None = Field(
        default=None, description="The smallest share of the expected answers of golden_prompts.jsonl that are given."
    )


class _Defaults(datafile.DataFile):
    """What applies to every bundle that doesn't set it itself."""

    model: Text | None = Field(
        default=None,
        description="'sample', a directory relative to this file, or a hub id: org/name or org/name@revision.",
    )
    adapter: Text | None = Field(
        default=None, description="A PEFT adapter to merge in: a directory relative to this file, or 'sample'."
    )
    target: Text | None = Field(
        default=None, description="The kind of device: a name (gemcut targets), or a TOML file relative to this one."
    )
    runtimes: tuple[RuntimeName, ...] | None = Field(
        default=None, min_length=1, description="The runtimes to make a bundle for, one each. Default: executorch."
    )
    recipe: Text | None = Field(
        default=None, description="How to quantize: a name (gemcut recipes), or a TOML file. Default: the target's."
    )
    calibration: Text | None = Field(
        default=None,
        description="A text file to calibrate on, such as the model will see; 'quick' for some of the text that ships, "
        "by faster methods; 'none' for plain rounding. Default: the text that ships with Gemcut.",
    )
    golden_prompts: Text | None = Field(
        default=None,
        description="The prompts to prove the bundle with, a JSON Lines file. Default: golden_prompts.jsonl beside the "
        "adapter or the checkpoint.",
    )
    built_in_prompts: Literal["all", "english", "none"] | None = Field(
        default=None, description="Which of Gemcut's own prompts may be taken as well. Default: all."
    )
    context: int | None = Field(default=None, ge=1, description="Tokens of prompt and reply. Default: the target's.")
    prefill_lengths: tuple[Length, ...] | None = Field(
        default=None,
        min_length=1,
        description="For LiteRT the tokens of each prefill signature; for ExecuTorch one number, the most per call.",
    )
    chat_template: Text | None = Field(
        default=None, description="A Jinja file instead of the model's template; 'none' for a base model."
    )
    format: Literal["dir", "zip"] | None = Field(default=None, description="A folder, or one .gemcut file.")
    prove_on: tuple[Text, ...] | None = Field(
        default=None, description="Devices to prove the bundle on before it is published (gemcut devices)."
    )
    timeout: float | None = Field(default=None, ge=1, description="Seconds for the goldens on each device.")
    device_memory: Text | None = Field(default=None, description="The memory of arm64-vm, such as '2G'.")
    budgets: BudgetTable = Field(default_factory=BudgetTable, description="What each bundle must keep.")


class _Bundle(datafile.DataFile):
    output: Text | None = Field(
        default=None, description="Where it goes, relative to this file. Default: bundles/NAME (.gemcut for a zip)."
    )
    baseline: Text | None = Field(
        default=None, description="A bundle to compare speeds with, relative to this file, for budgets that are ratios."
    )


def _option_fields(runtimes: Iterable[RuntimePlugin]) -> dict[str, Any]:
    """A field for each option of these runtimes, by key."""
    options = (option for runtime in runtimes for option in runtime.options)
    return {option.name: (bool | None, Field(default=None, description=option.description)) for option in options}


class _Project(datafile.DataFile):
    model_config = ConfigDict(title="Gemcut project")


@dataclass(frozen=True)
class Tables:
    """The models of ``gemcut.toml``.

    Attributes:
        project: The model of the whole file.
        defaults: The model of its table ``[defaults]``.
        bundle: The model of a table ``[bundles.NAME]``.
    """

    project: type[datafile.DataFile]
    defaults: type[datafile.DataFile]
    bundle: type[datafile.DataFile]


@functools.cache
def tables(names: tuple[str, ...]) -> Tables:
    """Return the models of ``gemcut.toml``, with the options of these runtimes as keys."""
    options = _option_fields(runtime for runtime in RUNTIMES if runtime.name in names)
    defaults: Any = create_model("DefaultsTable", __base__=_Defaults, __doc__=_Defaults.__doc__, **options)
    bundle: Any = create_model(
        "BundleTable",
        __base__=(_Bundle, defaults),
        __doc__="One bundle, or with several runtimes, one for each.",
    )
    project = create_model(
        "ProjectFile",
        __base__=_Project,
        __doc__="What ``gemcut.toml`` holds.",
        defaults=(defaults, Field(default_factory=defaults)),
        bundles=(
            dict[Name, bundle],
            Field(min_length=1, description="The bundles by name; gemcut export --only NAME makes only that one."),
        ),
    )
    return Tables(project, defaults, bundle)


def schema() -> dict[str, Any]:
    """Return the JSON Schema of ``gemcut.toml``, as ``project/gemcut.schema.json`` has it."""
    found = tables(RUNTIMES.packaged).project.model_json_schema()
    found["properties"]["bundles"]["additionalProperties"] = False  # no invalid names
    without_null: dict[str, Any] = _without_null(found)
    return without_null


def _without_null(node: Any) -> Any:
    """The same schema for a language without null, in which a key that isn't set is missing: editors show it simply."""
    if isinstance(node, list):
        return [_without_null(item) for item in node]
    if not isinstance(node, dict):
        return node
    plain = {key: _without_null(value) for key, value in node.items() if (key, value) != ("default", None)}
    kinds = [kind for kind in plain.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) == 1:
        del plain["anyOf"]
        return {**kinds[0], **plain}
    return {**plain, "anyOf": kinds} if kinds else plain
