"""Opening of a checkpoint: all that can be known of it, and be wrong with it, before its weights are loaded."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CheckpointError, UnsupportedError, UsageError
from .adapters.adapter_config import FILE as ADAPTER
from .chat_template import choose_template
from .families import family_of
from .formats import (
    foreign_config,
    foreign_files,
    list_files,
    refuse_embedding_model,
    refuse_other_task,
    refuse_quantized,
    refuse_quantized_tensors,
)
from .hub import Place, locate, stored_dtypes
from .licence import read_licence
from .opened import Checkpoint, Description
from .separate_experts import with_stacked_experts
from .start_token import start_token
from .stop_tokens import stop_ids_of
from .tensors import INDEX, SINGLE, TensorIndex, open_tensors
from .tokenizer import load_tokenizer
from .weights import weight_map
from .words import use_adapters_words, words_folder
from .wrappers import unwrapped

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

    from .adapters.adapter import Adapter

SMALLEST_CONTEXT = 32
_NEEDED = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "max_position_embeddings")


def describe(model: str) -> Description:
    """Read the configuration of ``model`` alone; for a hub id, no weights are fetched.

    Args:
        model: A directory, or ``org/name[@revision]``.

    Raises:
        CheckpointError: There is no config.json, or it can't be read; also as for `locate`.
        UnsupportedError: The ``model_type`` is unknown or not yet supported, or the checkpoint is quantized.
    """
    return _describe(locate(model, weights=False))


def open_checkpoint(model: str, *, chat_template: str | None = None, adapter: Path | None = None) -> Checkpoint:
    """Open a Hugging Face checkpoint, and check all of it short of reading the weights' values.

    Args:
        model: A directory, or ``org/name[@revision]``; an existing directory wins.
        chat_template: None for the model's own, the path of a Jinja file, or ``none`` for a base model.
        adapter: The folder of a PEFT adapter, which is merged in as tensors are read.

    Raises:
        CheckpointError: Something is missing, damaged, or disagrees with something else in it.
        UnsupportedError: Gemcut doesn't support the model type, number format or file format.
        UsageError: ``chat_template`` can't be read.
        LackingError: The hub can't be reached, or the disk is full.
    """
    place = locate(model)
    described = _describe(place)
    text_config = described.text_config
    if adapter is None:
        _refuse_adapter_beside(place)
    tensors, wrapper_notes = unwrapped(_open_tensors(place))
    tensors = with_stacked_experts(text_config, tensors)
    names, layout_notes = weight_map(text_config, tensors)
    tensors, merged, text_config = _adapted(adapter, tensors, names, text_config)
    merged_notes = merged.notes if merged is not None else ()
    generation = _generation(place.path)
    words = words_folder(place.path, adapter)
    tokenizer, token_notes = load_tokenizer(words, described.family, text_config)
    if adapter is not None:
        token_notes += use_adapters_words(tokenizer, place.path, adapter)
    template, template_notes = choose_template(place.path, tokenizer, chat_template)
    raw = read_json(place.path / "config.json")
    stop_ids, stop_notes = stop_ids_of(generation, raw, text_config, tokenizer, template)
    licence, licence_notes = read_licence(place.path, described.family)
    return Checkpoint(
        path=place.path,
        name=place.name,
        source=place.source,
        revision=place.revision,
        family=described.family,
        config=described.config,
        text_config=text_config,
        tokenizer=tokenizer,
        words=words,
        chat_template=template,
        generation=generation,
        stop_ids=stop_ids,
        bos_id=start_token(tokenizer, template),
        licence=licence,
        notes=(
            *described.notes,
            *wrapper_notes,
            *layout_notes,
            *token_notes,
            *template_notes,
            *stop_notes,
            *licence_notes,
            *merged_notes,
        ),
        tensors=tensors,
        adapter=merged,
    )


def _refuse_adapter_beside(place: Place) -> None:
    """Refuses a model's folder with an adapter in it: whether that is merged already, nobody can know."""
    if (place.path / ADAPTER).is_file() and any(place.path.glob("adapter_model.*")):
        raise CheckpointError(
            f"{place.source} holds a whole model and an adapter ({ADAPTER}), which transformers would attach to it",
            hint=f"Pass --adapter {place.source} to merge it, or move {ADAPTER} away if it is merged already.",
        )


def _adapted(
    folder: Path | None, tensors: TensorIndex, names: dict[str, str], text_config: PreTrainedConfig
) -> tuple[TensorIndex, Adapter | None, PreTrainedConfig]:
    """The tensors with the adapter in ``folder`` merged as they are read, that adapter, and the merged one's config."""
    if folder is None:
        return tensors, None, text_config
    from .adapters.overlay import adapt  # which reads tensors itself

    return adapt(folder, tensors, names, text_config)


