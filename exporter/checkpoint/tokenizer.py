"""The tokenizer, loaded by transformers and checked against the embedding."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CheckpointError
from .families import Family

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerBase

_SPLIT = "text is split into tokens as {} says, unlike in transformers' {}"
# Texts on which tokenizers that are set up differently disagree.
_PROBES = (
    "How are you doing?",
    "  call the bank",
    "set an alarm for 12:15",
    "a  b   c ",
    "a line\nand another\n\n",
    "tab\tx",
    "naïve café, Ｆｕｌｌ ﬁ ①",
    "日本語のテキスト",
    "привет 🙂",
    " ",
)
# What makes up a tokenizer: any one of these.
_PARTS = ("vocab.json", "merges.txt")
_FORMS: tuple[tuple[str, ...], ...] = (("tokenizer.json",), ("tokenizer.model",), _PARTS)
_IMAGE_TOKEN = "<image_soft_token>"


def has_tokenizer(folder: Path) -> bool:
    """Return whether a folder holds a tokenizer, in any of the forms that are read."""
    return any(all((folder / name).is_file() for name in names) for names in _FORMS)


def load_tokenizer(
    folder: Path, family: Family, text_config: PreTrainedConfig
) -> tuple[PreTrainedTokenizerBase, tuple[str, ...]]:
    """Return the checkpoint's tokenizer, and notes on how it fits the embedding.

    Args:
        folder: The checkpoint.
        family: Its family.
        text_config: The text part's configuration.

    Raises:
        CheckpointError: There is no tokenizer, it can't be read, or it has ids that the embedding has no row for.
    """
    if not has_tokenizer(folder):
        raise CheckpointError(
            f"{folder} has no tokenizer: no tokenizer.json, no tokenizer.model, no vocab.json with merges.txt",
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
    _check_parts(folder, tokenizer)
    notes = (*_own_pipeline(folder, tokenizer), *_as_for_prompts(tokenizer))
    return tokenizer, (*notes, *_check_vocabulary(tokenizer, family, text_config))


def _check_parts(folder: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse a tokenizer that doesn't hold what vocab.json says, where that is all there is.

    transformers' classes for SentencePiece don't read it, and make one of a handful of tokens without a word.
    """
    file = folder / _PARTS[0]
    if any((folder / name).is_file() for forms in _FORMS[:-1] for name in forms):
        return
    try:
        wanted = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file} can't be read: {error}", hint="fetch the tokenizer's files again") from error
    if not isinstance(wanted, dict):
        raise CheckpointError(f"{file} is not a JSON object", hint="fetch the tokenizer's files again")
    found = tokenizer.get_vocab()
    lost = next((token for token, index in wanted.items() if found.get(token) != index), None)
    if lost is not None:
        raise CheckpointError(
            f"{file}: transformers' {type(tokenizer).__name__} doesn't read it: it has no token {lost!r} at that id",
            hint="copy tokenizer.json, or tokenizer.model, beside config.json",
        )


