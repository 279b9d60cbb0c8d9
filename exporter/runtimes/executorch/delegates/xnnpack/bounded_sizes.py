"""Lets XNNPACK take tensors with a size that is known only at run time, if the program says that it is never 0.

ExecuTorch 1.5's partitioner leaves every operator on such a tensor to the portable kernels, since XNNPACK takes no
empty tensor and the partitioner doesn't ask for the size's bounds (``_check_inputs_are_valid_dtypes`` in
``backends/xnnpack/partition/config/xnnpack_config.py``). The delegate itself is given the upper bound and takes each
call's own size, as it does for any other dynamic one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ...patches.guard import replaced


@contextmanager
def bounded_sizes_delegated() -> Iterator[None]:
    """Let XNNPACK take operators on sizes that the program bounds (``torch._check``) to 1 or more, within the block."""
    from executorch.backends.xnnpack.partition.config import xnnpack_config

    with replaced(xnnpack_config, "has_free_unbacked_symbols", _unless_bounded):
        yield


def _unless_bounded(original: Any) -> Any:
    def may_be_empty(value: Any) -> bool:
        return bool(original(value)) and not all(_bounded(size) for size in value.shape)

    return may_be_empty


def _bounded(size: Any) -> bool:
    import torch

    if not isinstance(size, torch.SymInt):
        return bool(size >= 1)
    bounds = size.node.shape_env.bound_sympy(size.node.expr)
    return bool(bounds.lower >= 1) and bool(bounds.upper < 1 << 31)
