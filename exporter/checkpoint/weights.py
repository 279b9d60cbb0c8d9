"""The weights of the text part: which tensor is which parameter, and the float model that holds them."""

from __future__ import annotations

import copy
import difflib
import re
from typing import TYPE_CHECKING

from ..errors import CheckpointError, UnsupportedError
from ..modeling.parts import PARTS, TEXT_DECODER
from .families import Layout, layouts, other_parts
from .formats import FLOATS
from .tensors import TensorIndex

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PreTrainedConfig

    from .opened import Checkpoint

HEAD = "lm_head.weight"
EMBEDDING = "model.embed_tokens.weight"
_SHARED = ("k_proj", "v_proj", "k_norm", "v_norm")
_HINT = "config.json and the weights aren't of one model, or it wasn't saved whole: save both with save_pretrained"
_CLASSIFIER_HINT = "This is a classifier, which can't continue a text: use the model that it was made from."
_CLASSIFIERS = ("score.", "classifier.", "qa_outputs.")


def weight_map(text_config: PreTrainedConfig, tensors: TensorIndex) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return which tensor of the checkpoint is which parameter of transformers' text model, from headers alone.

    Args:
        text_config: The text part's configuration.
        tensors: The checkpoint's tensors.

    Returns:
        Names as in the causal language model's ``state_dict`` -> names in the checkpoint, without a tied
        head; and notes on what is left out.

    Raises:
        CheckpointError: A text tensor is missing, unexpected, or of another shape than the config says.
        UnsupportedError: A tensor isn't float, or transformers' model has other names than Gemma's and Llama's.
    """
    expected = _expected_shapes(text_config)
    if EMBEDDING not in expected:
        raise UnsupportedError(
            f"transformers' model of type '{text_config.model_type}' has no '{EMBEDDING}': its parts have names "
            "that Gemcut doesn't know.",
            hint="This family needs an adaptation that Gemcut does not have yet; please report it.",
        )
    layout = _layout(tensors)
    tied = bool(text_config.tie_word_embeddings)
    names = {name: _stored_name(name, layout) for name in expected if not (tied and name == HEAD)}
    for name, stored in names.items():
        if stored not in tensors:
            raise _missing(name, stored, set(tensors.names()) - set(names.values()))
        if tensors.shape(stored) != expected[name]:
            raise CheckpointError(
                f"{tensors.shard(stored).name}: tensor '{stored}' is {list(tensors.shape(stored))}, "
                f"but config.json makes it {list(expected[name])}",
                hint=_resized(name, tensors.shape(stored), expected[name]) or _HINT,
            )
        if tensors.dtype(stored) not in FLOATS:
            raise UnsupportedError(
                f"{tensors.shard(stored).name}: tensor '{stored}' is {tensors.dtype(stored)}, not a float",
                hint="use the float checkpoint (bfloat16, float16 or float32)",
            )
    if tied and (head := _stored_name(HEAD, layout)) in tensors:
        names[HEAD] = head  # stored twice: compared when loaded
    return names, _left_out(text_config, tensors, layout, set(names.values()))


def _missing(name: str, stored: str, spare: set[str]) -> CheckpointError:
    close = difflib.get_close_matches(stored, spare, n=1, cutoff=0.4)
    there = f"; the nearest there is '{close[0]}'" if close else ""
    hint = _HINT
    if name == HEAD:
        hint = "The model was saved without its head: save it as AutoModelForCausalLM loads it, which has one."
        if any(other.startswith(_CLASSIFIERS) for other in spare):
            hint = _CLASSIFIER_HINT
    return CheckpointError(f"tensor '{stored}' is missing{there}", hint=hint)


def _resized(name: str, shape: tuple[int, ...], wanted: tuple[int, ...]) -> str | None:
    """What to do about an embedding or a head of other rows than config.json says; None if that isn't what is wrong."""
    if name not in (HEAD, EMBEDDING) or shape[1:] != wanted[1:]:
        return None
    return f'if tokens were added before training, set "vocab_size": {shape[0]} in config.json'


def load_float_model(checkpoint: Checkpoint, dtype: torch.dtype | None = None) -> nn.Module:
    """Return transformers' causal language model of the text part, with the checkpoint's weights, in eval mode.

    Tensors are converted one at a time into the model's own memory, so the peak is one model of ``dtype``
    and one tensor as stored.

    Args:
        checkpoint: As `open_checkpoint` returned it.
        dtype: The parameters' dtype; None for float32.

    Raises:
        CheckpointError: A tensor holds NaN or infinity, or a tied head differs from the embedding.
    """
    import torch

    dtype = dtype or torch.float32
    names, _ = weight_map(checkpoint.text_config, checkpoint.tensors)
    twin = names.pop(HEAD, None) if checkpoint.text_config.tie_word_embeddings else None
    model = _bare_model(checkpoint.text_config, dtype)
    slots = model.state_dict(keep_vars=True)
    with torch.no_grad():
        for name, stored in names.items():
            slots[name].copy_(checkpoint.tensors.get(stored))
            check_finite(slots[name], checkpoint.tensors, stored)
        if twin is not None:
            check_twin(slots[EMBEDDING], checkpoint.tensors, twin, names[EMBEDDING])
    model.requires_grad_(False)
    model.eval()
    return model


