"""The plain upstream route to a ``.pte``, as ``benchmarks.export --compare-first-route`` times it.

transformers' hooks, torchao's ``quantize_``, ExecuTorch's partitioners, and nothing of Gemcut: the cache is turned
to transformers' layout and back around ``custom_sdpa``, RMSNorm keeps its ``aten.mean``, two partitioners stand in a
row, every partition is lowered for itself. The sliding window is left out (all layers attend to everything), so
its program is not right past the window; only its time is of interest.

    python -m benchmarks.first_route CHECKPOINT OUT.pte
"""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from .common import Command

NAME = "first_route_sdpa"
GROUP = 32
LIBRARIES = (
    "executorch.backends.xnnpack.partition.xnnpack_partitioner",
    "executorch.exir",
    "executorch.extension.llm.custom_ops.custom_ops",  # registers llama::*
    "executorch.kernels.quantized",  # registers quantized_decomposed::*
    "torchao.quantization",
    "transformers",
)


class Clock:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - began


def load(checkpoint: Path) -> Any:
    """The float32 model, its attention set to ``custom_sdpa``; no padding index, which stops a fusion."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.Embedding):
            module.padding_idx = None
    model.config._attn_implementation = NAME
    return model


def quantize(model: Any) -> None:
    """int8 embeddings by row, int4 linears in groups of 32 with int8 activations per token."""
    import torch
    from torchao.quantization import Int8DynamicActivationIntxWeightConfig, IntxWeightOnlyConfig, quantize_
    from torchao.quantization.granularity import PerAxis, PerGroup
    from torchao.utils import unwrap_tensor_subclass

    linears = Int8DynamicActivationIntxWeightConfig(weight_dtype=torch.int4, weight_granularity=PerGroup(GROUP))
    embeddings = IntxWeightOnlyConfig(weight_dtype=torch.int8, granularity=PerAxis(0))
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone(), requires_grad=False)
    quantize_(model, embeddings, lambda module, name: isinstance(module, torch.nn.Embedding))
    quantize_(model, linears, lambda module, name: isinstance(module, torch.nn.Linear))
    unwrap_tensor_subclass(model)


def make_program(model: Any, context: int) -> Any:
    """The module to trace: ``forward(tokens [1, S] int64, input_pos [1] int64) -> logits [1, V]``."""
    import torch
    from transformers.cache_utils import Cache, StaticLayer
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    class Layer(StaticLayer):
        """Stored [1, slots, heads, D], handed back as transformers expects it, [1, heads, slots, D]."""

        def __init__(self, owner: Any, index: int) -> None:
            super().__init__(max_cache_len=context)
            self.owner, self.index = owner, index

        def update(self, key_states, value_states, *args, **kwargs):  # type: ignore[no-untyped-def]
            both = []
            for kind, states in (("k", key_states), ("v", value_states)):
                cache = getattr(self.owner, f"{kind}_{self.index}")
                torch.ops.llama.update_cache(states.transpose(1, 2), cache, self.owner.start)
                both.append(cache.transpose(1, 2))
            return tuple(both)

        def get_mask_sizes(self, *args: Any, **kwargs: Any) -> tuple[int, int]:
            return context, 0

        def get_seq_length(self, *args: Any, **kwargs: Any) -> int:
            return 0

    class Program(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model
            self.start: Any = 0
            config = model.config
            shape = (1, context, config.num_key_value_heads, config.head_dim)
            for index in range(config.num_hidden_layers):
                self.register_buffer(f"k_{index}", torch.zeros(shape), persistent=False)
                self.register_buffer(f"v_{index}", torch.zeros(shape), persistent=False)
            self.cache = Cache(layers=[Layer(self, index) for index in range(config.num_hidden_layers)])

        def forward(self, tokens: torch.Tensor, input_pos: torch.Tensor) -> torch.Tensor:
            length = tokens.shape[1]
            self.start = input_pos[0].item()
            torch._check(self.start >= 0)
            torch._check(self.start + length <= context)
            out = self.model(
                input_ids=tokens,
                position_ids=(input_pos + torch.arange(length)).unsqueeze(0),
                attention_mask={"full_attention": None, "sliding_attention": None},
                past_key_values=self.cache,
                use_cache=True,
                logits_to_keep=1,
            )
            logits: torch.Tensor = out.logits[:, -1, :]
            return logits

    program = Program().eval()

    def attend(module, query, key, value, attention_mask, scaling=None, **kwargs):  # type: ignore[no-untyped-def]
        q, k, v = (states.transpose(1, 2) for states in (query, key, value))
        return torch.ops.llama.custom_sdpa(q, k, v, program.start, None, 0.0, True, scaling), None

    ALL_ATTENTION_FUNCTIONS.register(NAME, attend)
    ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, lambda *args, **kwargs: None)
    return program


def trace(program: Any, chunk: int) -> Any:
    """Traces with a dynamic number of tokens, 1 .. chunk."""
    import torch

    example = (torch.zeros((1, 4), dtype=torch.long), torch.zeros(1, dtype=torch.long))
    dynamic = ({1: torch.export.Dim("length", min=1, max=chunk)}, None)
    with torch.no_grad():
        return torch.export.export(program, example, dynamic_shapes=dynamic, strict=False)


def lower(traced: Any, constants: dict[str, Any]) -> Any:
    """Both of XNNPACK's partitioners, one after the other."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import (
        XnnpackDynamicallyQuantizedPartitioner,
        XnnpackPartitioner,
    )
    from executorch.exir import EdgeCompileConfig, to_edge_transform_and_lower

    return to_edge_transform_and_lower(
        traced,
        partitioner=[XnnpackDynamicallyQuantizedPartitioner(), XnnpackPartitioner()],
        constant_methods=constants,
        compile_config=EdgeCompileConfig(_check_ir_validity=False, _skip_dim_order=True),
    )


