"""XNNPACK: ExecuTorch's delegate for CPUs, on every processor and system that it is built for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from ..base import ExecuTorchDelegate

if TYPE_CHECKING:
    from torch import nn

    from .....quantize.recipe import Scheme

# XNNPACK nodes that ExecuTorch 1.0's delegate refuses ("Unhandled node type", error 0x11), by the operator's name. The
# rotary embedding is the only part that has them, once for all layers; the portable kernels compute them.
NEWER_NODES = frozenset({"sin.default", "cos.default"})


class Xnnpack(ExecuTorchDelegate):
    """See ``ExecuTorchDelegate``."""

    name = "xnnpack"
    title = "XNNPACK"
    backend = "XnnpackBackend"

    def check_scheme(self, scheme: Scheme, columns: int, name: str, gathered: bool) -> None:
        """See ``ExecuTorchDelegate``."""
        from .schemes import check_scheme

        check_scheme(scheme, columns, name, gathered)

    def adapt(self, model: Any) -> nn.Module:
        """See ``ExecuTorchDelegate``: norms, GELUs and sparse MLPs in forms that XNNPACK takes whole."""
        from ...graph.decoder import adapt

        return adapt(model)

    def partitioners(self, program: Any) -> list[Any]:
        """See ``ExecuTorchDelegate``. Experts that a step may skip have partitions of their own, taken first."""
        from executorch.backends.xnnpack.partition.config import ALL_PARTITIONER_CONFIGS
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner

        from ...patches.expert_skipping import expert_partitioner, has_experts

        configs = [config for config in ALL_PARTITIONER_CONFIGS if config.target_name not in NEWER_NODES]
        kinds = [XnnpackPartitioner]
        if has_experts(program):
            kinds.insert(0, expert_partitioner(XnnpackPartitioner))
        return [kind(configs=configs) for kind in kinds]

    def patches(self) -> AbstractContextManager[Callable[[], Mapping[str, int]]]:
        """See ``ExecuTorchDelegate``; counts the partitions that were transformed, and those that reused a result."""
        return _patches()


@contextmanager
def _patches() -> Iterator[Callable[[], Mapping[str, int]]]:
    from .bounded_sizes import bounded_sizes_delegated
    from .shared_partitions import equal_partitions_shared

    with bounded_sizes_delegated(), equal_partitions_shared() as count:
        yield lambda: {"partitions_transformed": count.transformed, "partitions_shared": count.shared}


DELEGATE = Xnnpack()
