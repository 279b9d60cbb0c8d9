"""A transformers decoder as one exportable module with the contract of ExecuTorch's LLM runners.

``forward(tokens [1, S] int64, input_pos [1] int64) -> logits [1, V] float32`` of the last token, with the KV cache
inside. Everything family-specific is transformers' own code, reached through its public extension points: a
registered attention function, a ``Cache`` and module swaps by class.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ....modeling.kv_cache import CacheSpec
from ....modeling.rotary import order_rotary
from ....modeling.sparse import DelegableSparseGatedMLP, is_sparse_mlp
from . import attention, softcap
from .activation import DelegableGELUTanh, is_gelu_tanh
from .cache import ProgramCache, StepState
from .norm import delegable_norm, is_rms_norm
from .routing import bind_experts


@dataclass(frozen=True)
class Traced:
    """A traced program.

    Attributes:
        module: The module that was traced.
        program: Its ``torch.export.ExportedProgram``.
        spec: The shape of its KV cache.
    """

    module: nn.Module
    program: torch.export.ExportedProgram
    spec: CacheSpec


class DecoderProgram(nn.Module):
    """The module that is traced.

    Args:
        model: A transformers ``...ForCausalLM`` in float32, already adapted (``adapt``) and quantized.
        spec: The cache's shape.
    """

    ring_slots: torch.Tensor
    context_slots: torch.Tensor
    offsets: torch.Tensor

    def __init__(self, model: Any, spec: CacheSpec) -> None:
        super().__init__()
        self.model = model
        self.spec = spec
        self.state = StepState()
        self.state.spec = spec
        self.softcapped = softcap.is_softcapped(model.config)
        kind = softcap.SoftcapCache if self.softcapped else ProgramCache
        self.cache = kind(spec, self, self.state)
        self.experts = bind_experts(model, spec.chunk)
        self.layer_types = list(getattr(model.config, "layer_types", None) or [])
        order_rotary(model, self.layer_types, self.state)
        if spec.windowed:
            self.register_buffer("ring_slots", torch.arange(spec.ring_slots), persistent=False)
        if self.softcapped:
            self.register_buffer("context_slots", torch.arange(spec.context), persistent=False)
        self.register_buffer("offsets", torch.arange(spec.chunk), persistent=False)

    def forward(self, tokens: torch.Tensor, input_pos: torch.Tensor) -> torch.Tensor:
        """Feed tokens and return the logits of the last.

        Args:
            tokens: int64 [1, S], 1 <= S <= chunk.
            input_pos: The first token's position, int64 [1].

        Returns:
            float32 [1, V].
        """
        length = tokens.shape[1]
        start = input_pos[0].item()
        torch._check(start >= 0)  # type: ignore[no-untyped-call]
        torch._check(start < self.spec.context)  # type: ignore[no-untyped-call]
        torch._check(start + length <= self.spec.context)  # type: ignore[no-untyped-call]
        offsets = self.offsets[:length]
        positions = (input_pos + offsets).unsqueeze(0)
        self._begin(start, length, positions)  # type: ignore[no-untyped-call]
        out = self.model(
            input_ids=tokens,
            position_ids=positions,
            attention_mask=self._no_masks(),
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
            step_state=self.state,
        )
        logits: torch.Tensor = out.logits[:, -1, :]
        return logits

    def _begin(self, start, length, positions):  # type: ignore[no-untyped-def]
        """Sets the step's state."""
        state, spec = self.state, self.spec
        state.start, state.end = start, start + length
        state.rotary = {}
        state.slots, state.in_window, state.window_mask, state.causal_mask = None, None, None, None
        if not (spec.windowed or self.softcapped):
            return
        last = positions[0, -1:]
        behind = (last - positions[0]).to(torch.float32).unsqueeze(1)
        if spec.windowed:
            state.slots = torch.remainder(positions, spec.ring_slots)
            state.in_window = (last < spec.window).squeeze(0)
            ring = self.ring_slots
            if self.softcapped:  # ``custom_sdpa`` takes its mask only past the window, where the ring is full
                state.ring_end = torch.sym_min(state.end, spec.ring_slots)  # type: ignore[no-untyped-call]
                ring = ring[: state.ring_end]
            state.window_mask = attention.window_mask(last, behind, ring, spec)
        if self.softcapped:
            state.causal_mask = softcap.causal_mask(last, behind, self.context_slots[: state.end])

    def _no_masks(self) -> Any:
        """What keeps transformers from making masks: attention makes its own, from the step's state."""
        if self.layer_types:
            return dict.fromkeys(("full_attention", "sliding_attention"))
        return torch.zeros(1, 1, 1, 1)  # of four dimensions: passed on as it is, and never read


def adapt(model: Any) -> nn.Module:
    """Swap, in place, modules that delegates can't take whole; numerically the same to float32 rounding."""
    for name, module in list(model.named_modules()):
        if is_rms_norm(module):
            parent = model.get_submodule(name.rpartition(".")[0])
            width = int(getattr(parent, "head_dim", 0) or getattr(parent, "hidden_size", 0) or model.config.hidden_size)
            setattr(parent, name.rpartition(".")[2], delegable_norm(name, module, width))
        elif is_gelu_tanh(module):
            model.get_submodule(name.rpartition(".")[0]).register_module(name.rpartition(".")[2], DelegableGELUTanh())
        elif is_sparse_mlp(module):
            parent = model.get_submodule(name.rpartition(".")[0])
            setattr(parent, name.rpartition(".")[2], DelegableSparseGatedMLP(module))
    attention.register()
    model.config._attn_implementation = attention.NAME
    adapted: nn.Module = model.eval()
    return adapted


def trace(model: nn.Module, spec: CacheSpec) -> Traced:
    """Trace a model with a dynamic number of tokens, 1 .. chunk."""
    import executorch.exir  # noqa: F401  (defines the gathers of quantized rows)

    module = DecoderProgram(model, spec).eval()
    length = min(spec.chunk, 4)
    example = (torch.zeros((1, length), dtype=torch.long), torch.zeros(1, dtype=torch.long))
    dynamic = ({1: torch.export.Dim("length", min=1, max=spec.chunk)}, None)
    with torch.no_grad():
        program = torch.export.export(module, example, dynamic_shapes=dynamic, strict=False)
    return Traced(module, program, spec)
