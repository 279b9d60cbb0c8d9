"""The tokenizer: loaded by transformers, checked against the embedding; and the ids that end a turn."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CheckpointError
from .families import Family

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerBase

_IMAGE_TOKEN = "<image_soft_token>"


def load_tokenizer(
    folder: Path, family: Family, text_config: PreTrainedConfig
) -> tuple[PreTrainedTokenizerBase, tuple[str, ...]]:
    """The checkpoint's tokenizer, and notes on how it fits the embedding.

    Raises:
        CheckpointError: There is none, it can't be read, or it has ids that the embedding has no row for.
    """
    if not any((folder / name).exists() for name in ("tokenizer.json", "tokenizer.model")):
        raise CheckpointError(
            f"{folder} has neither tokenizer.json nor tokenizer.model",
            hint="copy the tokenizer's files beside config.json",
        )
    from transformers import AutoTokenizer

    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # tokenizers raises a bare Exception on a file that it can't parse
        reason = " ".join(str(error).split()) or type(error).__name__
        raise CheckpointError(
            f"the tokenizer in {folder} can't be read: {reason}", hint="fetch the tokenizer's files again"
        ) from error
    return tokenizer, _check_vocabulary(tokenizer, family, text_config)


def _check_vocabulary(
    tokenizer: PreTrainedTokenizerBase, family: Family, text_config: PreTrainedConfig
) -> tuple[str, ...]:
    vocabulary = tokenizer.get_vocab()
    rows = int(text_config.vocab_size)
    # Gemma 3n's model takes row 0 for ids that its per-layer table has no row for; Gemma 4's would read past the end.
    if getattr(text_config, "hidden_size_per_layer_input", 0) and family.text_type != "gemma3n_text":
        rows = min(rows, int(text_config.vocab_size_per_layer_input))
    beyond = sorted((index, token) for token, index in vocabulary.items() if index >= rows)
    if not beyond:
        spare = rows - 1 - max(vocabulary.values())
        return (f"the embedding has {spare} rows more than the tokenizer has tokens",) if spare else ()
    if family.model_type == "gemma3_text" and beyond == [(rows, _IMAGE_TOKEN)]:
        return (
            f"the tokenizer has one token more than the embedding has rows: {_IMAGE_TOKEN}, id {rows}, "
            "as published Gemma 3 text checkpoints have it; text never holds it",
        )
    index, token = beyond[0]
    raise CheckpointError(
        f"the tokenizer doesn't fit the model: {len(beyond)} of its tokens have no row in the embedding's "
        f"{rows}, {token!r} (id {index}) first",
        hint="take the tokenizer that the model was trained with, or resize the embedding before saving",
    )


def stop_ids_of(
    generation: dict[str, Any],
    raw: dict[str, Any],
    text_config: PreTrainedConfig,
    tokenizer: PreTrainedTokenizerBase,
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Every id that ends a turn: of generation_config.json and config.json together.

    Where neither states one, the tokenizer's end of sequence stands in, and a note says so.

    Raises:
        CheckpointError: A stop id is no id of the embedding, or there is none at all.
    """
    text = raw.get("text_config")
    stated = [generation.get("eos_token_id"), raw.get("eos_token_id")]
    stated.append(text.get("eos_token_id") if isinstance(text, dict) else None)
    found: set[int] = set()
    for value in stated:
        for item in value if isinstance(value, list) else [value]:
            if item is not None:
                found.add(_stop_id(item, int(text_config.vocab_size)))
    if found:
        return tuple(sorted(found)), ()
    if tokenizer.eos_token_id is None:
        raise CheckpointError(
            "no stop token: generation_config.json, config.json and the tokenizer name no end of sequence",
            hint="add eos_token_id to generation_config.json",
        )
    note = f"no eos_token_id is stated: generation stops at the tokenizer's {tokenizer.eos_token!r}"
    return (_stop_id(tokenizer.eos_token_id, int(text_config.vocab_size)),), (note,)


def _stop_id(item: object, rows: int) -> int:
    if not isinstance(item, int) or isinstance(item, bool) or not 0 <= item < rows:
        raise CheckpointError(
            f"eos_token_id {item!r} is no token of a vocabulary of {rows}",
            hint="mend eos_token_id in generation_config.json and config.json",
        )
    return item
