"""Modules that the converter can't take, swapped for ones that compute the same; chosen by what a module does.

The swaps need no values, so a model on torch's meta device also takes the form that will be converted: with one linear
for each expert, under the names that recipes decide by.
"""

from __future__ import annotations

from typing import Any

import torch

from ...modeling.experts import SplitExperts, split_experts
from ...modeling.sparse import split_sparse


class DenseExperts(SplitExperts):
    """Every expert of a mixture computed for every token, and mixed by the router's weights.

    A LiteRT tensor's scales are fixed with it, so a matrix that is chosen at run time (GATHER, EMBEDDING_LOOKUP) comes
    out as float32. Copying 8 of 128 int8 experts out of a table moves about half the bytes of reading all of them, of
    int4 ones as many, and a prefill would copy them for each token. So all are read: decode reads every expert of the
    model for every token, not only the few that are active, and is as slow as a dense model of the same size.
    """

    def forward(self, x: torch.Tensor, top_k_index: torch.Tensor, top_k_weights: torch.Tensor) -> torch.Tensor:
        """Compute all experts and mix their results.

        Args:
            x: float32 [T, H].
            top_k_index: The experts that each token chose, int64 [T, K].
            top_k_weights: The weights of their results, float32 [T, K].

        Returns:
            float32 [T, H].
        """
        numbers = torch.arange(len(self.gate_up_proj), dtype=top_k_index.dtype)
        chosen = top_k_index.unsqueeze(-1) == numbers
        shares = torch.where(chosen, top_k_weights.unsqueeze(-1), 0.0).sum(dim=1)
        out = torch.zeros_like(x)
        for number in range(len(self.gate_up_proj)):
            out = out + self.expert(number, x) * shares[:, number : number + 1]
        return out


def adapt(model: Any) -> Any:
    """Swap, in place, modules that can't be converted; numerically the same to float32 rounding.

    Args:
        model: A transformers causal LM; it may be without weights (on torch's meta device).

    Returns:
        The same model.

    Raises:
        UnsupportedError: Its experts are laid out differently from those of every supported family.
    """
    return split_experts(split_sparse(model), DenseExperts)
