"""A model that computes in torch what a program of its quantized weights computes: to measure before building.

On Gemma 3 270M its divergence from the float model is that of the runtimes themselves within a tenth. What is
simulated is the rounding of weights, and of activations to int8 with one scale a token; not the order of sums.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

from ..modeling.embedding import embedding_multiplier
from ..quantize.methods import method_of
from ..quantize.methods.scale_search import dequantized
from ..quantize.recipe import Recipe, scheme_for
from ..quantize.stored import StoredWeight, StoredWeights
from ..reference.transformers_model import TransformersReference
from ..util.file_tensors import InMemory
from .activations import int8_per_token

# Positions that are compared, and tokens of the pieces of text that they are in.
POSITIONS, LENGTH = 320, 64
_PIECE = 1 << 22  # elements of a matrix that are float32 at a time


def copy_of(model: Any) -> Any:
    """Return a copy of a model's modules; it shares every parameter and buffer."""
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    return copy.deepcopy(model, shared)


class SimulatedLinear(nn.Module):
    """A product with a quantized weight, as a delegate computes it.

    Args:
        linear: The float module, of which the bias is taken.
        stored: The weight.
        dynamic: Whether activations are int8.
    """

    def __init__(self, linear: Any, stored: StoredWeight, dynamic: bool) -> None:
        super().__init__()
        self._stored, self._dynamic = stored, dynamic
        self.weight, self.bias = linear.weight, linear.bias  # the weight for code that asks for its shape

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Multiply ``x``, float32 [..., K]; return float32 [..., N]."""
        x = int8_per_token(x) if self._dynamic else x
        values, scales = self._stored.values, self._stored.scales.reshape(len(self._stored.values), -1)
        rows = max(1, _PIECE // values.shape[1])
        out = torch.empty(*x.shape[:-1], len(values))
        for first in range(0, len(values), rows):
            part = slice(first, first + rows)
            out[..., part] = nn.functional.linear(x, dequantized(values[part], scales[part]))
        return out if self.bias is None else out + self.bias


class SimulatedEmbedding(nn.Module):
    """Rows of a quantized table, times the family's embedding scale."""

    def __init__(self, embedding: Any, stored: StoredWeight) -> None:
        super().__init__()
        self._stored, self._multiplier = stored, embedding_multiplier(embedding)
        self.weight = embedding.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Gather the rows of ``ids``, int64 [...]; return float32 [..., H]."""
        flat = ids.reshape(-1)
        rows = dequantized(self._stored.values[flat], self._stored.scales.reshape(len(self._stored.values), -1)[flat])
        return (rows * self._multiplier).reshape(*ids.shape, -1)


def simulated(model: Any, recipe: Recipe, weights: StoredWeights) -> Any:
    """Return a copy of a model that computes as a program does; experts are left as they are.

    Args:
        model: The float model, folded as the weights were.
        recipe: How each tensor is stored.
        weights: Those that calibration has chosen; the others are quantized here, by their schemes' methods.
    """
    own = copy_of(model)
    modules = [(name, one) for name, one in own.named_modules() if isinstance(one, nn.Linear | nn.Embedding)]
    for name, module in modules:
        scheme = scheme_for(recipe, name)
        if scheme.weight == "float32" or "experts" in name:
            continue
        stored = weights.get(name) or StoredWeight(
            *method_of(scheme).quantize_rows(module.weight.detach(), scheme, InMemory())
        )
        new: nn.Module
        if isinstance(module, nn.Embedding):
            new = SimulatedEmbedding(module, stored)
        else:
            new = SimulatedLinear(module, stored, scheme.activation == "int8-dynamic")
        parent, _, leaf = name.rpartition(".")
        setattr(own.get_submodule(parent), leaf, new)
    return own.eval()


class Yardstick:
    """The float model's log-probabilities on some text, to hold quantized ones against.

    Args:
        model: The float model.
        segments: Token ids of pieces of text, on which it was not calibrated.
    """

    def __init__(self, model: Any, segments: Sequence[Sequence[int]]) -> None:
        self._texts = list(_pieces(segments))
        reference = TransformersReference(model)
        # Half the memory; what float16 rounds away is some hundred-thousandths of a nat.
        self._expected = [torch.from_numpy(reference.logits(ids)).log_softmax(-1).half() for ids in self._texts]

    def mean_kl(self, model: Any) -> float:
        """Return the mean KL divergence of a model from the float model, in nats a position.

        Args:
            model: As ``simulated`` returns it.
        """
        reference, total = TransformersReference(model), 0.0
        for ids, kept in zip(self._texts, self._expected, strict=True):
            found, expected = torch.from_numpy(reference.logits(ids)).log_softmax(-1), kept.float()
            total += float(torch.sub(expected, found, out=found).mul_(expected.exp_()).sum())
        return total / sum(map(len, self._texts))


def _pieces(segments: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Pieces of text, as many as are needed."""
    left = POSITIONS
    for ids in segments:
        if left <= 0:
            break
        piece = list(ids[: min(LENGTH, left)])
        left -= len(piece)
        yield piece
