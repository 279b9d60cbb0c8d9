"""Bytes of memory: of the exporting process by stage (only what no file backs), and of a process that runs a bundle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .constants import constants
from .disk import SMALLEST_TENSOR

if TYPE_CHECKING:
    from .shapes import Shapes

_FLOAT, _STORED = 4, 2  # bytes of an element


@dataclass(frozen=True)
class RunMemory:
    """What a process that runs a bundle holds besides the runtime's own code, in bytes.

    Attributes:
        own: The most that no file backs.
        mapped: What stays mapped from files; the system may drop such pages, and reads them again when they are needed.
        loading: What is mapped besides only while it loads.
        written: What the runtime writes into a file of its own at the first start, and maps from then on.
    """

    own: int
    mapped: int
    loading: int = 0
    written: int = 0

    @property
    def most(self) -> int:
        """The most bytes resident at any time."""
        return self.own + self.mapped + self.loading


def prompt_tokens(shapes: Shapes) -> int:
    """Return the tokens of all golden prompts together; if there is a window, one of them is longer than it."""
    goldens, cache = constants().goldens, shapes.cache
    return goldens.tokens + (cache.window + goldens.past if cache.windowed and cache.window else 0)


def export_memory(shapes: Shapes, least: bool = False) -> dict[str, int]:
    """Return the most bytes of each stage whose memory differs from that of the stage before.

    Args:
        shapes: The model's shapes.
        least: Assume that lowering a mixture's experts, which differ only by their weights, takes nothing.
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
    # XNNPACK's serializer packs the largest matrix in memory, in pieces that are joined afterwards.
    packing = 2 * max((w.stored for w in shapes.linears), default=0)
    kept = loaded + known.left + small + known.kept * modules
    return {
        "plan": opened,
        "load": loaded,
        "reference": loaded + _reference(shapes),
        "calibrate": loaded + _calibration(shapes),
        "quantize": quantized,
        "graph": quantized,
        "lower": quantized + known.lowered * modules + int(known.lowered_byte * shapes.stored) + packing,
        "pack": kept,
        "prove": kept + tokenizer + _run(shapes),  # the bundle's own tokenizer
    }


def run_memory(shapes: Shapes, weight_cache: bool = False) -> RunMemory:
    """Return what a program takes that is loaded and whose cache is full.

    Rows are gathered from pages of the program's file. XNNPACK repacks the other weights: into its own memory, and
    while it repacks the largest, that one is there twice; or into a file, which later starts map.

    Args:
        shapes: The model's shapes.
        weight_cache: Whether the runtime repacks into a file.
    """
    gathered = sum(w.stored for w in shapes.weights if w.gathered)
    if weight_cache:
        packed = sum(w.packed for w in shapes.linears)
        known = constants().memory
        # LiteRT-LM keeps parts of the cache twice, and its tokenizer is in the same process.
        twice = int(known.cache_twice * shapes.cache.bytes) + known.native_token * shapes.vocabulary
        own = _run(shapes) - packed + twice
        return RunMemory(own=own, mapped=gathered + packed, written=packed)
    largest = max((w.stored for w in shapes.linears), default=0)
    return RunMemory(own=_run(shapes), mapped=gathered, loading=largest)


def _calibration(shapes: Shapes) -> int:
    """What all tokens of the calibration text are in a layer at once, and the second moments of its widest inputs."""
    widest = max((w.columns for w in shapes.linears if w.kind != "head"), default=0)
    token = int(constants().memory.calibrated * 3 * _FLOAT * (widest + shapes.hidden))
    return shapes.calibrated * token + shapes.hessians * 4 * _FLOAT * widest**2


def _run(shapes: Shapes) -> int:
    """What a loaded program takes besides its file. The runtime fills the cache with zeros when it loads."""
    packed = sum(w.packed for w in shapes.linears)
    activations = _FLOAT * shapes.cache.chunk * (3 * shapes.wide + 6 * shapes.hidden)
    return packed + shapes.cache.bytes + activations + constants().memory.run


def _reference(shapes: Shapes) -> int:
    """The caches of all prompts, as many at once as ``reference`` allows, and what they hold between products."""
    from ..reference.lockstep import MOST
    from ..reference.transformers_model import CACHES, CACHES_OF_PARAMETER

    goldens, tokens = constants().goldens, prompt_tokens(shapes)
    caches = shapes.states * (tokens + goldens.prompts * goldens.reply)
    groups = max(1.0, caches / (CACHES + CACHES_OF_PARAMETER * shapes.parameters))
    between = _FLOAT * tokens * (2 * shapes.wide + 3 * shapes.hidden)
    logits = 2 * min(_FLOAT * shapes.vocabulary * goldens.prompts * goldens.kept, MOST)
    return int((caches + between) / groups) + max(0, logits - int(between / groups))
