"""Size, memory, time and rough speed of a model on a target, and of its export, from its configuration alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..modeling.matrices import matrix_columns
from ..quantize.fallback import settled
from ..quantize.recipe import Recipe, finer_than
from ..runtimes import find_runtime
from ..target import Target
from ..util.progress import Progress

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

    from ..checkpoint.adapters.adapter import Adapter
    from .disk import Files
    from .shapes import Shapes

REACHED = 0.6  # share of the bandwidth that a decode step of a 270M model reaches: ExecuTorch 1.5 on two cores
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
    """An estimate; sizes in bytes, speeds in tokens per second.

    Attributes:
        model: The model's name.
        adapter: The name of the adapter that is merged in; null if there is none.
        target: The target's name.
        recipe: The recipe's name.
        context: Slots of the KV cache.
        parameters: Parameters of the model; a tied head is counted once.
        tensors: The tensors by kind.
        program: Bytes of the program's file.
        bundle: Bytes of all files of the bundle, which are those of a zip too.
        cache: Bytes of the KV cache, as it is allocated.
        memory: The most bytes resident, besides the runtime's own code, of a process that runs the bundle and fills
            its context.
        read: Bytes that one decode step reads with the cache half full; of experts, those that a token chooses.
        decode: Tokens per second of a reply.
        prefill: Tokens per second of a prompt.
        export: What making the bundle takes.
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
    program: int
    bundle: int
    cache: int
    memory: int
    read: int
    decode: float
    prefill: float
    export: ExportCost
    finer: tuple[Finer, ...]
    notes: tuple[str, ...]


def estimate(
    model: str,
    target: Target,
    recipe: Recipe,
    context: int | None,
    progress: Progress,
    adapter: Path | None = None,
    asked: bool = True,
) -> Plan:
    """Estimate an export without making it.

    Args:
        model: A directory that holds a config.json, or a hub id, of which only that file is fetched.
        target: The kind of device.
        recipe: How to quantize.
        context: Slots of the KV cache; None for the target's, or the model's if that is shorter.
        progress: Receives the stages.
        adapter: The folder of a PEFT adapter to merge in; all of it is checked against the model.
        asked: Whether the recipe was asked for, so that an export stays with it.

    Raises:
        CheckpointError: The configuration or the adapter is wrong.
        UnsupportedError: The model, the adapter or the recipe isn't supported.
        LackingError: The configuration can't be fetched, or this machine lacks something.
        UsageError: The model wasn't made for the context.
    """
    from ..checkpoint.opening import check_context, describe
    from .disk import files_of
    from .memory import run_memory
    from .shapes import shapes_of

    progress.stage("Reading the configuration")
    described = describe(model)
    config, merged = described.text_config, None
    if adapter is not None:
        config, merged = _adapted(adapter, config)
    runtime = find_runtime(target.runtimes[0])
    columns = matrix_columns(config, runtime.name)
    if context is not None:
        check_context(described, context)
    slots = context or min(target.context, int(config.max_position_embeddings))
    progress.stage("Adding up")
    check = runtime.delegate(target.delegate).check_scheme

    def shaped(recipe: Recipe) -> Shapes:
        return shapes_of(config, settled(recipe, columns), slots, target.prefill_chunk, check)

    shapes, folder = shaped(recipe), described.place.path
    read = sum(w.read for w in shapes.weights) + FLOAT * shapes.others + shapes.cache.bytes // 2
    operations = sum(w.operations for w in shapes.weights if w.kind != "head")
    files, cost = _cost(shapes, folder)
    finer = () if asked else tuple(Finer(one.name, files_of(shaped(one), folder).bundle) for one in finer_than(recipe))
    return Plan(
        model=described.place.name,
        adapter=merged.name if merged is not None else None,
        target=target.name,
        recipe=recipe.name,
        context=slots,
        parameters=shapes.parameters,
        tensors=tuple(_by_class(shapes)),
        program=files.program,
        bundle=files.bundle,
        cache=shapes.cache.bytes,
        memory=run_memory(shapes),
        read=read,
        decode=round(REACHED * target.memory_bandwidth * 1e9 / read, 1),
        prefill=round(target.compute * 1e9 / operations, 1),
        export=cost,
        finer=finer,
        notes=(*_notes(files, shapes), *(merged.notes if merged is not None else ())),
    )


def _cost(shapes: Shapes, folder: Path) -> tuple[Files, ExportCost]:
    """What the export takes, and what this machine has, in the folder that ``export`` writes to by default."""
    from .disk import files_of
    from .fit import room_for
    from .memory import export_memory
    from .probe import measure_speed
    from .resources import this_machine
    from .seconds import export_seconds

    here = Path.cwd()
    files, memory, machine = files_of(shapes, folder), export_memory(shapes), this_machine(here)
    seconds = export_seconds(shapes, files, measure_speed(here))
    room = room_for(shapes, files, machine)
    return files, ExportCost(
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
