"""The parameters that an adapter's tensors belong to, by the tensors' names."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..families import layouts, other_parts

_OUTER = "base_model.model."
_HEADS = ("lm_head", "language_model.lm_head", "model.lm_head", "model.language_model.lm_head")
# What PEFT's layers call their tensors; `.default` is the adapter's name, which older files have.
_PARTS = re.compile(
    r"(?P<module>.+?)\.(?P<part>"
    r"lora_A|lora_B|lora_embedding_A|lora_embedding_B|lora_magnitude_vector)(\.default)?(\.(?P<leaf>weight|bias))?"
)
_WHOLE = re.compile(r"(?P<module>.+?)(\.modules_to_save(\.default)?|\.base_layer)?\.(?P<leaf>[A-Za-z_]+)")


@dataclass(frozen=True)
class Named:
    """One tensor of an adapter.

    Attributes:
        tensor: Its name in the adapter's file.
        module: The module as the trained model named it, which patterns match.
        parameter: The parameter of transformers' text model ('model.layers.0.self_attn.q_proj.weight'); None if it
            doesn't belong to the text part.
        part: 'a', 'b', 'magnitude', 'bias' (added to one) or 'whole' (takes a parameter's place).
        embedding: Whether it is a factor of an embedding.
    """

    tensor: str
    module: str
    parameter: str | None
    part: str
    embedding: bool = False


_KINDS = {
    "lora_A": ("a", False),
    "lora_B": ("b", False),
    "lora_embedding_A": ("a", True),
    "lora_embedding_B": ("b", True),
    "lora_magnitude_vector": ("magnitude", False),
}


def read_name(tensor: str) -> Named | None:
    """Return what a tensor of an adapter is, by its name; None for a name that PEFT's LoRA doesn't write."""
    if not tensor.startswith(_OUTER):
        return None
    inner = tensor.removeprefix(_OUTER)
    if found := _PARTS.fullmatch(inner):
        part, embedding = _KINDS[found["part"]]
        if found["leaf"] == "bias":
            return Named(tensor, found["module"], _parameter(found["module"], "bias"), "bias") if part == "b" else None
        return Named(tensor, found["module"], _parameter(found["module"], "weight"), part, embedding)
    if ".lora_" in inner or (found := _WHOLE.fullmatch(inner)) is None:
        return None
    return Named(tensor, found["module"], _parameter(found["module"], found["leaf"]), "whole")


def _parameter(module: str, leaf: str) -> str | None:
    """The parameter's name in the causal language model of the text part; a multimodal model has longer ones."""
    if f"{module}.".startswith(other_parts()):
        return None
    if module in _HEADS:
        return f"lm_head.{leaf}"
    decoders = sorted({layout.decoder for layout in layouts()}, key=len, reverse=True)
    start = next(decoder for decoder in decoders if module.startswith(decoder))  # the last is '', which all have
    return f"model.{module.removeprefix(start)}.{leaf}"
