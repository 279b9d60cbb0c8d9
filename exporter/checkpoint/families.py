"""The model types that can be opened, as `families.toml` lists them."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from ..errors import CheckpointError, UnsupportedError, nearest


@dataclass(frozen=True)
class Family:
    """One `model_type` that can be opened.

    Attributes:
        model_type: As config.json has it.
        text_type: The model_type of the text part's configuration.
        family: The family's name for a reader.
        licence: What the family is published under; shown only if a checkpoint states no licence.
        adapted: Which parts and features of it are supported.
    """

    model_type: str
    text_type: str
    family: str
    licence: str
    adapted: str


@dataclass(frozen=True)
class Layout:
    """How a checkpoint names its tensors.

    Attributes:
        name: The layout's name.
        decoder: The prefix that stands for transformers' ``model.``.
        head: The name of the head's tensor.
    """

    name: str
    decoder: str
    head: str


@cache
def _data() -> dict[str, Any]:
    return tomllib.loads(resources.files(__package__).joinpath("families.toml").read_text(encoding="utf-8"))


@cache
def supported() -> dict[str, Family]:
    """Return the families that `families.toml` names, by ``model_type``."""
    rows: dict[str, dict[str, Any]] = _data()["supported"]
    return {name: Family(model_type=name, **row) for name, row in rows.items()}


@cache
def layouts() -> tuple[Layout, ...]:
    """Return the naming layouts, in the order in which they are tried."""
    return tuple(Layout(**row) for row in _data()["layout"])


@cache
def other_parts() -> tuple[str, ...]:
    """Return the prefixes of tensors that don't belong to a text part."""
    return tuple(_data()["other_parts"]["prefixes"])


def family_of(model_type: object, where: str) -> Family:
    """Return the family of a configuration's ``model_type``.

    One that `families.toml` doesn't name is treated as transformers does: as a text model without other parts.

    Args:
        model_type: As config.json has it; None if it has none.
        where: The file that it was read from, for the message.

    Raises:
        CheckpointError: The configuration has no ``model_type``.
        UnsupportedError: The type is known and not yet supported, or transformers has no text model of it.
    """
    can = "supported: " + "; ".join(f"{name} ({row.adapted})" for name, row in supported().items())
    if not isinstance(model_type, str) or not model_type:
        raise CheckpointError(f"{where} has no model_type", hint=f"use the model's own config.json; {can}")
    if model_type in supported():
        return supported()[model_type]
    coming: dict[str, str] = _data()["not_yet"]
    if model_type in coming:
        raise UnsupportedError(
            f"{where}: model_type '{model_type}' ({coming[model_type]}) is not supported yet", hint=can
        )
    if _generates_text(model_type):
        return Family(model_type, model_type, model_type, "unknown", "text, as transformers has it")
    close = nearest(model_type, supported())
    raise UnsupportedError(f"{where}: unknown model_type '{model_type}': {close}", hint=can)


def _generates_text(model_type: str) -> bool:
    """Whether transformers has a causal language model whose whole configuration is of this type."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    return model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
