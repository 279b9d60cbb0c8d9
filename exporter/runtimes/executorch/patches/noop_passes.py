"""Skips the work that ExecuTorch 1.5's lowering does again on a graph that has not changed.

Two places, found by profiling a Gemma 3 270M (72% of the processor time of a lowering was in them):

- Each of XNNPACK's 17 passes ends with a re-trace of its partition, to refresh metadata, whether or not it
  changed anything; for a decoder nearly all change nothing. ExecuTorch's own passes re-trace the whole program to
  look for something to change (see ``dry_run``).
- ``to_edge_transform_and_lower`` decomposes the whole program three times: once with an empty table to make it
  functional, which the second time does too, and a third time with what the second left, which here is nothing.

Also, a graph is compiled to Python code when it is run, not after every change: of 1261 compilations in the lowering of
the packaged sample, 8 were of graphs that something ran, and 12% of the processor time went with the others. And
Python's cyclic garbage collector runs a hundred times less often: a lowering makes millions of objects, most of which
live long. (Pausing it altogether is hardly faster, and a Gemma 3 1B then ends with 400 MB more that can't be given back
to the system, because live objects lie between the dead ones.)
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from ....util.process_memory import collected_seldom, give_back, never_collected
from .dry_run import graphs, would_change
from .guard import replaced

_MARK = "gemcut_retraced_as"
# A pass that overrides one of these does its work in the re-trace itself.
_WORKS_WHILE_TRACING = (
    *("call_operator", "call_sym", "call_cond", "call_while", "call_map", "call_scan", "call_getitem"),
    *("call_delegate", "call_submodule", "call_size_operator", "call_size_operator_all"),
    *("placeholder", "output", "inputs"),
)


@contextmanager
def noop_passes_skipped() -> Iterator[None]:
    """Neither re-trace nor decompose unchanged graphs again, within the block."""
    from executorch.exir import pass_base
    from torch.export import ExportedProgram
    from torch.fx import GraphModule

    with ExitStack() as stack:
        stack.enter_context(replaced(pass_base._ExportPassBase, "call", _retrace_if_changed))
        stack.enter_context(replaced(ExportedProgram, "run_decompositions", _decompose_if_needed))
        stack.enter_context(replaced(GraphModule, "recompile", _recompile_when_run))
        stack.callback(give_back)
        stack.enter_context(collected_seldom())
        stack.enter_context(never_collected())
        yield


def _retrace_if_changed(original: Any) -> Any:
    from executorch.exir.pass_base import ExportPass

    def call(self: Any, graph_module: Any) -> Any:
        from torch.fx.passes.infra.pass_base import PassResult

        kind = type(self)
        works = any(getattr(kind, name) is not getattr(ExportPass, name) for name in _WORKS_WHILE_TRACING)
        if not (would_change(self, graph_module) if works else graph_module.meta.get(_MARK) != _digest(graph_module)):
            return PassResult(graph_module, False)
        result = original(self, graph_module)
        mark_as_retraced(result.graph_module)
        return result

    return call


def mark_as_retraced(graph_module: Any) -> None:
    """Say that a graph's metadata is that of its nodes as they are now.

    Args:
        graph_module: A ``torch.fx.GraphModule``.
    """
    graph_module.meta[_MARK] = _digest(graph_module)


def _digest(graph_module: Any) -> bytes:
    """A hash of a graph's wiring, and its branches', which is as large as the graph itself."""
    digest = hashlib.sha256()
    for each in graphs(graph_module):
        digest.update(repr(wiring(each)).encode())
    return digest.digest()


def wiring(graph_module: Any) -> tuple[Any, ...]:
    """Return a graph as a comparable value: each node's operator and arguments, with nodes as their index.

    Args:
        graph_module: A ``torch.fx.GraphModule``.
    """
    order: dict[Any, int] = {}
    rows = []
    for node in graph_module.graph.nodes:
        order[node] = len(order)
        rows.append((node.op, str(node.target), frozen(node.args, order), frozen(node.kwargs, order)))
    return tuple(rows)


def frozen(argument: Any, order: dict[Any, int]) -> Any:
    """Return a node's argument as a comparable value, with nodes as their index in ``order``."""
    import torch

    if isinstance(argument, torch.fx.Node):
        return ("node", order[argument])
    if isinstance(argument, list | tuple):
        return tuple(frozen(item, order) for item in argument)
    if isinstance(argument, dict):
        return tuple((key, frozen(value, order)) for key, value in sorted(argument.items()))
    return (type(argument).__name__, str(argument))


def _decompose_if_needed(original: Any) -> Any:
    def run_decompositions(self: Any, decomp_table: Any = None, *rest: Any, **named: Any) -> Any:
        if decomp_table is not None and not rest and not named:
            if len(decomp_table) == 0:
                return self  # The call that follows makes the program functional as well.
            functional = self.verifier.dialect == "ATEN" and getattr(self, _MARK, False)
            if functional and not any(_operator(node) in decomp_table for node in self.graph.nodes):
                return self
        program = original(self, decomp_table, *rest, **named)
        setattr(program, _MARK, True)
        return program

    return run_decompositions


def _operator(node: Any) -> Any:
    return getattr(node.target, "_op", node.target) if node.op == "call_function" else None


def _recompile_when_run(original: Any) -> Any:
    from torch.fx.graph import CodeGen

    def recompile(self: Any) -> Any:
        if type(self.graph._codegen) is not CodeGen:  # the others say how inputs are flattened as they compile
            return original(self)

        def forward(this: Any, *arguments: Any, **named: Any) -> Any:
            original(this)
            return this.forward(*arguments, **named)

        type(self).forward = forward
        self._code = ""  # what it was no longer fits the graph
        return None

    return recompile
