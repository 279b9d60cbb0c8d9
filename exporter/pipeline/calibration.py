"""Calibration as a stage: once for all bundles of an export whose recipes ask for the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..bundle.manifest import CalibrationRecord
from ..calibrate.text_segments import (
    LENGTH,
    CalibrationText,
    enough,
    make_segments,
    shipped_text,
    split_off,
    text_of,
)
from ..errors import UsageError
from ..quantize.recipe import Recipe
from ..quantize.stored import StoredWeight, StoredWeights
from ..util.platform import host_threads
from .failures import TooSensitive

if TYPE_CHECKING:
    from ..prompt.codec import Codec
    from ..util.stage_clock import StageClock

NONE, QUICK = "none", "quick"
WORDS = (NONE, QUICK)  # what --calibration takes besides a file
# Times a gate's limit: past it a recipe isn't built. Text and goldens differ, so that less proves nothing.
MARGIN = 1.5


@dataclass(frozen=True, eq=False)
class Calibrated:
    """A model that is ready to be built from.

    Attributes:
        model: The float model, folded.
        weights: The weights that calibration has chosen.
        record: What the manifest says of it.
    """

    model: Any
    weights: StoredWeights
    record: CalibrationRecord | None = None


def chosen_recipe(recipe: Recipe, calibration: str | None) -> Recipe:
    """Return the recipe that is used: with ``--calibration none``, the one without what needs calibration.

    With ``--calibration quick``, the one whose methods need no Hessians.
    """
    from ..quantize.methods import quick

    if calibration == NONE:
        return recipe.uncalibrated()
    return quick(recipe) if calibration == QUICK else recipe


def chosen_text(recipe: Recipe, calibration: str | None) -> CalibrationText | None:
    """Return the text to calibrate on; None if the recipe needs none.

    Args:
        recipe: The recipe that is used.
        calibration: A file; None or ``QUICK`` for the text that ships.

    Raises:
        UsageError: The file can't be read or holds nothing, or the recipe has no use for it.
    """
    from ..calibrate.calibrator import needs_calibration

    if not needs_calibration(recipe):
        if calibration not in (None, NONE):
            raise UsageError(
                f"--calibration {calibration}: the recipe '{recipe.name}' needs no calibration",
                hint="Leave --calibration out, or choose another recipe; see gemcut recipes.",
            )
        return None
    return shipped_text() if calibration in (None, QUICK) else text_of(Path(calibration))


def calibrate(
    model: Any,
    recipe: Recipe,
    text: CalibrationText | None,
    codec: Codec,
    work: Path,
    clock: StageClock,
    measured: bool = False,
) -> Calibrated:
    """Return the model folded and its weights chosen for a recipe; as it is if there is no text.

    Args:
        model: The float model, which stays as it is.
        recipe: How each tensor is stored.
        text: What to run it on; None if the recipe needs no calibration.
        codec: Its tokenizer and template.
        work: A scratch folder.
        clock: Times the stage.
        measured: Whether to refuse a recipe that is far from its gate's limit on some more text.

    Raises:
        TooSensitive: It is.
    """
    if text is None:
        return Calibrated(model, {})
    from ..calibrate.calibrator import Calibration, widest_input
    from ..calibrate.simulation import POSITIONS, copy_of
    from ..util.file_tensors import Scratch
    from ..util.process_memory import give_back

    with clock.stage("calibrate"), torch_threads():
        own = copy_of(model)
        length = min(LENGTH, getattr(own.config, "max_position_embeddings", LENGTH))
        tokens = enough(widest_input(own), own.config.hidden_size, recipe.quick)
        segments, others = split_off(make_segments(text, codec, tokens + POSITIONS, length), tokens)
        weights = Calibration(own, recipe, Scratch(work), clock.progress).run(segments)
        give_back()
        if measured and others:
            _check(model, own, recipe, weights, others)
            give_back()
        record = CalibrationRecord(
            text=text.name,
            text_sha256=text.sha256,
            tokens=sum(map(len, segments)),
            weights_sha256=weights_hash(weights),
            quick=recipe.quick,
        )
    return Calibrated(own, weights, record)


@contextmanager
def torch_threads() -> Iterator[None]:
    """Have torch add up in as many threads as ``host_threads`` says: another number gives other sums."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(host_threads())
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _check(model: Any, folded: Any, recipe: Recipe, weights: StoredWeights, text: Sequence[Sequence[int]]) -> None:
    from ..calibrate.simulation import Yardstick, simulated

    limit = recipe.gate.mean_kl
    if limit is None:
        return
    nats = Yardstick(model, text).mean_kl(simulated(folded, recipe, weights))
    if nats > MARGIN * limit:
        raise TooSensitive(recipe.name, nats, limit)


def weights_hash(weights: StoredWeights) -> str:
    """Return the hash of all integers and scales, by which two exports tell whether they chose the same."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode())
        for tensor in _tensors(weights[name]):
            digest.update(memoryview(tensor.contiguous().numpy().reshape(-1).view("uint8")))
    return digest.hexdigest()


def _tensors(weight: StoredWeight) -> tuple[Any, Any]:
    return weight.values, weight.scales