def emit(edge: Any, out: Path) -> None:
    """Memory planning, constant propagation, and the file."""
    from executorch.exir import ExecutorchBackendConfig
    from executorch.exir.passes import MemoryPlanningPass
    from executorch.exir.passes.sym_shape_eval_pass import ConstraintBasedSymShapeEvalPass

    config = ExecutorchBackendConfig(
        extract_delegate_segments=True,
        do_quant_fusion_and_const_prop=True,
        memory_planning_pass=MemoryPlanningPass(alloc_graph_input=False),
        sym_shape_eval_pass=ConstraintBasedSymShapeEvalPass(),
    )
    with out.open("wb") as file:
        edge.to_executorch(config).write_to_file(file)


def export(checkpoint: Path, out: Path, context: int, chunk: int) -> dict[str, float]:
    """The whole route; returns seconds by stage. Libraries are loaded before the clock runs."""
    for name in LIBRARIES:
        importlib.import_module(name)
    clock = Clock()
    with clock.stage("load"):
        model = load(checkpoint)
        program = make_program(model, context)
    with clock.stage("quantize"):
        quantize(model)
    with clock.stage("trace"):
        traced = trace(program, chunk)
    constants = {
        "get_bos_id": model.config.bos_token_id,
        "get_max_seq_len": chunk,
        "get_max_context_len": context,
        "get_vocab_size": model.config.vocab_size,
        "get_n_layers": model.config.num_hidden_layers,
        "use_kv_cache": True,
        "use_sdpa_with_kv_cache": True,
        "enable_dynamic_shape": True,
    }
    with clock.stage("lower"):
        edge = lower(traced, constants)
    with clock.stage("emit"):
        emit(edge, out)
    return clock.seconds


@click.command(cls=Command)
@click.argument("checkpoint", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--context", type=click.IntRange(min=8), default=2048, show_default=True, help="Slots of the KV cache.")
@click.option("--chunk", type=click.IntRange(min=4), default=128, show_default=True, help="Tokens of a call at most.")
def main(checkpoint: Path, out: Path, context: int, chunk: int) -> None:
    """Export CHECKPOINT (Gemma 3 text) to OUT by the plain route; the last line of stdout is JSON."""
    from gemcut.util.process_memory import peak_memory

    seconds = export(checkpoint, out, context, chunk)
    print(json.dumps({"seconds": seconds, "size": out.stat().st_size, "peak_memory": peak_memory()}), flush=True)


if __name__ == "__main__":
    main()
