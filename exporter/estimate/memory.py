"""Bytes of memory: of the exporting process by stage (what no file backs), and of a process that runs the bundle."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .constants import constants
from .files import SMALLEST_TENSOR

if TYPE_CHECKING:
    from .shapes import Shapes

_FLOAT = 4


def prompt_tokens(shapes: Shapes) -> int:
    """Of all golden prompts together; where there is a window, one of them is longer."""
    goldens, cache = constants().goldens, shapes.cache
    return goldens.tokens + (cache.window + goldens.past if cache.windowed and cache.window else 0)


def export_memory(shapes: Shapes) -> dict[str, int]:
    """Most bytes by stage, of those in which it differs."""
    known = constants().memory
    opened = known.base + known.token * shapes.vocabulary
    loaded = opened + _FLOAT * shapes.others
    small = sum(size for w in shapes.weights for size in w.unpacked if size < SMALLEST_TENSOR)
    quantized = loaded + known.quantizing + small
    traced = quantized + known.traced * shapes.modules
    lowered = traced + known.lowered * shapes.modules
    kept = loaded + known.quantizing + known.kept * shapes.modules
    return {
        "plan": opened,
        "load": loaded,
        "reference": loaded + _reference(shapes),
        "quantize": quantized,
        "graph": traced,
        "lower": lowered,
        "pack": kept,
        "prove": kept + _run(shapes, min(1.0, _longest(shapes) / shapes.cache.context)),
    }


def run_memory(shapes: Shapes) -> int:
    """Most bytes resident of a program that is loaded and whose cache is full.

    Rows are gathered from pages of the program's file; other weights XNNPACK repacks into memory of its own, and while
    it does so for the largest, that is there twice.
    """
    gathered = sum(w.stored for w in shapes.weights if w.gathered)
    twice = max((w.stored for w in shapes.linears), default=0)
    return gathered + _run(shapes, 1.0) + twice


def _run(shapes: Shapes, filled: float) -> int:
    """What a loaded program takes beside its file, with that share of its cache filled."""
    packed = sum(w.packed for w in shapes.linears)
    activations = _FLOAT * shapes.cache.chunk * (3 * shapes.wide + 6 * shapes.hidden)
    return packed + int(filled * shapes.cache.bytes) + activations + constants().memory.run


def _longest(shapes: Shapes) -> int:
    """Tokens of the longest golden."""
    goldens, cache = constants().goldens, shapes.cache
    return (cache.window or 0) + goldens.past + goldens.reply if cache.windowed else 4 * goldens.past


def _reference(shapes: Shapes) -> int:
    """Caches of all prompts, side by side as far as ``reference`` lets them, and what they hold between products."""
    from ..reference import _CACHES, _CACHES_OF_PARAMETER

    goldens, tokens = constants().goldens, prompt_tokens(shapes)
    caches = shapes.states * (tokens + goldens.prompts * goldens.reply)
    groups = max(1.0, caches / (_CACHES + _CACHES_OF_PARAMETER * shapes.parameters))
    between = _FLOAT * tokens * (3 * shapes.wide + 6 * shapes.hidden)
    logits = 2 * min(_FLOAT * shapes.vocabulary * goldens.prompts * 32, 1 << 27)
    return int((caches + between) / groups) + logits