def _bare_model(text_config: PreTrainedConfig, dtype: torch.dtype) -> nn.Module:
    """The model with its buffers as its constructors compute them and its parameters unset, head tied."""
    from transformers import AutoModelForCausalLM
    from transformers.initialization import no_init_weights

    with no_init_weights():  # a configuration of its own: what is set on the model must not show in the checkpoint
        model = AutoModelForCausalLM.from_config(copy.deepcopy(text_config), dtype=dtype)  # type: ignore[no-untyped-call]
    model.tie_weights()
    bare: nn.Module = model
    return bare


def _expected_shapes(text_config: PreTrainedConfig) -> dict[str, tuple[int, ...]]:
    state = PARTS.get(TEXT_DECODER).empty(text_config).state_dict()
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def _layout(tensors: TensorIndex) -> Layout:
    for layout in layouts():
        if f"{layout.decoder}embed_tokens.weight" in tensors:
            return layout
    tried = ", ".join(f"'{layout.decoder}embed_tokens.weight'" for layout in layouts())
    raise CheckpointError(f"no embedding among the {len(tensors)} tensors: looked for {tried}", hint=_HINT)


def _stored_name(name: str, layout: Layout) -> str:
    if name.startswith("lm_head."):
        return layout.head.removesuffix("weight") + name.removeprefix("lm_head.")
    return layout.decoder + name.removeprefix("model.")


def _left_out(text_config: PreTrainedConfig, tensors: TensorIndex, layout: Layout, used: set[str]) -> tuple[str, ...]:
    """Notes on the tensors that are rightly unused; an unused tensor with no reason is an error."""
    modes = getattr(text_config, "kv_sharing_modes", ())
    reused = "|".join(str(index) for index, mode in enumerate(modes) if mode == "reuse")
    decoder = re.escape(layout.decoder)
    shared = re.compile(rf"{decoder}layers\.({reused})\.self_attn\.({'|'.join(_SHARED)})\..+")
    other = spare = 0
    for name in tensors.names():
        if name in used or name.endswith("rotary_emb.inv_freq"):
            continue
        if name.startswith(other_parts()):
            other += 1
        elif reused and shared.fullmatch(name):
            spare += 1
        else:
            close = difflib.get_close_matches(name, used, n=1, cutoff=0.4)
            nearest_one = f"; the nearest known is '{close[0]}'" if close else ""
            raise CheckpointError(
                f"{tensors.shard(name).name}: unexpected tensor '{name}'{nearest_one}", hint=_unexpected_hint(name)
            )
    notes = []
    if other:
        notes.append(f"{other} tensors of vision, audio and projection parts are left out: text only")
    if spare:
        notes.append(f"{spare} key and value tensors of layers that share another layer's cache are left out")
    return tuple(notes)


def _unexpected_hint(name: str) -> str:
    if "lora" in name.lower():
        return "save the adapter apart from its base model, with PEFT, and name it with --adapter"
    if name.startswith(_CLASSIFIERS):
        return _CLASSIFIER_HINT
    return _HINT


def check_finite(values: torch.Tensor, tensors: TensorIndex, stored: str) -> None:
    """Refuse a tensor that holds NaN or infinity.

    Args:
        values: The tensor, or a part of it.
        tensors: The checkpoint's tensors.
        stored: The tensor's name in the checkpoint.

    Raises:
        CheckpointError: A value is NaN or infinite; the message names the tensor and its file.
    """
    import torch

    if values.numel() and not all(bool(torch.isfinite(end)) for end in torch.aminmax(values)):
        raise CheckpointError(
            f"{tensors.shard(stored).name}: tensor '{stored}' holds NaN or infinity (stored as "
            f"{tensors.dtype(stored)}, read as {str(values.dtype).removeprefix('torch.')})",
            hint="the training run diverged or the file is damaged: use another checkpoint",
        )


def check_twin(embedding: torch.Tensor, tensors: TensorIndex, head: str, stored: str) -> None:
    """Check that a head that is stored although config.json ties it is the embedding, row for row.

    Args:
        embedding: The embedding, [rows, size].
        tensors: The checkpoint's tensors.
        head: The head's name in the checkpoint.
        stored: The embedding's name in the checkpoint.

    Raises:
        CheckpointError: The two differ.
    """
    import torch

    twin = tensors.get(head)
    for first in range(0, len(embedding), 8192):
        rows = slice(first, first + 8192)
        if twin.shape != embedding.shape or not torch.equal(twin[rows].float(), embedding[rows].float()):
            raise CheckpointError(
                f"config.json ties the head to the embedding, but '{head}' differs from '{stored}'",
                hint='if the head was trained apart, set "tie_word_embeddings": false in config.json',
            )
