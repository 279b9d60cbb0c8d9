"""Seconds of an export, by stage: each stage's work over the rate of what it depends on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .constants import Speed, constants
from .memory import prompt_tokens

if TYPE_CHECKING:
    from .disk import Files
    from .shapes import Shapes

_STORED = 2  # bytes of a checkpoint's elements


def export_seconds(shapes: Shapes, files: Files, speed: Speed) -> dict[str, float]:
    """Return the seconds by stage on a machine of that speed that does nothing else."""
    known, then = constants().seconds, constants().speed
    slow = {name: getattr(then, name) / getattr(speed, name) for name in ("multiply", "interpreter", "hash", "disk")}
    slow["copy"] = then.copy_ / speed.copy_
    elements = sum(w.elements for w in shapes.linears)
    quantized = sum(w.elements for w in shapes.weights if w.scheme.weight != "float32")
    checkpoint = _STORED * shapes.parameters
    return {
        "plan": known.start * slow["interpreter"]
        + known.token * shapes.vocabulary * slow["interpreter"]
        + known.hash * checkpoint * slow["hash"],
        "load": known.read * checkpoint * slow["copy"],
        "reference": _reference(shapes, slow),
        "prompt": known.prompt * slow["interpreter"],
        "calibrate": known.calibrate * _calibration(shapes) * slow["multiply"],
        "quantize": known.quantizing * slow["interpreter"] + known.quantize * quantized * slow["copy"],
        "graph": known.trace * shapes.modules * slow["interpreter"],
        "lower": (known.lowering + known.lower * shapes.modules) * slow["interpreter"]
        + known.pack * elements * slow["copy"],
        "pack": known.hash * files.program * slow["hash"],
        "prove": _prove(shapes, slow),
        "measure": known.measure * slow["interpreter"] + known.loaded * files.program * slow["copy"],
        "publish": known.hash * files.bundle * slow["hash"] + known.disk * files.bundle * slow["disk"],
    }


def _calibration(shapes: Shapes) -> float:
    """The calibration text through all linears but the head, and the second moments of what they read."""
    return sum(
        2.0
        * shapes.calibrated
        * w.columns
        * (w.rows * w.share + (w.columns if w.share == 1.0 and shapes.hessians else 0))
        for w in shapes.linears
        if w.kind != "head"
    )


def _reference(shapes: Shapes, slow: dict[str, float]) -> float:
    """All prompts at once: each matrix is multiplied by as many rows as there are tokens, and read once a step."""
    known, goldens = constants().seconds, constants().goldens
    steps = goldens.reply
    replies = goldens.prompts * goldens.reply
    rows = {"head": goldens.prompts * goldens.kept}
    products = sum(
        2 * w.elements * w.share * (rows.get(w.kind, prompt_tokens(shapes) + replies) + known.reading * steps)
        for w in shapes.linears
    )
    return known.multiply * products * slow["multiply"] + known.step * shapes.modules * replies * slow["interpreter"]


def _prove(shapes: Shapes, slow: dict[str, float]) -> float:
    """Each golden twice, prompt and then reply step by step: on the float model's tokens, and on its own."""
    known, goldens = constants().seconds, constants().goldens
    replies = goldens.prompts * goldens.reply
    prompts = 2 * prompt_tokens(shapes) * sum(w.operations for w in shapes.linears if w.kind != "head")
    steps = 2 * replies * sum(w.read for w in shapes.weights)
    logits = replies * shapes.vocabulary
    return known.operation * prompts * slow["multiply"] + (known.byte * steps + known.logit * logits) * slow["copy"]
