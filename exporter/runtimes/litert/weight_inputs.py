"""Matrices as inputs of the traced program; ``link`` puts them in afterwards.

A converter that sees weights copies, folds and transposes them: 1.9 to 3.5 times the float model in memory. Here it
sees only names. ``tfl.batch_matmul(x, W, adj_y)`` with an input W becomes ``FULLY_CONNECTED`` once W is a constant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import nn

from ...modeling.embedding import embedding_multiplier

PREFIX = "weight_"


@dataclass(frozen=True)
class Weight:
    """A matrix of the float model.

    Attributes:
        module: Name of the module that it belongs to, by which recipes decide.
        tensor: The matrix, float32 [N, K].
        gathered: Whether it is an embedding.
    """

    module: str
    tensor: torch.Tensor
    gathered: bool


@dataclass
class WeightTable:
    """The weights of a model.

    Attributes:
        weights: The weights by input name.
        tensors: The present call's weights by input name.
    """

    weights: dict[str, Weight] = field(default_factory=dict)
    tensors: Mapping[str, torch.Tensor] = field(default_factory=dict)

    def add(self, module: str, tensor: torch.Tensor, gathered: bool) -> str:
        """Register a matrix; return its input's name."""
        name = module.replace(".", "__")
        self.weights[name] = Weight(module, tensor.detach(), gathered)
        return name


class InputLinear(nn.Module):
    """``x @ W.T + b`` with W [N, K] an input."""

    bias: torch.Tensor | None

    def __init__(self, table: WeightTable, name: str, bias: torch.Tensor | None) -> None:
        super().__init__()
        self.table = table
        self.name = name
        self.register_buffer("bias", bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Multiply ``x``, float32 [..., K]; return float32 [..., N]."""
        out: torch.Tensor = torch.ops.tfl.batch_matmul(x, self.table.tensors[self.name], False, True)
        return out if self.bias is None else out + self.bias


class InputEmbedding(nn.Module):
    """Rows of W [V, H], an input, times the family's embedding scale."""

    def __init__(self, table: WeightTable, name: str, multiplier: float) -> None:
        super().__init__()
        self.table = table
        self.name = name
        self.multiplier = multiplier

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Gather the rows of ``ids``, integers [B, S]; return float32 [B, S, H]."""
        flat = ids.reshape(-1).to(torch.int32)
        rows: torch.Tensor = torch.ops.tfl.embedding_lookup(flat, self.table.tensors[self.name])
        rows = rows.reshape(*ids.shape, -1)
        return rows if self.multiplier == 1.0 else rows * self.multiplier


def take_weights_as_inputs(model: nn.Module) -> WeightTable:
    """Replace every linear and embedding of ``model`` in place; return their weights."""
    table = WeightTable()
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Linear):
            new: nn.Module = InputLinear(table, table.add(name, module.weight, False), module.bias)
        elif isinstance(module, nn.Embedding):
            scale = embedding_multiplier(module)
            new = InputEmbedding(table, table.add(name, module.weight, True), scale)
        else:
            continue
        parent, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(parent), leaf, new)
    return table
