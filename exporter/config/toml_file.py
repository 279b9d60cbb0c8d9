"""Reading of the TOML files that people write (targets, recipes) into strict pydantic models.

Every mistake becomes a GemcutError that names the file, the key, and the nearest key or value that is known.
"""

from __future__ import annotations

import json
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import UnsupportedError, UsageError, nearest

Model = TypeVar("Model", bound="DataFile")


class DataFile(BaseModel):
    """A table of a TOML file: frozen, and without any key that nothing reads."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def shipped(package: str, folder: str = "") -> dict[str, Path]:
    """Return the TOML files that a package holds.

    Args:
        package: An importable package, such as ``gemcut.targets``.
        folder: A folder in it; empty for the package's own.

    Returns:
        Paths by name without ``.toml``, sorted by name.
    """
    root = Path(str(resources.files(package))) / folder
    return {path.stem: path for path in sorted(root.glob("*.toml"))}


def locate(name_or_file: str, known: dict[str, Path], kind: str) -> Path:
    """Find the file that ``name_or_file`` means.

    Anything that ends in ``.toml`` or holds a path separator is a file, all else a shipped name.

    Args:
        name_or_file: What the user wrote.
        known: The shipped files, as ``shipped`` returns them.
        kind: What the file is, for messages: ``target`` or ``recipe``.

    Raises:
        UsageError: The file doesn't exist.
        UnsupportedError: No shipped ``kind`` has that name; the message has the nearest.
    """
    if name_or_file.endswith(".toml") or "/" in name_or_file or "\\" in name_or_file:
        path = Path(name_or_file).expanduser()
        if not path.is_file():
            raise UsageError(f"no {kind} file at {path}", hint=f"run gemcut {kind}s to list the shipped ones")
        return path
    if name_or_file not in known:
        raise UnsupportedError(
            f"unknown {kind} '{name_or_file}': {nearest(name_or_file, known)}",
            hint=f"run gemcut {kind}s to list them; to use a file of your own, write its suffix too: NAME.toml",
        )
    return known[name_or_file]


def read(path: Path, model: type[Model], kind: str) -> Model:
    """Read one TOML file.

    Args:
        path: The file.
        model: The model that it must fit.
        kind: What the file is, for messages: ``target`` or ``recipe``.

    Raises:
        UsageError: It isn't TOML, isn't text, or a value is missing or of the wrong kind.
        UnsupportedError: A key or a value is unknown; the message has the nearest.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path}: not a TOML file: {error}", hint=f"run gemcut {kind}s show NAME to see one"
        ) from error
    except OSError as error:
        raise UsageError(f"{path}: can't be read: {error.strerror}") from error
    try:
        return model.model_validate_json(json.dumps(data, default=str))
    except ValidationError as error:
        raise _explain(error, path, model, kind) from error


def _explain(error: ValidationError, path: Path, model: type[BaseModel], kind: str) -> UsageError | UnsupportedError:
    urgent = {"extra_forbidden": 0, "literal_error": 1}  # a misspelt key is why another is missing
    first = min(error.errors(), key=lambda each: urgent.get(each["type"], 2))
    where = ".".join(str(part) for part in first["loc"])
    hint = f"see {kind}.schema.json in the package for what a {kind} file holds; gemcut {kind}s show NAME prints one"
    if first["type"] == "extra_forbidden":
        key = str(first["loc"][-1])
        known = _keys(model, first["loc"][:-1])
        return UnsupportedError(f"{path}: unknown key '{where}': {nearest(key, known)}", hint=hint)
    if first["type"] == "literal_error":
        known = _choices(model, first["loc"])
        return UnsupportedError(
            f"{path}: {where} = '{first['input']}': {nearest(str(first['input']), known)}", hint=hint
        )
    if first["type"] == "missing":
        return UsageError(f"{path}: the key '{where}' is missing", hint=hint)
    message = first["msg"].removeprefix("Value error, ")
    return UsageError(f"{path}: {where}: {message}" if where else f"{path}: {message}", hint=hint)


def _walk(annotation: Any, loc: tuple[int | str, ...]) -> Any:
    """The annotation at ``loc``: fields of models by name, items of containers by their last argument."""
    for part in loc:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            field = annotation.model_fields.get(str(part))
            annotation = field.annotation if field else None
        else:
            arguments = [a for a in get_args(annotation) if a is not Ellipsis]
            annotation = arguments[-1] if arguments else None
    return annotation


def _keys(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    owner = _walk(model, loc)
    return list(owner.model_fields) if isinstance(owner, type) and issubclass(owner, BaseModel) else []


def _choices(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    return [str(choice) for choice in get_args(_walk(model, loc))]
