"""Names as trainers' wrappers leave them: what they put before or between a model's own, and heads that they add.

Which is known: torch.compile, DistributedDataParallel, FSDP, activation checkpointing, Lightning, PEFT and TRL.
"""

from __future__ import annotations

import re

from ..errors import CheckpointError
from .families import layouts, other_parts
from .tensors import TensorIndex

# Wherever a module was wrapped: torch.compile's, FSDP's, activation checkpointing's, and PEFT's after a merge.
_INSIDE = re.compile(r"\b(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|base_layer)\.")
# Of reinforcement learning (TRL's AutoModelForCausalLMWithValueHead): they judge a text, and put out none.
_VALUE_HEADS = ("v_head.", "value_head.")
_ANCHOR = "embed_tokens.weight"
_EMBEDDING = re.compile(r"(.+\.)?embed_tokens\.weight")


def unwrapped(tensors: TensorIndex) -> tuple[TensorIndex, tuple[str, ...]]:
    """Return a checkpoint's tensors under a model's own names, and notes; the same ones if none is wrapped.

    Args:
        tensors: The checkpoint's tensors.

    Raises:
        CheckpointError: Without what was put before them, two tensors have the same name.
    """
    names = tensors.names()
    inside = {name: _INSIDE.sub("", name) for name in names}
    prefix = _prefix(list(inside.values()))
    stripped = {name: inner.removeprefix(prefix) for name, inner in inside.items()}
    bare = {name: inner for name, inner in stripped.items() if not inner.startswith(_VALUE_HEADS)}
    if len(bare) == len(names) and all(name == inner for name, inner in bare.items()):
        return tensors, ()
    by_name: dict[str, str] = {}
    for name, inner in bare.items():
        if inner in by_name:
            raise CheckpointError(
                f"'{by_name[inner]}' and '{name}' are both '{inner}' without what a wrapper put into their names",
                hint="unwrap the model before you save it, with its own save_pretrained",
            )
        by_name[inner] = name
    found = TensorIndex({inner: tensors.renamed(name) for inner, name in by_name.items()}, tensors.shards)
    return found, tuple(_notes(bare, len(names) - len(bare)))


def _prefix(names: list[str]) -> str:
    """What stands before the whole model: before the embedding's name, if it isn't as any layout has it."""
    decoders = sorted({layout.decoder for layout in layouts()}, key=len, reverse=True)
    anchors = [name for name in names if _EMBEDDING.fullmatch(name) and not name.startswith(other_parts())]
    if len(anchors) != 1 or any(anchors[0] == decoder + _ANCHOR for decoder in decoders):
        return ""
    decoder = next(decoder for decoder in decoders if anchors[0].endswith("." + decoder + _ANCHOR))
    return anchors[0].removesuffix(decoder + _ANCHOR)


def _notes(bare: dict[str, str], heads: int) -> list[str]:
    changed = [name for name, inner in bare.items() if name != inner]
    notes = []
    if changed:
        first = changed[0]
        notes.append(
            f"{len(changed)} tensors have a wrapper's names, '{first}' first, which is read as '{bare[first]}'"
        )
    if heads:
        notes.append(f"{heads} tensors of a value head, which judges a text and writes none, are left out")
    return notes
