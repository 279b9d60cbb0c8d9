"""Modules that the converter can't take, swapped for ones that compute the same; chosen by what a module does.

The swaps need no values, so that they also show a model on torch's meta device as it will be converted: with one linear
for each expert, by the names that recipes decide on.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ...errors import UnsupportedError


class SparseGatedMLP(nn.Module):
    """A gated MLP that keeps the largest of its gate's activations (Gemma 3n), without the inverse error function.

    The gate is cut at mean + z · std, where z is the normal distribution's quantile at ``activation_sparsity``.
    transformers computes z anew in every call, through ``erfinv``, which litert-torch 0.10 has no lowering for; it
    depends on the configuration alone, so it is a constant here.

    Args:
        mlp: the family's module: linears ``gate_proj``, ``up_proj``, ``down_proj``, the activation ``act_fn`` and the
            share ``activation_sparsity`` of the gate that becomes zero, above 0 and below 1.
    """

    def __init__(self, mlp: Any) -> None:
        super().__init__()
        self.gate_proj, self.up_proj, self.down_proj = mlp.gate_proj, mlp.up_proj, mlp.down_proj
        self.act_fn = mlp.act_fn
        # In float32, as transformers has it.
        quantile = torch.distributions.Normal(0.0, 1.0).icdf(torch.tensor(mlp.activation_sparsity))  # type: ignore[no-untyped-call]
        self.std_multiplier = float(quantile)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: float32 [..., H]; returns float32 [..., H]."""
        gate = self.gate_proj(x)
        mean = torch.mean(gate, dim=-1, keepdim=True)
        std = torch.std(gate, dim=-1, keepdim=True, unbiased=False)
        gate = torch.relu(gate - (mean + std * self.std_multiplier))
        out: torch.Tensor = self.down_proj(self.act_fn(gate) * self.up_proj(x))
        return out


class DenseExperts(nn.Module):
    """Every expert of a mixture computed for every token, and mixed by the router's weights.

    A LiteRT tensor's scales are fixed with it, so a matrix that is chosen at run time (GATHER, EMBEDDING_LOOKUP) comes
    out as float32. Copying 8 of 128 int8 experts out of a table moves about half the bytes of reading all of them, of
    int4 ones as many, and a prefill would copy them for each token. So all are read: decode reads every expert of the
    model for every token, not the few that are active, and is as slow as a dense model of the same size.

    Each expert has linears of its own, views of the family's three-dimensional parameters, so that a recipe gives it a
    scheme like any other.

    Args:
        experts: the family's module: parameters ``gate_up_proj`` [E, 2 I, H] and ``down_proj`` [E, H, I], the
            activation ``act_fn``.
    """

    def __init__(self, experts: Any) -> None:
        super().__init__()
        self.act_fn = experts.act_fn
        self.gate_up_proj = nn.ModuleList(_view(weight) for weight in experts.gate_up_proj)
        self.down_proj = nn.ModuleList(_view(weight) for weight in experts.down_proj)

    def forward(self, x: torch.Tensor, top_k_index: torch.Tensor, top_k_weights: torch.Tensor) -> torch.Tensor:
        """x: float32 [T, H]; top_k_index: int64 [T, K]; top_k_weights: float32 [T, K]; returns float32 [T, H]."""
        numbers = torch.arange(len(self.gate_up_proj), dtype=top_k_index.dtype)
        chosen = top_k_index.unsqueeze(-1) == numbers
        shares = torch.where(chosen, top_k_weights.unsqueeze(-1), 0.0).sum(dim=1)
        out = torch.zeros_like(x)
        for number, (gate_up, down) in enumerate(zip(self.gate_up_proj, self.down_proj, strict=True)):
            gate, up = gate_up(x).chunk(2, dim=-1)
            out = out + down(self.act_fn(gate) * up) * shares[:, number : number + 1]
        return out


def _view(weight: torch.Tensor) -> nn.Linear:
    """A linear without bias over ``weight`` [N, K], which stays where it is."""
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    linear.weight = nn.Parameter(weight.detach(), requires_grad=False)
    return linear


def is_sparse_mlp(module: nn.Module) -> bool:
    """Whether a module is a gated MLP that cuts its gate by a quantile."""
    parts = ("gate_proj", "up_proj", "down_proj", "act_fn")
    return getattr(module, "activation_sparsity", 0.0) > 0.0 and all(hasattr(module, part) for part in parts)


def are_experts(module: nn.Module) -> bool:
    """Whether a module holds the weights of several experts in one parameter each."""
    stacked = [getattr(module, part, None) for part in ("gate_up_proj", "down_proj")]
    return all(isinstance(weight, nn.Parameter) and weight.dim() == 3 for weight in stacked)


def adapt(model: Any) -> Any:
    """Swaps in place what can't be converted; numerically the same to float32 rounding.

    Args:
        model: a transformers causal LM; it may be without weights (on torch's meta device).

    Returns:
        The same model.

    Raises:
        UnsupportedError: experts that are laid out in another way than any supported family's.
    """
    for name, module in list(model.named_modules()):
        if is_sparse_mlp(module):
            new: nn.Module = SparseGatedMLP(module)
        elif are_experts(module):
            _check_layout(name, module)
            new = DenseExperts(module)
        else:
            continue
        parent, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(parent), leaf, new)
    return model


def _check_layout(name: str, experts: Any) -> None:
    """Gate above up, rows are outputs, no bias: as transformers' ``use_experts_implementation`` flags say."""
    wanted = {"has_gate": True, "is_concatenated": True, "is_transposed": False, "has_bias": False}
    other = [flag for flag, value in wanted.items() if getattr(experts, flag, value) != value]
    if other or getattr(experts, "has_post_expert_norm", False):
        raise UnsupportedError(
            f"{name} ({type(experts).__name__}) keeps its experts in a layout that Gemcut doesn't know: "
            f"{', '.join(other) or 'has_post_expert_norm'}.",
            hint="This family needs an adaptation that Gemcut does not have yet; please report it.",
        )
