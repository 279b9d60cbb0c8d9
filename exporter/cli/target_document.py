"""A target as a JSON document, with an object for each runtime that a target may have a table for."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

from ..runtimes import RUNTIMES, find_runtime
from ..target import RuntimeChoices, Target

_COMMON: dict[str, tuple[Any, Any]] = {
    "prefill_lengths": (tuple[int, ...], (128,)),
    "recipe": (str | None, None),
    "context": (int | None, None),
}


@functools.cache
def document_type(names: tuple[str, ...]) -> type:
    """Return the document's dataclass, with an object for each of these runtimes."""
    fields: list[tuple[str, Any, Any]] = [
        (field.name, field.type, field) for field in dataclasses.fields(Target) if field.name != "own"
    ]
    resolved = [(name, _type(name), _default(field)) for name, _, field in fields]
    own = [(name, kind | None, dataclasses.field(default=None)) for name, kind in _choices_types(names).items()]
    made = dataclasses.make_dataclass("Target", [*resolved, *own], frozen=True)
    made.__doc__ = Target.__doc__
    return made


def to_document(target: Target) -> Any:
    """Return a target as a document, without what it says about runtimes of other distributions."""
    kind = document_type(RUNTIMES.packaged)
    values = {field.name: getattr(target, field.name) for field in dataclasses.fields(Target) if field.name != "own"}
    types = _choices_types(RUNTIMES.packaged)
    own = {name: _choices(types[name], choices) for name, choices in target.own.items() if name in types}
    return kind(**values, **own)


def _type(name: str) -> Any:
    import typing

    return typing.get_type_hints(Target)[name]


def _default(field: Any) -> Any:
    if field.default is not dataclasses.MISSING:
        return dataclasses.field(default=field.default)
    return dataclasses.field()


@functools.cache
def _choices_types(names: tuple[str, ...]) -> dict[str, type]:
    """The dataclass of each runtime's object, by the runtime's name; only for runtimes with a table in targets."""
    found = {}
    for name in names:
        runtime = find_runtime(name)
        options = [option.name for option in runtime.options if option.in_target]
        if not (options or runtime.table_keys):
            continue
        keys = {key: _COMMON[key] for key in _COMMON if key in runtime.table_keys}
        lengths = {key: keys.pop(key) for key in ("prefill_lengths",) if key in keys}
        choices = {**lengths, **dict.fromkeys(options, (bool, False)), **keys}
        fields: list[Any] = [
            (key, kind, dataclasses.field(default=default)) for key, (kind, default) in choices.items()
        ]
        made = dataclasses.make_dataclass(f"{name.capitalize()}Choices", fields, frozen=True)
        made.__doc__ = f"What a target chooses for {runtime.name} alone; null takes the target's own value."
        found[name] = made
    return found


def _choices(kind: type, choices: RuntimeChoices) -> Any:
    values = {"prefill_lengths": choices.prefill_lengths, "recipe": choices.recipe, "context": choices.context}
    known = {field.name for field in dataclasses.fields(kind)}
    return kind(**{key: value for key, value in {**values, **choices.options}.items() if key in known})
