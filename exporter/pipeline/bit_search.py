"""A model's sensitivity, measured once and kept; and the recipe that a budget asks for."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..modeling.matrices import matrix_columns
from ..quantize.recipe import Recipe
from ..util import result_cache
from ..util.stage_clock import StageClock
from ..util.text import path_text, size_text
from .budget_limits import Budgets
from .calibration import WORDS
from .journal.fingerprint import sensitivity_key

if TYPE_CHECKING:
    from ..calibrate.front import Limits, Mix, Point, Sensitivity
    from ..calibrate.text_segments import CalibrationText
    from ..checkpoint.opened import Checkpoint
    from ..prompt.codec import ChatCodec
    from ..target import Target
    from .request import ExportRequest

TITLES = {"load": "Loading the float model", "search": "Measuring what each matrix costs at four bits and at eight"}
_KIND = "sensitivity"


@dataclass(frozen=True)
class Searched:
    """What was found of a model.

    Attributes:
        sensitivity: Of each matrix.
        base: The recipe of the smallest mix.
        columns: The columns of each matrix by name.
        points: The front.
        smallest: Bytes of a bundle of the smallest mix, estimated.
    """

    sensitivity: Sensitivity
    base: Recipe
    columns: Mapping[str, int]
    points: tuple[Point, ...]
    smallest: int

    def recipe(self, limits: Limits, name: str) -> tuple[Mix, Recipe]:
        """Return the mix that a budget asks for and its recipe, called ``name``."""
        from ..calibrate.front import choose
        from ..calibrate.mixed_recipe import recipe_of

        mix = choose(self.sensitivity, self.smallest, limits)
        return mix, limited(recipe_of(mix, self.base, tuple(self.columns), name), limits.nats)


def limited(recipe: Recipe, nats: float | None) -> Recipe:
    """Return a recipe whose gate allows so much divergence; as it is, if no limit was asked for."""
    return recipe if nats is None else replace(recipe, gate=replace(recipe.gate, mean_kl=nats))


def search(
    checkpoint: Checkpoint, target: Target, calibration: str | None, context: int, folder: Path, clock: StageClock
) -> Searched:
    """Measure a checkpoint, or take what was measured of the same one before.

    Args:
        checkpoint: The opened checkpoint.
        target: The kind of device, for the bundle's size.
        calibration: A text file to calibrate on; None for the text that ships.
        context: Slots of the KV cache, for the bundle's size.
        folder: Takes files of two bytes for each parameter while it is measured.
        clock: Times loading and measuring.

    Raises:
        UsageError: Without calibration there is nothing to search by.
    """
    from ..calibrate.front import front
    from ..calibrate.sensitivity import base_recipe
    from ..calibrate.text_segments import shipped_text, text_of

    _check_text(calibration)
    text = shipped_text() if calibration is None else text_of(Path(calibration))
    columns = matrix_columns(checkpoint.text_config, target.runtimes[0])
    base = base_recipe(columns)
    found = _kept_or_measured(checkpoint, text, base, folder, clock)
    return Searched(found, base, columns, front(found), _bundle_bytes(checkpoint, target, base, context))


def check_search(request: ExportRequest) -> None:
    """Refuse a search that can't be made.

    Raises:
        UsageError: A recipe was asked for too, or there is no calibration to search by.
    """
    if request.recipe is not None:
        raise UsageError(
            "--max-size and --max-kl search for a recipe, and --recipe names one",
            hint="Leave one of them out.",
        )
    _check_text(request.calibration)


def _check_text(calibration: str | None) -> None:
    if calibration in WORDS:
        raise UsageError(
            "a search needs a whole calibration",
            hint=f"Leave --calibration {calibration} out, or give a text file.",
        )


def within_limits(request: ExportRequest, clock: StageClock, nats: float | None) -> ExportRequest:
    """Return the request with the recipe that its limits on size and divergence ask for, which is written beside it.

    Args:
        request: The request; its limits are those of the bundle.
        clock: Times the search.
        nats: The divergence that is searched for: the request's, or less where a bundle was past that.

    Raises:
        UsageError: A recipe was asked for too, or there is no calibration to search by.
        UnsupportedError: No mix keeps the limits.
    """
    from ..calibrate.front import Limits
    from ..calibrate.mixed_recipe import write_recipe
    from .plan import check_room, make_plans

    check_search(request)
    plans = make_plans(replace(request, calibration=None))
    check_room(plans)
    plan = plans[0]
    folder = plan.output.parent
    folder.mkdir(parents=True, exist_ok=True)
    found = search(plan.checkpoint, plan.target, request.calibration, plan.shape.context, folder, clock)
    limits = Limits(request.max_size, request.max_kl)
    name = f"{plan.checkpoint.name}-{limits.name}"
    mix, recipe = found.recipe(replace(limits, nats=nats), name)
    recipe = limited(recipe, limits.nats)
    file = folder / f"{name}.toml"
    write_recipe(recipe, file)
    size = size_text(found.smallest + mix.bytes)
    clock.progress.note(f"{recipe.description}, about {size}; {path_text(file)} is its recipe")
    budgets = Budgets(device_size=request.max_size, mean_kl=request.max_kl)
    return replace(request, recipe=str(file), max_size=None, max_kl=None, budgets=request.budgets or budgets)


def _bundle_bytes(checkpoint: Checkpoint, target: Target, recipe: Recipe, context: int) -> int:
    from ..estimate.disk import files_of
    from ..estimate.shapes import shapes_of
    from ..runtimes import find_runtime

    check = find_runtime(target.runtimes[0]).delegate(target.delegate).check_scheme
    shapes = shapes_of(checkpoint.text_config, recipe, context, target.prefill_chunk, check)
    tokenizer = len(checkpoint.tokenizer.backend_tokenizer.to_str().encode())
    return files_of(shapes, checkpoint.path, tokenizer).bundle


def _kept_or_measured(
    checkpoint: Checkpoint, text: CalibrationText, base: Recipe, folder: Path, clock: StageClock
) -> Sensitivity:
    from ..calibrate.front import Measured, Sensitivity, TensorSensitivity

    key = sensitivity_key(checkpoint, text.sha256, base)
    with tempfile.TemporaryDirectory(prefix=".gemcut-search-", dir=folder) as name:
        work = Path(name)
        file = work / "sensitivity.json"
        if not result_cache.fetch(_KIND, key, file):
            found = _measured(checkpoint, text, base, work, clock)
            file.write_text(json.dumps(dataclasses.asdict(found)), encoding="utf-8")
            result_cache.keep(_KIND, key, file)
        data: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return Sensitivity(
        tensors=tuple(TensorSensitivity(**{**one, "names": tuple(one["names"])}) for one in data["tensors"]),
        activations=data["activations"],
        measured=tuple(Measured(**one) for one in data["measured"]),
        tokens=data["tokens"],
    )


def _measured(
    checkpoint: Checkpoint, text: CalibrationText, base: Recipe, work: Path, clock: StageClock
) -> Sensitivity:
    from ..calibrate.calibrator import widest_input
    from ..calibrate.sensitivity import measure
    from ..calibrate.simulation import POSITIONS
    from ..calibrate.text_segments import LENGTH, enough, make_segments, split_off
    from ..util.file_tensors import Scratch
    from . import reference

    clock = clock.extended(TITLES)
    with clock.stage("load"):
        model = reference.load_model(checkpoint, work, clock.progress)
    with clock.stage("search"):
        length = min(LENGTH, getattr(model.config, "max_position_embeddings", LENGTH))
        tokens = enough(widest_input(model), model.config.hidden_size)
        segments = make_segments(text, _codec(checkpoint, work), tokens + POSITIONS, length)
        own, others = split_off(segments, max(1, min(tokens, sum(map(len, segments)) - POSITIONS)))
        if not others:
            raise UsageError(
                f"the calibration text '{text.name}' is too short to measure on a part that isn't calibrated on",
                hint="Give a longer text with --calibration, or leave it out for the text that ships.",
            )
        return measure(model, base, own, others, Scratch(work), clock.progress)


def _codec(checkpoint: Checkpoint, work: Path) -> ChatCodec:
    from ..prompt.codec import load_codec

    file = work / "tokenizer.json"
    file.write_text(checkpoint.tokenizer.backend_tokenizer.to_str(), encoding="utf-8")
    return load_codec(file, checkpoint.chat_template, checkpoint.special_tokens, checkpoint.bos_id)
