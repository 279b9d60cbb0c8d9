"""From the float model to a ``.pte``: quantize, trace, lower."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from ...modeling.experts import split_experts
from ...modeling.macs import attention_macs, linear_macs
from ...util.file_tensors import Scratch
from ...util.process_memory import give_back
from ...util.stage_clock import Clock
from ..base import Lowered, Order
from .apply_recipe import apply_recipe
from .graph.decoder import adapt, trace
from .graph.routing import ChosenExperts
from .graph.softcap import is_softcapped
from .lower import lower
from .patches.graph_cleanup import graphs_released


def build(order: Order, model: Any, work: Path, clock: Clock) -> Lowered:
    """Quantizes ``model`` in place, traces it with its cache inside, and lowers it to ``work / model.pte``."""
    with clock.stage("quantize", f"Quantizing: {order.recipe.name}"):
        split = split_experts(model, ChosenExperts)
        quantized = apply_recipe(split, order.recipe, Scratch(work), clock.progress)
        module = adapt(model)
    give_back()  # pieces of matrices: hundreds of megabytes of a large model
    size = sum(quantized.bytes_by_class().values())
    with graphs_released():
        lowered = _lowered(module, order, work / "model.pte", clock, size)
    products = linear_macs(module)
    # Attention runs in ExecuTorch's own kernel, outside delegates, but where a softcap keeps it from there.
    attention = 0 if is_softcapped(order.config) else attention_macs(order.config, order.cache)
    return dataclasses.replace(
        lowered,
        delegated_macs=lowered.delegated_macs * products / (products + attention),
        tensors=quantized.bytes_by_class(),
        quantized=quantized.count_by_class(),
        schemes=quantized.schemes_by_class(),
    )


def _lowered(module: Any, order: Order, out: Path, clock: Clock, size: int) -> Lowered:
    with clock.stage("graph", "Tracing"):
        traced = trace(module, order.cache)
    with clock.stage("lower", "Lowering for ExecuTorch"):
        return lower(traced, out, _constants(order), clock.progress, size)


def _constants(order: Order) -> dict[str, Any]:
    """The constant methods that ExecuTorch's LLM runners read (extension/llm/runner/constants.h)."""
    constants: dict[str, Any] = {
        "get_eos_ids": list(order.stop_ids),
        "get_max_seq_len": order.cache.chunk,
        "get_max_context_len": order.cache.context,
        "get_vocab_size": order.config.vocab_size,
        "get_n_layers": order.config.num_hidden_layers,
        "use_kv_cache": True,
        "use_sdpa_with_kv_cache": True,
        "enable_dynamic_shape": True,
    }
    if order.bos_id is not None:
        constants["get_bos_id"] = order.bos_id
    return constants
