"""Bytes of memory: of the exporting process by stage (what no file backs), and of a process that runs the bundle."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .constants import constants
from .disk import SMALLEST_TENSOR

if TYPE_CHECKING:
    from .shapes import Shapes

_FLOAT, _STORED = 4, 2  # bytes of an element


def prompt_tokens(shapes: Shapes) -> int:
    """Of all golden prompts together; where there is a window, one of them is longer."""
    goldens, cache = constants().goldens, shapes.cache
    return goldens.tokens + (cache.window + goldens.past if cache.windowed and cache.window else 0)


def export_memory(shapes: Shapes, least: bool = False) -> dict[str, int]:
    """Most bytes by stage, of those in which it differs.

    ``least``: as if lowering a mixture's experts, which differ by their weights alone, took nothing.
    """
    from ..quantize.methods.base import PIECE

    known = constants().memory
    modules = shapes.modules - shapes.experts * least
    tokenizer = known.token * shapes.vocabulary
    opened = known.base + tokenizer
    loaded = opened + min(known.checked, _STORED * shapes.parameters) + _FLOAT * shapes.others
    small = sum(size for w in shapes.weights for size in w.unpacked if size < SMALLEST_TENSOR)
    piece = known.piece * min(PIECE, max(w.elements for w in shapes.weights))
    pieces = piece + min(known.unreturned_most, int(known.unreturned * sum(w.elements for w in shapes.weights)))
    quantized = loaded + known.quantizing + pieces
    # XNNPACK's serializer packs the largest matrix in memory, in pieces that are then put together.
    packing = 2 * max((w.stored for w in shapes.linears), default=0)
    kept = loaded + known.left + small + known.kept * modules
    return {
        "plan": opened,
        "load": loaded,
        "reference": loaded + _reference(shapes),
        "quantize": quantized,
        "graph": quantized,
        "lower": quantized + known.lowered * modules + int(known.lowered_byte * shapes.stored) + packing,
        "pack": kept,
        "prove": kept + tokenizer + _run(shapes),  # the bundle's own tokenizer
    }


def run_memory(shapes: Shapes) -> int:
    """Most bytes resident of a program that is loaded and whose cache is full.

    Rows are gathered from pages of the program's file; other weights XNNPACK repacks into memory of its own, and while
    it does so for the largest, that is there twice.
    """
    gathered = sum(w.stored for w in shapes.weights if w.gathered)
    twice = max((w.stored for w in shapes.linears), default=0)
    return gathered + _run(shapes) + twice


def _run(shapes: Shapes) -> int:
    """What a loaded program takes beside its file. The runtime fills the cache with zeros as it loads."""
    packed = sum(w.packed for w in shapes.linears)
    activations = _FLOAT * shapes.cache.chunk * (3 * shapes.wide + 6 * shapes.hidden)
    return packed + shapes.cache.bytes + activations + constants().memory.run


def _reference(shapes: Shapes) -> int:
    """Caches of all prompts, side by side as far as ``reference`` lets them, and what they hold between products."""
    from ..reference.lockstep import MOST
    from ..reference.transformers_model import CACHES, CACHES_OF_PARAMETER

    goldens, tokens = constants().goldens, prompt_tokens(shapes)
    caches = shapes.states * (tokens + goldens.prompts * goldens.reply)
    groups = max(1.0, caches / (CACHES + CACHES_OF_PARAMETER * shapes.parameters))
    between = _FLOAT * tokens * (2 * shapes.wide + 3 * shapes.hidden)
    logits = 2 * min(_FLOAT * shapes.vocabulary * goldens.prompts * goldens.kept, MOST)
    return int((caches + between) / groups) + max(0, logits - int(between / groups))
