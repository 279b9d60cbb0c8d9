"""Size, memory and rough speed of a model on a target, from its configuration alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .stages import Progress, Recipe, Target

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedConfig

REACHED = 0.6  # of the bandwidth, in a decode step of a 270M model: ExecuTorch 1.5 on two cores
FLOAT_COST = 4  # float32 operations take about this many times as long as int8 ones


@dataclass(frozen=True)
class TensorClass:
    """Tensors of one kind. bytes: in the bundle. read: bytes of them that one decode step reads."""

    name: str
    parameters: int
    bytes: int
    read: int


@dataclass(frozen=True)
class Plan:
    """An estimate; sizes in bytes, speeds in tokens per second.

    parameters: of the model, a tied head not counted twice. cache: KV cache, as it is allocated.
    memory: weights and cache; activations and the runtime itself come on top.
    read: bytes that one decode step reads, the cache half full.
    """

    model: str
    target: str
    recipe: str
    context: int
    parameters: int
    tensors: tuple[TensorClass, ...]
    program: int
    cache: int
    memory: int
    read: int
    decode: float
    prefill: float


def estimate(model: str, target: Target, recipe: Recipe, context: int | None, progress: Progress) -> Plan:
    """Estimates an export that isn't made.

    Args:
        model: A directory that holds a config.json, or a hub id, of which only that is fetched.
        context: Slots of the cache; None for the target's, or the model's own where that is shorter.

    Raises:
        CheckpointError, UnsupportedError, LackingError: As ``checkpoint.describe`` and the recipe have it.
        UsageError: A context that the model wasn't made for.
    """
    from .checkpoint import check_context, describe

    progress.stage("Reading the configuration")
    described = describe(model)
    config = described.text_config
    if context is not None:
        check_context(described, context)
    slots = context or min(target.context, int(config.max_position_embeddings))
    progress.stage("Adding up sizes")
    return _of_config(described.place.name, config, target, recipe, slots)


def _of_config(name: str, config: PreTrainedConfig, target: Target, recipe: Recipe, slots: int) -> Plan:
    from .graph.cache import cache_spec
    from .quantize.schemes import without_weights
    from .runtimes.litert.adapt import adapt

    empty = adapt(without_weights(config))  # experts as the matrices that a program has
    rows = list(_weights(empty, recipe))
    classes = tuple(_by_class(rows))
    cache = cache_spec(config, slots, min(target.prefill_chunk, slots)).bytes
    program = sum(c.bytes for c in classes)
    read = sum(c.read for c in classes) + cache // 2
    operations = sum(row.operations for row in rows if row.kind != "head")
    return Plan(
        model=name,
        target=target.name,
        recipe=recipe.name,
        context=slots,
        parameters=sum(p.numel() for p in empty.parameters()),
        tensors=classes,
        program=program,
        cache=cache,
        memory=program + cache,
        read=read,
        decode=round(REACHED * target.memory_bandwidth * 1e9 / read, 1),
        prefill=round(target.compute * 1e9 / operations, 1),
    )


@dataclass(frozen=True)
class _Weight:
    kind: str
    parameters: int
    bytes: int
    read: int
    operations: int


def _weights(model: nn.Module, recipe: Recipe) -> Iterator[_Weight]:
    """Every weight as the recipe stores it; a tied head counts as stored, as the delegate keeps its own."""
    from torch import nn

    from .quantize.schemes import decide
    from .quantize.sizes import stored_bytes, tensor_class

    decided = decide(model, recipe)
    for name, module, scheme in decided:
        rows, columns = module.weight.shape
        size = stored_bytes(rows, columns, scheme)
        gathered = isinstance(module, nn.Embedding)
        cost = 1 if scheme.activation == "int8-dynamic" else FLOAT_COST
        yield _Weight(
            tensor_class(name, gathered),
            rows * columns,
            size,
            size // rows if gathered else size,
            0 if gathered else 2 * rows * columns * cost,
        )
    inside = {f"{name}.weight" for name, _, _ in decided}
    for name, parameter in model.named_parameters():
        if name not in inside:
            size = 4 * parameter.numel()
            yield _Weight("norm", parameter.numel(), size, size, 0)


def _by_class(rows: list[_Weight]) -> Iterator[TensorClass]:
    for kind in dict.fromkeys(row.kind for row in rows):
        of = [row for row in rows if row.kind == kind]
        yield TensorClass(kind, sum(r.parameters for r in of), sum(r.bytes for r in of), sum(r.read for r in of))