def _own_pipeline(folder: Path, tokenizer: PreTrainedTokenizerBase) -> tuple[str, ...]:
    """Have text split as the checkpoint's own files say, if transformers' class for it does otherwise.

    transformers 5.23 rebuilds a LlamaTokenizer, whatever tokenizer.json has: with ``legacy`` false, as Llama 2 is
    published, no space is put before ``[INST]`` after ``<s>``, and a text's own first space is lost. Neither is so in
    the published tokenizer.json, nor in SentencePiece (huggingface/transformers, pull request 47700).
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return ()
    wanted = _stated_pipeline(folder / "tokenizer.json")
    if wanted is None:
        model = folder / "tokenizer.model"
        return _as_sentencepiece(model, tokenizer) if model.is_file() else ()
    present = tuple(_state(part) for part in (backend.normalizer, backend.pre_tokenizer))
    if present == tuple(map(_state, wanted)):
        return ()
    backend.normalizer, backend.pre_tokenizer = wanted
    return (_SPLIT.format("tokenizer.json", type(tokenizer).__name__),)


def _as_sentencepiece(file: Path, tokenizer: PreTrainedTokenizerBase) -> tuple[str, ...]:
    """Have text split as SentencePiece itself splits it with a tokenizer.model that stands alone.

    Raises:
        CheckpointError: Neither transformers' way nor SentencePiece's usual one with spaces gives its tokens, as with a
            Unigram model, another normalizer, or no byte fallback.
    """
    from sentencepiece import SentencePieceProcessor

    backend = tokenizer.backend_tokenizer
    right = SentencePieceProcessor(model_file=str(file))

    def differs() -> str | None:
        return next((t for t in _PROBES if backend.encode(t, add_special_tokens=False).ids != right.encode(t)), None)

    if differs() is None:
        return ()
    wanted = _sentencepiece_pipeline(backend)
    if wanted is not None:
        backend.normalizer, backend.pre_tokenizer = wanted
    text = differs()
    if text is None:
        return (_SPLIT.format(file.name, type(tokenizer).__name__),)
    raise CheckpointError(
        f"{file}: transformers' {type(tokenizer).__name__} splits {text!r} into other tokens than SentencePiece does",
        hint="put the tokenizer.json that the model was trained with beside it, or convert it to one and compare",
    )


def _state(part: Any) -> Any:
    return None if part is None else part.__getstate__()


def _stated_pipeline(file: Path) -> tuple[Any, Any] | None:
    """The normalizer and the pre-tokenizer of a tokenizer.json; None if there is no such file."""
    from tokenizers import Tokenizer

    if not file.is_file():
        return None
    raw = json.loads(file.read_text(encoding="utf-8-sig"))
    bare = {"version": "1.0", "added_tokens": [], "model": {"type": "BPE", "vocab": {}, "merges": []}}
    parts = {key: raw.get(key) for key in ("normalizer", "pre_tokenizer")}
    small = Tokenizer.from_str(json.dumps({**bare, **parts}))
    return small.normalizer, small.pre_tokenizer


def _sentencepiece_pipeline(backend: Any) -> tuple[Any, Any] | None:
    """SentencePiece's own way with spaces, if transformers puts one before a text; None if it puts none."""
    from tokenizers import normalizers, pre_tokenizers

    part = backend.pre_tokenizer
    if not isinstance(part, pre_tokenizers.Metaspace) or part.prepend_scheme == "never":
        return None
    steps = [normalizers.Prepend(part.replacement), normalizers.Replace(" ", part.replacement)]
    return normalizers.Sequence(steps), None


def _as_for_prompts(tokenizer: PreTrainedTokenizerBase) -> tuple[str, ...]:
    """Have a text taken whole, and nothing put after it: a prompt is to be continued.

    A tokenizer.json keeps the truncation and padding of the last call before it was saved. transformers turns them off
    at every call that doesn't ask for them; other readers of the file don't.
    """
    from tokenizers import processors

    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return ()
    backend.no_truncation()
    backend.no_padding()
    before, after = _put_around(backend)
    if not after:
        return ()
    named = [(backend.id_to_token(index), index) for index in before]
    backend.post_processor = processors.TemplateProcessing(
        single=[*(f"{token}:0" for token, _ in named), "$A:0"], special_tokens=named
    )
    left_out = " ".join(backend.id_to_token(index) for index in after)
    return (f"the tokenizer puts {left_out} after a text; it is left out, because a prompt is to be continued",)


def _put_around(backend: Any) -> tuple[list[int], list[int]]:
    """The ids that a tokenizer puts before and after a text."""
    bare, full = (list(backend.encode("x", add_special_tokens=own).ids) for own in (False, True))
    at = next((i for i in range(len(full)) if full[i : i + len(bare)] == bare), 0)
    return full[:at], full[at + len(bare) :]


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
        hint="use the tokenizer that the model was trained with, or resize the embedding before saving",
    )
