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
    """One `model_type` that can be opened, and what of it is taken."""

    model_type: str
    text_type: str
    family: str
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
    """The families that `families.toml` names, by ``model_type``."""
    rows: dict[str, dict[str, Any]] = _data()["supported"]
    return {name: Family(model_type=name, **row) for name, row in rows.items()}


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

    One that `families.toml` doesn't name is taken as transformers has it: as a text model without other parts.

    Args:
        model_type: As config.json has it; None where it has none.
        where: The file that it was read from, for the message.

    Raises:
        CheckpointError: config.json has no ``model_type``.
        UnsupportedError: transformers has no text model of the type, or it is known and not yet supported.
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
    if _generates_text(model_type):
        return Family(model_type, model_type, model_type, "unknown", "text, as transformers has it")
    close = nearest(model_type, supported())
    raise UnsupportedError(f"{where}: unknown model_type '{model_type}': {close}", hint=can)


def _generates_text(model_type: str) -> bool:
    """Whether transformers has a causal language model whose whole configuration is of this type."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    return model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
