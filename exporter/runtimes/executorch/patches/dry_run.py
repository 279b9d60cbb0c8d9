"""Tells whether one of ExecuTorch's passes would change a graph, without running it.

A pass that overrides ``call_operator`` is run on a graph by tracing it anew, which takes as long for a pass that finds
nothing as for one that finds much. Here ``call_operator`` alone is called for each operator, with a recorder in place
of the tracer: a pass that hands every operator on as it came would leave the graph as it is.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from .guard import replaced

# The passes that look at an operator and its arguments and at nothing else, as ExecuTorch 1.5 has them.
_PURE = frozenset(
    f"executorch.exir.passes.{name}"
    for name in (
        "const_prop_pass.ConstPropPass",
        "legalize_portable_dim_order_pass.LegalizePortableDimOrderPass",
        "memory_format_ops_pass.DimOrderOpsRevertPass",
        "memory_format_ops_pass.MemoryFormatOpsPass",
        "normalize_transpose_pass.NormalizeTransposePass",
        "remove_mixed_type_operators.RemoveMixedTypeOperators",
        "replace_broken_ops_with_function_ops_pass.ReplaceBrokenOpsWithFunctionalOpsPass",
        "scalar_to_tensor_pass.ScalarToTensorPass",
        "sym_to_tensor_pass.SymToTensorPass",
    )
)


class _ChangedError(Exception):
    """The pass would do something else than hand the operator on."""


def would_change(one: Any, graph_module: Any) -> bool:
    """Return whether a pass may change a graph; true for one of which that isn't known beforehand.

    Args:
        one: An ``ExportPass``.
        graph_module: The ``torch.fx.GraphModule`` that it would be run on.

    Raises:
        LackingError: The installed ExecuTorch isn't the release that this was written for.
    """
    if f"{type(one).__module__}.{type(one).__qualname__}" not in _PURE:
        return True
    one = copy.copy(one)
    with _recorder() as calls:
        try:
            for module in graphs(graph_module):
                _dry_run(one, module, calls)
        except Exception:  # it did something else, or could not do it: run, it says which
            return True
    return False


def graphs(graph_module: Any) -> Iterator[Any]:
    """Yield a graph, and those of the branches that it calls.

    Args:
        graph_module: A ``torch.fx.GraphModule``.
    """
    import torch

    yield graph_module
    for node in graph_module.graph.nodes:
        if node.op == "get_attr":
            inner = _attribute(graph_module, node.target)
            if isinstance(inner, torch.fx.GraphModule):
                yield from graphs(inner)


def _attribute(module: Any, path: str) -> Any:
    for name in path.split("."):
        module = getattr(module, name)
    return module


@contextmanager
def _recorder() -> Iterator[list[tuple[Any, Any, Any]]]:
    """Within the block what passes hand on is noted, and nothing is traced."""
    from executorch.exir.pass_base import ExportPass, ProxyValue

    calls: list[tuple[Any, Any, Any]] = []

    def wrap(original: Any) -> Any:
        def call_operator(self: Any, op: Any, args: Any, kwargs: Any, meta: Any) -> Any:
            calls.append((op, args, kwargs))
            return ProxyValue(None, None)

        return call_operator

    with replaced(ExportPass, "call_operator", wrap):
        yield calls


def _dry_run(one: Any, graph_module: Any, calls: list[tuple[Any, Any, Any]]) -> None:
    """Call the pass for each operator of one graph.

    Raises:
        _ChangedError: It doesn't hand one on as it came.
    """
    import torch
    from executorch.exir.dialects.edge._ops import EdgeOpOverload
    from executorch.exir.pass_base import NodeMetadata, ProxyValue

    values: dict[Any, Any] = {}
    with ExitStack() as stack:
        mode = next((each for each in map(_mode, graph_module.graph.nodes) if each is not None), None)
        if mode is not None:
            stack.enter_context(mode)
        for node in graph_module.graph.nodes:
            if node.op == "get_attr":
                values[node] = _attribute(graph_module, node.target)
                continue
            values[node] = ProxyValue(node.meta.get("val"), node)
            if isinstance(node.target, EdgeOpOverload | torch._ops.OpOverload):
                args, kwargs = torch.fx.node.map_arg((node.args, node.kwargs), values.__getitem__)
                calls.clear()
                one.call_operator(node.target, args, kwargs, NodeMetadata(node.meta))
                if not (len(calls) == 1 and _same(calls[0], (node.target, args, kwargs))):
                    raise _ChangedError


def _mode(node: Any) -> Any:
    return getattr(node.meta.get("val"), "fake_mode", None) if node.op == "placeholder" else None


def _same(one: Any, other: Any) -> bool:
    """Whether both hold the same objects in the same places, or equal ones where objects have no identity."""
    if one is other:
        return True
    if isinstance(one, tuple | list) and isinstance(other, tuple | list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    return type(one) is type(other) and isinstance(one, bool | int | float | str) and one == other
