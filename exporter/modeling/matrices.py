"""The matrices that a program of a model has, by name."""

from __future__ import annotations

from typing import Any

from .parts import PARTS, TEXT_DECODER


def matrix_columns(config: Any, runtime: str) -> dict[str, int]:
    """Return the columns of each linear and embedding, those of each expert among them, by the module's name.

    Args:
        config: transformers' text configuration.
        runtime: The runtime that it is for, for messages.

    Raises:
        UnsupportedError: The configuration asks for what none of Gemcut's graphs has.
    """
    from torch import nn

    from .experts import SplitExperts, split_experts

    model = split_experts(PARTS.get(TEXT_DECODER).checked(config, runtime), SplitExperts)
    return {
        name: int(m.weight.shape[1]) for name, m in model.named_modules() if isinstance(m, nn.Linear | nn.Embedding)
    }
