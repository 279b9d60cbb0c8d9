"""Rotary tables in one order, whatever order transformers asks for them in.

Gemma's decoders compute their tables in ``for layer_type in set(...)``: the order of a set of strings depends on the
process's hash seed, and with it the order of the graph and the bytes of the program.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import nn


class CallState(Protocol):
    """What the layers share during a call.

    Attributes:
        rotary: Tables by layer type; empty when the call begins.
    """

    rotary: dict[str, Any]


class OrderedRotary(nn.Module):
    """A module that computes every layer type's table when the first is asked for, in the order of their names.

    Args:
        rotary: The family's own module, called as ``rotary(x, position_ids, layer_type)``.
        layer_types: The layer types that have a table.
        state: Keeps the tables of the present call.
    """

    def __init__(self, rotary: nn.Module, layer_types: list[str], state: CallState) -> None:
        super().__init__()
        self.rotary = rotary
        self.layer_types = sorted(set(layer_types))
        self.state = state

    def forward(self, x: torch.Tensor, position_ids: torch.Tensor, layer_type: str) -> Any:
        """Return the cosines and sines of a layer type.

        Args:
            x: Any float32 tensor.
            position_ids: The positions, int64 [1, S].
            layer_type: One of ``layer_types``.

        Returns:
            Cosines and sines, float32 [1, S, D] each.
        """
        tables = self.state.rotary
        if not tables:
            tables.update({kind: self.rotary(x, position_ids, kind) for kind in self.layer_types})
        return tables[layer_type]


def order_rotary(model: nn.Module, layer_types: list[str], state: CallState) -> None:
    """Replace the rotary modules that are asked by layer type, in place; others have one table and no order.

    Args:
        model: Changed in place.
        layer_types: The layer types that it has.
        state: Keeps the tables of the present call.
    """
    for name, module in list(model.named_modules()):
        if name.endswith("rotary_emb") and hasattr(module, "layer_types"):
            parent, _, leaf = name.rpartition(".")
            known = getattr(module, "rope_type", None)  # a type of layers without positions isn't in it
            kinds = [kind for kind in layer_types if not isinstance(known, dict) or kind in known]
            setattr(model.get_submodule(parent), leaf, OrderedRotary(module, kinds, state))
