"""Size, memory, time and rough speed of a model on a target, and of its export, from its configuration alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import LackingError, UnsupportedError
from ..modeling.matrices import matrix_columns
from ..quantize.fallback import settled
from ..quantize.recipe import Recipe, finer_than, list_recipes, load_recipe
from ..runtimes import find_runtime
from ..runtimes.base import RuntimePlugin
from ..runtimes.options import chosen
from ..runtimes.program import Shape
from ..target import Target
from ..util.progress import Progress
from .running import Running, running

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

    from ..checkpoint.adapters.adapter import Adapter
    from .disk import Files
    from .shapes import Shapes

FLOAT = 4  # bytes


@dataclass(frozen=True)
class TensorClass:
    """Tensors of one kind.

    Attributes:
        name: The kind.
        parameters: The number of their elements.
        bytes: Their bytes in the bundle.
        read: Their bytes that one decode step reads.
    """

    name: str
    parameters: int
    bytes: int
    read: int


@dataclass(frozen=True)
class ExportCost:
    """What making the bundle takes.

    Attributes:
        memory: The most bytes that no file backs; pages of mapped files are dropped when another process needs the
            room.
        memory_by_stage: The same for each stage.
        disk: The most bytes at the output's place at once, including the bundle.
        seconds: Seconds on this machine, if nothing else runs.
        seconds_by_stage: The same for each stage.
        memory_left: Bytes of memory that an export could have here.
        memory_limit: What limits that memory.
        disk_left: Bytes of disk that are free here.
        fits: Whether this machine has enough of both; null if it is too close to say.
    """

    memory: int
    memory_by_stage: dict[str, int]
    disk: int
    seconds: float
    seconds_by_stage: dict[str, float]
    memory_left: int
    memory_limit: str
    disk_left: int
    fits: bool | None


@dataclass(frozen=True)
class Finer:
    """A recipe that an export goes on to if the one before it fails its gate.

    Attributes:
        recipe: Its name.
        bundle: Bytes of all files of a bundle with it.
    """

    recipe: str
    bundle: int


@dataclass(frozen=True)
class Plan:
    """An estimate; sizes in bytes.

    Attributes:
        model: The model's name.
        adapter: The name of the adapter that is merged in; null if there is none.
        target: The target's name.
        recipe: The name of the first bundle's recipe.
        context: Slots of the first bundle's KV cache.
        parameters: Parameters of the model; a tied head is counted once.
        tensors: The tensors by kind, in the first bundle.
        bundles: The bundle for each runtime of the target that can have the model, its default first.
        recipes: The first bundle with each recipe that comes with Gemcut and that the model and the runtime can have,
            from the smallest.
        export: What making the first bundle takes.
        finer: What the export goes on to if the model fails the recipe's gate, in order; empty if a recipe was asked
            for.
        notes: What the configuration doesn't say.
    """

    model: str
    adapter: str | None
    target: str
    recipe: str
    context: int
    parameters: int
    tensors: tuple[TensorClass, ...]
    bundles: tuple[Running, ...]
    recipes: tuple[Running, ...]
    export: ExportCost
    finer: tuple[Finer, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Model:
    """What the estimates are of: a text configuration, the folder that it is in, the target and the asked context."""

    config: PreTrainedConfig
    folder: Path
    target: Target
    context: int | None

    def slots(self, runtime: RuntimePlugin) -> int:
        """The context of a runtime's bundle."""
        own = self.target.choices_for(runtime.name).context
        return self.context or min(own or self.target.context, int(self.config.max_position_embeddings))

    def shapes(self, runtime: RuntimePlugin, recipe: Recipe) -> Shapes:
        """The shapes as a runtime's bundle has them."""
        from .shapes import shapes_of

        own, slots = self.target.choices_for(runtime.name), self.slots(runtime)
        lengths = tuple(sorted({min(length, slots) for length in own.prefill_lengths}))
        check = runtime.delegate(self.target.delegate).check_scheme
        fitting = settled(recipe, matrix_columns(self.config, runtime.name))
        shapes = shapes_of(self.config, fitting, slots, lengths[-1], check)
        options = chosen(runtime.options, own.options, {})
        return replace(shapes, cache=runtime.exporter.cache(self.config, Shape(slots, lengths), options))

    def bundle(self, runtime: RuntimePlugin, recipe: Recipe) -> Running:
        """The estimate of a bundle on its device."""
        shapes = self.shapes(runtime, recipe)
        return running(self.target, runtime, recipe.name, self.slots(runtime), shapes, self.folder)


