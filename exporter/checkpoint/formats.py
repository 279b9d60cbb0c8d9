"""Checkpoints that Gemcut doesn't read, recognized by their names: quantized already, or in another format.

The facts are in ``formats.toml``, each with its source.
"""

from __future__ import annotations

import fnmatch
import json
import re
import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from ..errors import UnsupportedError
from .licence import front_matter

# Dtypes of weights that are floats, in safetensors' names; those of eight bits need scales.
FLOATS = frozenset(("BF16", "F16", "F32", "F64"))
_LAYOUT = "in Hugging Face's layout (config.json and model.safetensors, bfloat16 or float32)"


@cache
def _data() -> dict[str, Any]:
    return tomllib.loads(resources.files(__package__).joinpath("formats.toml").read_text(encoding="utf-8"))


def original_of(source: str, folder: Path | None) -> str:
    """Return a hint on which checkpoint to use instead of one that Gemcut doesn't read.

    Args:
        source: The directory or hub id that was asked for.
        folder: Where its README.md is, whose ``base_model`` says it best; None if there is none.
    """
    stated = _base_model(folder)
    if stated:
        return f"use {stated}, which its model card names as the original"
    name = source.partition("@")[0] if folder is None or not Path(source).exists() else folder.name
    # A path's last part is all that a hub id's name and a folder's have in common.
    for wanted in dict.fromkeys((name, name.rstrip("/").rpartition("/")[2])):
        for row in _data()["original"]:
            found = re.fullmatch(row["match"], wanted, re.IGNORECASE)
            if found:
                return f"use {found.expand(row['repository'])}" + (f" ({row['why']})" if row["why"] else "")
    last = name.rpartition("/")[2]
    stripped = re.sub(_data()["suffixes"]["match"] + r"(?:[-_.].*)?$", "", last, flags=re.IGNORECASE)
    likely = f", most likely named {stripped}" if stripped and stripped != last else ""
    return f"use the float checkpoint that it was made from{likely}, {_LAYOUT}"


def _base_model(folder: Path | None) -> str:
    if folder is None:
        return ""
    base = front_matter(folder / "README.md")[0].get("base_model")
    first = base[0] if isinstance(base, list) and base else base
    return first if isinstance(first, str) else ""


def refuse_quantized(
    folder: Path, source: str, raw: Mapping[str, Any], dtypes: Callable[[], Collection[str]]
) -> tuple[str, ...]:
    """Refuse a checkpoint that is quantized, as config.json or a file beside it says, and return notes.

    A model that was trained over quantized weights and then merged (QLoRA) keeps a ``quantization_config`` that is no
    longer true: its tensors are floats, and there are no scales beside them.

    Args:
        folder: The checkpoint.
        source: What the user wrote.
        raw: The content of config.json.
        dtypes: Gives the dtypes of all tensors in safetensors' names; none if there are no headers to read.

    Raises:
        UnsupportedError: It is quantized; the message names the method, the hint what to use instead.
    """
    path, notes = folder / "config.json", []
    parts = (raw, raw.get("text_config"))
    for settings in (part.get("quantization_config") for part in parts if isinstance(part, Mapping)):
        if not settings:
            continue
        method = _method(settings)
        found = dtypes() if method in _data()["methods"]["leave_floats"] else ()
        if not found or not set(found) <= FLOATS:
            raise _quantized(path, method, folder, source)
        notes.append(f"config.json still names {_titled(method)}, but every tensor is a float: taken as they are")
    for row in _data()["member"]:
        if any(isinstance(part, Mapping) and all(part.get(key) for key in row["keys"]) for part in parts):
            raise _quantized(path, row["name"], folder, source)
    for row in _data()["side_file"]:
        if (folder / row["file"]).is_file():
            raise _quantized(folder / row["file"], row["name"], folder, source)
    return tuple(dict.fromkeys(notes))


def _method(settings: Any) -> str:
    """A method's name, as config.json has it."""
    if not isinstance(settings, Mapping):
        return "quantization_config"
    method = settings.get("quant_method")
    if method is None and (settings.get("load_in_4bit") or settings.get("load_in_8bit")):
        return "bitsandbytes"
    return str(method or settings.get("quant_algo") or "quantization_config")


def _quantized(path: Path, method: str, folder: Path, source: str) -> UnsupportedError:
    return UnsupportedError(
        f"{path}: the checkpoint is already quantized ({_titled(method)})",
        hint=f"{original_of(source, folder)}: Gemcut quantizes from the float checkpoint",
    )


