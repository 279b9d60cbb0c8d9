"""From the float model to a ``.pte``: quantize, trace, lower."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...modeling.experts import split_experts
from ...modeling.macs import attention_macs, linear_macs
from ...util.file_tensors import Scratch
from ...util.process_memory import give_back
from ...util.stage_clock import StageClock
from ..program import BuildSpec, Program
from .apply_recipe import apply_recipe
from .delegates import DELEGATES
from .graph.decoder import trace
from .graph.routing import ChosenExperts
from .graph.softcap import is_softcapped
from .lower import lower
from .patches.graph_cleanup import graphs_released

if TYPE_CHECKING:
    from .delegates.base import ExecuTorchDelegate

PROGRAM = "model.pte"


def build(spec: BuildSpec, model: Any, work: Path, clock: StageClock) -> Program:
    """Quantize ``model`` in place, trace it with its cache inside, and lower it to ``work / model.pte``."""
    delegates = [DELEGATES.get(name) for name in spec.delegates]
    with clock.stage("quantize", recipe=spec.recipe.name):
        split = split_experts(model, ChosenExperts)
        quantized = apply_recipe(
            split, spec.recipe, delegates[0].check_scheme, Scratch(work), clock.progress, spec.weights
        )
        module = model
        for delegate in delegates:
            module = delegate.adapt(module)
    give_back()  # pieces of matrices: hundreds of megabytes of a large model
    size = sum(quantized.bytes_by_class().values())
    with graphs_released():
        program = _lowered(module, spec, delegates, work / PROGRAM, clock, size)
    products = linear_macs(module)
    # Attention runs in ExecuTorch's own kernel, outside delegates, unless a softcap keeps it out of that kernel.
    attention = 0 if is_softcapped(spec.config) else attention_macs(spec.config, spec.cache)
    return dataclasses.replace(
        program,
        delegated_macs=program.delegated_macs * products / (products + attention),
        tensors=_once(quantized.bytes_by_class(), int(program.facts["shared_bytes"])),
        quantized=quantized.count_by_class(),
        schemes=quantized.schemes_by_class(),
    )


def _once(tensors: dict[str, int], shared: int) -> dict[str, int]:
    """The bytes by class, of which a tied head's are counted with the embedding if the file has one table for both."""
    return {name: max(0, size - shared) if name == "head" else size for name, size in tensors.items()}


def _lowered(
    module: Any, spec: BuildSpec, delegates: Sequence[ExecuTorchDelegate], out: Path, clock: StageClock, size: int
) -> Program:
    with clock.stage("graph"):
        traced = trace(module, spec.cache)
    with clock.stage("lower"):
        return lower(traced, out, _constants(spec), delegates, clock.progress, size)


def _constants(spec: BuildSpec) -> dict[str, Any]:
    """The constant methods that ExecuTorch's LLM runners read (extension/llm/runner/constants.h)."""
    constants: dict[str, Any] = {
        "get_eos_ids": list(spec.stop_ids),
        "get_max_seq_len": spec.cache.chunk,
        "get_max_context_len": spec.cache.context,
        "get_vocab_size": spec.config.vocab_size,
        "get_n_layers": spec.config.num_hidden_layers,
        "use_kv_cache": True,
        "use_sdpa_with_kv_cache": True,
        "enable_dynamic_shape": True,
    }
    if spec.bos_id is not None:
        constants["get_bos_id"] = spec.bos_id
    return constants