def estimate(
    model: str,
    target: Target,
    recipe: str | None,
    context: int | None,
    progress: Progress,
    adapter: Path | None = None,
) -> Plan:
    """Estimate an export without making it.

    Args:
        model: A directory that holds a config.json, or a hub id, of which only that file is fetched.
        target: The kind of device.
        recipe: How to quantize, a name or a file; None for what the target has for each runtime.
        context: Slots of the KV cache; None for the target's, or the model's if that is shorter.
        progress: Receives the stages.
        adapter: The folder of a PEFT adapter to merge in; all of it is checked against the model.

    Raises:
        CheckpointError: The configuration or the adapter is wrong.
        UnsupportedError: The model, the adapter or the recipe isn't supported.
        LackingError: The configuration can't be fetched, or this machine lacks something.
        UsageError: The model wasn't made for the context, or the recipe's file is wrong.
    """
    from ..checkpoint.opening import check_context, describe
    from .disk import files_of

    progress.stage("Reading the configuration")
    described = describe(model)
    config, merged = described.text_config, None
    if adapter is not None:
        config, merged = _adapted(adapter, config)
    if context is not None:
        check_context(described, context)
    progress.stage("Adding up")
    of = _Model(config, described.place.path, target, context)
    runtimes = [find_runtime(name) for name in target.runtimes]
    recipes = [load_recipe(recipe or target.choices_for(one.name).recipe or target.recipe) for one in runtimes]
    shapes = of.shapes(runtimes[0], recipes[0])
    finer = () if recipe else tuple(finer_than(recipes[0]))
    bundles, refused = [of.bundle(runtimes[0], recipes[0])], []
    for runtime, other in zip(runtimes[1:], recipes[1:], strict=True):
        try:
            runtime.exporter.check(config, other, (target.delegate,), target.oldest_runtime.get(runtime.name))
            bundles.append(of.bundle(runtime, other))
        except (UnsupportedError, LackingError) as error:
            refused.append(f"there is no bundle for {runtime.name}: {error}")
    files = files_of(shapes, of.folder)
    return Plan(
        model=described.place.name,
        adapter=merged.name if merged is not None else None,
        target=target.name,
        recipe=recipes[0].name,
        context=bundles[0].context,
        parameters=shapes.parameters,
        tensors=tuple(_by_class(shapes)),
        bundles=tuple(bundles),
        recipes=_side_by_side(of, runtimes[0], bundles[0]),
        export=export_cost(shapes, files, Path.cwd()),
        finer=tuple(Finer(one.name, of.bundle(runtimes[0], one).bundle) for one in finer),
        notes=(*refused, *_notes(files, shapes), *(merged.notes if merged is not None else ())),
    )


def _side_by_side(of: _Model, runtime: RuntimePlugin, chosen: Running) -> tuple[Running, ...]:
    """The bundle with each packaged recipe that is possible, and the chosen one's, from the smallest."""
    found = [chosen]
    for name in list_recipes():
        if name != chosen.recipe:
            with suppress(UnsupportedError):
                found.append(of.bundle(runtime, load_recipe(name)))
    return tuple(sorted(found, key=lambda one: one.bundle))


def export_cost(shapes: Shapes, files: Files, here: Path) -> ExportCost:
    """Return what an export takes, and what this machine has of it in the folder ``here``."""
    from .fit import room_for
    from .memory import export_memory
    from .probe import measure_speed
    from .resources import this_machine
    from .seconds import export_seconds

    memory, machine = export_memory(shapes), this_machine(here)
    seconds = export_seconds(shapes, files, measure_speed(here))
    room = room_for(shapes, files, machine)
    return ExportCost(
        memory=room.memory,
        memory_by_stage=memory,
        disk=room.disk,
        seconds=round(sum(seconds.values()), 1),
        seconds_by_stage={stage: round(each, 1) for stage, each in seconds.items()},
        memory_left=machine.memory,
        memory_limit=machine.limit,
        disk_left=machine.disk,
        fits=room.fits,
    )


def _notes(files: Files, shapes: Shapes) -> tuple[str, ...]:
    found = []
    if not files.tokenizer_known:
        found.append("the tokenizer's size is a guess from the vocabulary, since there is no tokenizer.json")
    if shapes.experts:
        found.append("memory and seconds of lowering the experts are extrapolated from models without experts")
    return tuple(found)


def _adapted(folder: Path, config: PreTrainedConfig) -> tuple[PreTrainedConfig, Adapter]:
    """The configuration with an adapter merged in, and that adapter."""
    from ..checkpoint.adapters.adapter import HEAD, Base, open_adapter
    from ..checkpoint.adapters.overlay import adapted_config, spare_tensors
    from ..modeling.parts import PARTS, TEXT_DECODER

    tied = bool(config.tie_word_embeddings)
    state = PARTS.get(TEXT_DECODER).empty(config).state_dict()
    shapes = {name: tuple(value.shape) for name, value in state.items() if not (tied and name == HEAD)}
    adapter = open_adapter(folder, Base(shapes, tied, spare_tensors(config)))
    return adapted_config(config, adapter), adapter


def _by_class(shapes: Shapes) -> Iterator[TensorClass]:
    for kind in dict.fromkeys(w.kind for w in shapes.weights):
        of = [w for w in shapes.weights if w.kind == kind]
        yield TensorClass(kind, sum(w.elements for w in of), sum(w.filed for w in of), sum(w.read for w in of))
    size = FLOAT * shapes.others
    yield TensorClass("norm", shapes.others, size, size)
