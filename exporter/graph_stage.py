"""From the float model to a program: quantize, trace, lower."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .graph.decoder import Traced, adapt
from .graph.decoder import trace as _trace
from .graph.macs import attention_macs, linear_macs
from .quantize.apply import Quantized, apply_recipe
from .stages import Lowered, Progress

if TYPE_CHECKING:
    from .planning import ExportPlan


@dataclass(frozen=True)
class Graph:
    """An adapted, quantized module. parameters: of the float model, a tied head counted once."""

    module: Any
    quantized: Quantized
    parameters: int


def quantize(plan: ExportPlan, model: Any) -> Graph:
    """Adapts and quantizes ``model`` in place."""
    parameters = sum(p.numel() for p in model.parameters())
    quantized = apply_recipe(model, plan.recipe)
    return Graph(adapt(model), quantized, parameters)


def trace(plan: ExportPlan, graph: Graph) -> Traced:
    """Traces the module with its cache inside."""
    return _trace(graph.module, plan.cache)


def lower(plan: ExportPlan, graph: Graph, traced: Traced, work: Path, progress: Progress) -> Lowered:
    """Writes the runtime's program into ``work``."""
    out = work / plan.runtime.program_name
    lowered = plan.runtime.lower(traced, out, _constants(plan), progress)
    products = linear_macs(graph.module)
    attention = attention_macs(plan.checkpoint.text_config, plan.cache)
    return dataclasses.replace(
        lowered,
        # Attention runs in ExecuTorch's own kernel, outside delegates.
        delegated_macs=lowered.delegated_macs * products / (products + attention),
        tensors=graph.quantized.bytes_by_class(),
        quantized=graph.quantized.count_by_class(),
    )


def _constants(plan: ExportPlan) -> dict[str, Any]:
    """The constant methods that ExecuTorch's LLM runners read (extension/llm/runner/constants.h)."""
    checkpoint, config = plan.checkpoint, plan.checkpoint.text_config
    constants: dict[str, Any] = {
        "get_eos_ids": list(checkpoint.stop_ids),
        "get_max_seq_len": plan.cache.chunk,
        "get_max_context_len": plan.cache.context,
        "get_vocab_size": config.vocab_size,
        "get_n_layers": config.num_hidden_layers,
        "use_kv_cache": True,
        "use_sdpa_with_kv_cache": True,
        "enable_dynamic_shape": True,
    }
    if checkpoint.bos_id is not None:
        constants["get_bos_id"] = checkpoint.bos_id
    return constants
