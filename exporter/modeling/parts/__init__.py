"""Parts of a model by name: what of a transformers model becomes methods of a program."""

from __future__ import annotations

from ...util.registry import Registry
from .base import Part

PARTS: Registry[Part] = Registry(
    "model part",
    "gemcut.model_parts",
    {"text-decoder": ".text_decoder:TEXT_DECODER"},
    __name__,
)
TEXT_DECODER = PARTS.packaged[0]

__all__ = ["PARTS", "TEXT_DECODER", "Part"]
