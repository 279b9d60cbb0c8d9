"""Activation sparsity (Gemma 3n): a gated MLP that keeps the largest of its gate's activations.

The gate is cut at mean + z · std, where z is the normal distribution's quantile at ``activation_sparsity``.
transformers computes z in every call, through ``erfinv``, which no runtime has; it depends on the configuration alone,
so it is a constant here.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class SparseGatedMLP(nn.Module):
    """The family's MLP with its quantile as a constant.

    Args:
        mlp: The family's module: linears ``gate_proj``, ``up_proj``, ``down_proj``, the activation ``act_fn`` and the
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
        """Return the MLP's output, float32 [..., H], for ``x``, float32 [..., H]."""
        gate = self.gate_proj(x)
        mean, std = self.moments(gate)
        gate = torch.relu(gate - (mean + std * self.std_multiplier))
        out: torch.Tensor = self.down_proj(self.act_fn(gate) * self.up_proj(x))
        return out

    def moments(self, gate: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the gate's mean and standard deviation (of the whole, not a sample) over the last dimension.

        Args:
            gate: The gate's activations before the cut, float32 [..., I].

        Returns:
            Both float32 [..., 1].
        """
        return torch.mean(gate, dim=-1, keepdim=True), torch.std(gate, dim=-1, keepdim=True, unbiased=False)


class DelegableSparseGatedMLP(SparseGatedMLP):
    """The same MLP with means as matrix products, which delegates take whole (see ``norm``).

    The deviation is squared before it is averaged: the mean of the squares minus the square of the mean would lose all
    digits of a small one.

    Attributes:
        averager: The matrix that averages, float32 [1, I], all of it 1 / I.
    """

    averager: torch.Tensor

    def __init__(self, mlp: Any) -> None:
        super().__init__(mlp)
        width = int(mlp.gate_proj.out_features)
        self.register_buffer("averager", torch.full((1, width), 1.0 / width), persistent=False)

    def moments(self, gate: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and standard deviation as ``SparseGatedMLP`` does."""
        mean = nn.functional.linear(gate, self.averager)
        apart = gate - mean
        return mean, torch.sqrt(nn.functional.linear(apart * apart, self.averager))


def is_sparse_mlp(module: nn.Module) -> bool:
    """Return whether a module is a gated MLP that cuts its gate by a quantile."""
    parts = ("gate_proj", "up_proj", "down_proj", "act_fn")
    return getattr(module, "activation_sparsity", 0.0) > 0.0 and all(hasattr(module, part) for part in parts)


def split_sparse(model: Any) -> Any:
    """Swap, in place, every sparse MLP for ``SparseGatedMLP``, which computes the same; return the model."""
    for name, module in list(model.named_modules()):
        if is_sparse_mlp(module):
            parent, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(parent), leaf, SparseGatedMLP(module))
    return model
