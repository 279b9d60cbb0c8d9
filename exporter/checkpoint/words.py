"""Whose tokenizer and chat template are used: an adapter's folder has those that the fine-tune was trained with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import CheckpointError
from .tokenizer import has_tokenizer

_SETTINGS, _TEMPLATE = "tokenizer_config.json", "chat_template.jinja"


def words_folder(base: Path, adapter: Path | None) -> Path:
    """Return the folder whose tokenizer is used: the adapter's if it has one, as trainers save it, else the base's."""
    return adapter if adapter is not None and has_tokenizer(adapter) else base


def use_adapters_words(tokenizer: Any, base: Path, adapter: Path) -> tuple[str, ...]:
    """Have the tokenizer use the chat template and the end token in an adapter's folder, and return notes.

    Args:
        tokenizer: As transformers loaded it from ``words_folder``; its ``chat_template`` and ``eos_token`` are set.
        base: The base model's folder, whose template is used if the adapter has none.
        adapter: The adapter's folder.

    Raises:
        CheckpointError: The adapter's tokenizer_config.json can't be read, or its end token is no token.
    """
    notes = []
    whole = words_folder(base, adapter) == adapter
    if whole:
        notes.append("the tokenizer is the adapter's own")
    own, bases = _template(adapter), _template(base)
    if own is not None or whole:
        tokenizer.chat_template = bases if own is None else own
    if own is not None and own != bases:
        notes.append("the chat template is the adapter's own, unlike its base model's")
    end = _settings(adapter).get("eos_token")
    end = end.get("content") if isinstance(end, dict) else end
    if not whole and isinstance(end, str) and end != tokenizer.eos_token:
        if end not in tokenizer.get_vocab():
            raise CheckpointError(
                f"{adapter / _SETTINGS}: the eos_token {end!r} is no token of the base model",
                hint="copy the tokenizer that the adapter was trained with into its folder",
            )
        tokenizer.eos_token = end
        notes.append(f"the end of sequence is the adapter's own, {end!r}")
    return tuple(notes)


def _settings(folder: Path) -> dict[str, Any]:
    path = folder / _SETTINGS
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} can't be read: {error}", hint="save the tokenizer again") from error
    return found if isinstance(found, dict) else {}


def _template(folder: Path) -> Any:
    """A folder's template, or several by name, as transformers finds them."""
    if (folder / _TEMPLATE).is_file():
        return (folder / _TEMPLATE).read_text(encoding="utf-8-sig")
    found = _settings(folder).get("chat_template")
    if isinstance(found, list):
        return {
            one["name"]: one["template"] for one in found if isinstance(one, dict) and {"name", "template"} <= set(one)
        }
    return found
