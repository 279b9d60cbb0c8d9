"""Frees the graphs that ExecuTorch 1.5 and PyTorch 2.13 would keep after a program is lowered.

Caches of both have graphs' nodes and symbols as keys, and a node holds its graph, and with it every graph of the
program: 80 exported programs lived on after Gemma 3 1B's lowering, and the proof ran beside them. Only caches are
emptied here; the next lowering fills them again.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ....util.process_memory import give_back
from .guard import present

# Where XNNPACK's partitioner remembers the last node that it refused, each in a global of its own.
_REFUSED = "executorch.backends.xnnpack.partition.config."


@contextmanager
def graphs_released() -> Iterator[None]:
    """Free what was lowered within the block once it ends, apart from what the caller's own names hold.

    Raises:
        LackingError: One of the caches is gone, so upstream has changed.
    """
    try:
        yield
    finally:
        _release()
        give_back()


def _release() -> None:
    import torch
    from executorch.exir.backend import utils
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental import symbolic_shapes

    present(utils, "is_same_node").cache_clear()
    for holder in (symbolic_shapes, symbolic_shapes.ShapeEnv):
        _empty_caches(holder)
    present(FakeTensorMode, "cache_clear")()
    # Symbols that C++ holds keep their ShapeEnv, which has a cache of its own; nothing else leads to all of them.
    for each in gc.get_objects():
        if type(each) is symbolic_shapes.ShapeEnv:
            present(each, "fake_tensor_cache").clear()
    torch._dynamo.reset()
    for name, module in list(sys.modules.items()):
        if name.startswith(_REFUSED) and isinstance(getattr(module, "why", None), utils.WhyNoPartition):
            module.why.node = None


def _empty_caches(holder: Any) -> None:
    for value in list(vars(holder).values()):
        clear = getattr(value, "cache_clear", None)
        if clear is not None:
            clear()
