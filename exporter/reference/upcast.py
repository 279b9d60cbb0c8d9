"""Runs of a model whose matrices are stored in fewer bits as if they were float32, one piece of one matrix at a time.

The results are those of the float32 model to the bit: a matrix product is split by output rows alone, so that every sum
is over the same numbers in the same order; of an embedding, only the rows that are asked for are made float32.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_map

# Elements of a matrix that are float32 at a time, for few rows of the other factor and for many: 4 MB stay in the cache
# while they are used; with many rows the product is what takes time, and larger pieces keep both cores at it.
PIECE, LARGE_PIECE = 1 << 20, 1 << 22
MANY = 1024
_OF_SHAPE = frozenset({"shape", "size", "ndim", "dim", "numel", "device"})
# Rows come in multiples of this, so that kernels split a piece as they split the whole.
_ROWS = 64

Product = Callable[[Any, torch.Tensor], torch.Tensor]


def product(linear: Any, x: torch.Tensor) -> torch.Tensor:
    """Return ``linear`` of ``x`` in float32, whatever dtype the matrix is stored in.

    Args:
        linear: A ``torch.nn.Linear``.
        x: The other factor, float32 [..., in].

    Returns:
        The product, float32 [..., out].
    """
    weight, bias = linear.weight, linear.bias
    if weight.dtype == torch.float32:
        return nn.functional.linear(x, weight, bias)
    piece = LARGE_PIECE if x.numel() >= MANY * x.shape[-1] else PIECE
    rows = max(_ROWS, piece // weight.shape[1] // _ROWS * _ROWS)
    out = torch.empty((*x.shape[:-1], len(weight)))
    for first in range(0, len(weight), rows):
        part = slice(first, first + rows)
        out[..., part] = nn.functional.linear(x, weight[part].float(), None if bias is None else bias[part])
    return out


@contextmanager
def float32_at_use(model: nn.Module, multiply: Product = product) -> Iterator[None]:
    """Have ``model`` compute in float32 within the block, whatever its parameters are stored as.

    Linears and embeddings are known by their ``forward``. Parameters of any other module (stacked experts) are made
    float32 as they are read: an expert that is indexed alone, or the whole.

    Args:
        model: A model whose small parameters are float32.
        multiply: Takes the place of every linear's ``forward``; must return what ``product`` returns.
    """
    with ExitStack() as undo:
        for module in model.modules():
            if type(module).forward is nn.Linear.forward:
                module.forward = functools.partial(multiply, module)
                undo.callback(delattr, module, "forward")
                continue
            own = {name: p for name, p in module.named_parameters(recurse=False) if p.dtype != torch.float32}
            if own and isinstance(module, nn.Embedding):
                _gather(module, own, undo)
                continue
            for name, parameter in own.items():
                vars(module)[name] = _AtUse(parameter)  # found before the module's parameters are looked at
                undo.callback(vars(module).pop, name)
        yield


class _AtUse:
    """A parameter of any dtype that is float32 to all that reads it: ``stacked[expert]`` converts only that one."""

    def __init__(self, stored: torch.Tensor) -> None:
        self._stored = stored

    def __getitem__(self, index: Any) -> torch.Tensor:
        return self._stored[index].float()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stored if name in _OF_SHAPE else self._stored.float(), name)

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        args, kwargs = tree_map(lambda x: x._stored.float() if isinstance(x, cls) else x, (args, kwargs or {}))
        return function(*args, **kwargs)


def _gather(module: nn.Module, own: dict[str, nn.Parameter], undo: ExitStack) -> None:
    def after(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        module._parameters.update(own)

    before = module.register_forward_pre_hook(_gather_rows, with_kwargs=True)
    undo.callback(before.remove)
    undo.callback(module.register_forward_hook(after, with_kwargs=True, always_call=True).remove)


def _gather_rows(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The embedding's rows that the ids name take the place of the whole, renumbered."""
    ids = args[0] if args else kwargs["input"]
    named, numbers = torch.unique(ids, return_inverse=True)
    module._parameters["weight"] = nn.Parameter(module.weight[named].float(), requires_grad=False)
    return (numbers, *args[1:]) if args else (), kwargs if args else {**kwargs, "input": numbers}
