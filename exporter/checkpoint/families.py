"""The model types that can be opened, as `families.toml` has them."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from ..errors import CheckpointError, UnsupportedError, nearest


@dataclass(frozen=True)
class Family:
    """One `model_type` that can be opened, and what of it is adapted for which ``runtimes``."""

    model_type: str
    text_type: str
    family: str
    runtimes: tuple[str, ...]
    licence: str
    adapted: str


@dataclass(frozen=True)
class Layout:
    """Where a checkpoint's tensor names start: ``decoder`` stands for transformers' ``model.``."""

    name: str
    decoder: str
    head: str


@cache
def _data() -> dict[str, Any]:
    return tomllib.loads(resources.files(__package__).joinpath("families.toml").read_text(encoding="utf-8"))


@cache
def supported() -> dict[str, Family]:
    """The supported families by ``model_type``."""
    rows: dict[str, dict[str, Any]] = _data()["supported"]
    return {name: Family(model_type=name, **row | {"runtimes": tuple(row["runtimes"])}) for name, row in rows.items()}


@cache
def layouts() -> tuple[Layout, ...]:
    """The naming layouts, in the order in which they are tried."""
    return tuple(Layout(**row) for row in _data()["layout"])


@cache
def other_parts() -> tuple[str, ...]:
    """Prefixes of tensors that belong to no text part."""
    return tuple(_data()["other_parts"]["prefixes"])


def family_of(model_type: object, where: str) -> Family:
    """The family of a configuration's ``model_type``.

    Args:
        model_type: As config.json has it; None where it has none.
        where: The file that it was read from, for the message.

    Raises:
        CheckpointError: config.json has no ``model_type``.
        UnsupportedError: The type is unknown, or known and not yet supported.
    """
    can = "supported: " + "; ".join(f"{name} ({row.adapted})" for name, row in supported().items())
    if not isinstance(model_type, str) or not model_type:
        raise CheckpointError(f"{where} has no model_type", hint=f"take config.json from the model; {can}")
    if model_type in supported():
        return supported()[model_type]
    coming: dict[str, str] = _data()["not_yet"]
    if model_type in coming:
        raise UnsupportedError(
            f"{where}: model_type '{model_type}' ({coming[model_type]}) is not supported yet", hint=can
        )
    close = nearest(model_type, supported())
    raise UnsupportedError(f"{where}: unknown model_type '{model_type}': {close}", hint=can)


def refuse_runtime(family: Family, runtime: str) -> None:
    """Checks that a family is adapted for a runtime.

    Raises:
        UnsupportedError: It isn't; the message names the runtimes that it is adapted for, and what this one takes.
    """
    if runtime in family.runtimes:
        return
    others = [name for name, row in supported().items() if runtime in row.runtimes]
    known = sorted({name for row in supported().values() for name in row.runtimes})
    takes = f"{runtime} takes {', '.join(others)}" if others else nearest(runtime, known)
    raise UnsupportedError(
        f"{family.family} (model_type '{family.model_type}') is not adapted for {runtime} yet",
        hint=f"--runtime {family.runtimes[0]} takes it; {takes}",
    )