def check_context(checkpoint: Checkpoint | Description, context: int) -> None:
    """Check a context length against what the model was made for.

    Args:
        checkpoint: The checkpoint, or its description.
        context: The length in tokens.

    Raises:
        UsageError: It is too short to be of use, or longer than ``max_position_embeddings``.
    """
    longest = int(checkpoint.text_config.max_position_embeddings)
    if context < SMALLEST_CONTEXT:
        raise UsageError(
            f"a context of {context} tokens is too short", hint=f"choose a context of {SMALLEST_CONTEXT} to {longest}"
        )
    if context > longest:
        raise UsageError(
            f"a context of {context} tokens is longer than the model's {longest} (max_position_embeddings)",
            hint=f"pass --context {longest} or less",
        )


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file.

    Args:
        path: The file.

    Raises:
        CheckpointError: It can't be read, or isn't an object.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} can't be read: {error}", hint="fetch the file again") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} is not a JSON object", hint="fetch the file again")
    return found


def _describe(place: Place) -> Description:
    path = place.path / "config.json"
    if not path.exists():
        raise _no_config(place)
    raw = read_json(path)
    foreign = foreign_config(place.path, place.source, raw)
    if foreign is not None:
        raise foreign
    family = family_of(raw.get("model_type"), str(path))
    text = raw.get("text_config")
    text_type = text.get("model_type", family.text_type) if isinstance(text, dict) else family.text_type
    if text_type != family.text_type:
        raise UnsupportedError(
            f"{path}: the text part of a '{family.model_type}' model is '{family.text_type}', not '{text_type}'",
            hint="use the model's own config.json",
        )
    notes = refuse_quantized(place.path, place.source, raw, lambda: stored_dtypes(place))
    refuse_embedding_model(place.path)
    refuse_other_task(path, raw)
    config = _load_config(place.path)
    text_config = config.get_text_config(decoder=True)
    for part in (config, text_config):
        if notes and hasattr(part, "quantization_config"):
            del part.quantization_config
    tied = getattr(config, "tie_word_embeddings", None)
    if text_config is not config and tied is not None and text_config.tie_word_embeddings != tied:
        text_config = copy.deepcopy(text_config)  # the whole model's setting is the one that holds
        text_config.tie_word_embeddings = tied
    if getattr(text_config, "use_bidirectional_attention", None) in (True, "all"):
        raise UnsupportedError(
            f"{path} describes an embedding model (use_bidirectional_attention), which can't continue a text",
            hint="use a model that generates text",
        )
    missing = [name for name in _NEEDED if not isinstance(getattr(text_config, name, None), int)]
    if missing:
        raise UnsupportedError(
            f"{path}: a model of type '{text_config.model_type}' has no {missing[0]}, as transformer decoders have",
            hint="See the table of models in README.md for what works today.",
        )
    return Description(place, family, config, text_config, notes)


def _open_tensors(place: Place) -> TensorIndex:
    """The tensors of a checkpoint whose form Gemcut reads."""
    if not any((place.path / name).exists() for name in (SINGLE, INDEX)):
        foreign = foreign_files(list_files(place.path), place.source, place.path)
        if foreign is not None:
            raise foreign
    tensors = open_tensors(place.path)
    refuse_quantized_tensors(place.path, place.source, tensors.names())
    return tensors


def _load_config(folder: Path) -> PreTrainedConfig:
    from transformers import AutoConfig

    try:
        config: PreTrainedConfig = AutoConfig.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # a configuration is foreign data: its class raises whatever fits the mistake
        reason = " ".join(str(error).split()) or type(error).__name__
        raise CheckpointError(
            f"{folder / 'config.json'} is not a valid configuration: {reason}",
            hint="use the model's own config.json",
        ) from error
    return config


def _no_config(place: Place) -> CheckpointError | UnsupportedError:
    files = sorted(path.name for path in place.path.iterdir())
    if "adapter_config.json" in files:
        return CheckpointError(
            f"{place.source} holds an adapter (adapter_config.json) but no config.json",
            hint=f"name its base model as MODEL: gemcut export BASE --adapter {place.source}",
        )
    foreign = foreign_files(list_files(place.path), place.source, place.path)
    return foreign or CheckpointError(
        f"{place.source} has no config.json", hint="name the directory that holds config.json and the weights"
    )


def _generation(folder: Path) -> dict[str, Any]:
    path = folder / "generation_config.json"
    found = read_json(path) if path.exists() else {}
    about_itself = ("transformers_version", "_from_model_config")
    return {key: value for key, value in found.items() if key not in about_itself}