def _titled(method: str) -> str:
    title = _data()["methods"]["titles"].get(method, method)
    return method if title.lower() == method.lower() else f"{title}, {method}"


def refuse_quantized_tensors(folder: Path, source: str, names: Iterable[str]) -> None:
    """Refuse a checkpoint whose tensors have the names of quantized ones, though config.json doesn't say so.

    Args:
        folder: The checkpoint.
        source: What the user wrote.
        names: The names of all tensors.

    Raises:
        UnsupportedError: It is quantized; the message names the tensor and the method.
    """
    known = sorted(names)
    for row in _data()["tensor"]:
        found = next((name for name in known if name.endswith(tuple(row["ends"]))), None)
        if found is not None:
            raise _quantized(Path(f"tensor '{found}'"), row["name"], folder, source)


def refuse_other_task(path: Path, raw: Mapping[str, Any]) -> None:
    """Refuse a model whose head puts out something else than a next token, which its ``architectures`` say.

    Args:
        path: The config.json.
        raw: Its content.

    Raises:
        UnsupportedError: It classifies, or marks words; the message names the architecture.
    """
    stated = raw.get("architectures")
    for name in stated if isinstance(stated, list) else ():
        for row in _data()["architecture"]:
            if isinstance(name, str) and name.endswith(row["ends"]):
                raise UnsupportedError(
                    f"{path} describes {row['title']} ({name}), which can't continue a text",
                    hint="use a model that generates text (…ForCausalLM, …ForConditionalGeneration)",
                )


def refuse_embedding_model(folder: Path) -> None:
    """Refuse a sentence-transformers model, which may have the ``model_type`` of its family's generating models.

    Args:
        folder: The checkpoint.

    Raises:
        UnsupportedError: modules.json, which sentence-transformers writes, names a pooling layer.
    """
    path = folder / "modules.json"
    try:
        modules = json.loads(path.read_text(encoding="utf-8-sig")) if path.is_file() else []
    except (OSError, ValueError):
        return
    kinds = [str(one.get("type", "")) for one in modules if isinstance(one, dict)] if isinstance(modules, list) else []
    if any(kind.rpartition(".")[2] == "Pooling" for kind in kinds):
        raise UnsupportedError(
            f"{path} describes an embedding model (it pools what the layers put out), which can't continue a text",
            hint="use a model that generates text",
        )


def foreign_config(folder: Path, source: str, raw: Mapping[str, Any]) -> UnsupportedError | None:
    """Return the error for a config.json of another framework; None if it isn't known as one.

    Args:
        folder: The checkpoint.
        source: What the user wrote.
        raw: The content of config.json.
    """
    for row in _data()["config"]:
        if all(key in raw for key in row["keys"]) and "model_type" not in raw:
            return _foreign(f"{folder / 'config.json'} belongs to {row['title']}", row, folder, source)
    return None


def foreign_files(files: Iterable[str], source: str, folder: Path | None) -> UnsupportedError | None:
    """Return the error for a checkpoint in another format; None if none of its files is known.

    Args:
        files: All files of a directory or repository, by their paths in it.
        source: What the user wrote.
        folder: Where README.md is, if it is here.
    """
    names = sorted(files)
    for row in _data()["files"]:
        found = [_match(names, pattern) for pattern in row["files"]]
        if all(found):
            verb = "is" if len(found) == 1 else "are"
            return _foreign(f"{source}: {' and '.join(map(str, found))} {verb} {row['title']}", row, folder, source)
    return None


def _match(names: Sequence[str], pattern: str) -> str | None:
    """The first file that fits, by its whole path or its own name; letter case aside."""
    for name in names:
        ways = (name.lower(), name.rpartition("/")[2].lower())
        if any(fnmatch.fnmatchcase(way, pattern.lower()) for way in ways):
            return name
    return None


def _foreign(message: str, row: Mapping[str, Any], folder: Path | None, source: str) -> UnsupportedError:
    hint = row.get("hint") or original_of(source, folder)
    return UnsupportedError(f"{message}; Gemcut quantizes from the float safetensors", hint=hint)


def list_files(folder: Path) -> list[str]:
    """Return the files of a directory and of its folders down to the third level, by their paths in it."""
    found = [path for pattern in ("*", "*/*", "*/*/*") for path in folder.glob(pattern)]
    return sorted(path.relative_to(folder).as_posix() for path in found)
