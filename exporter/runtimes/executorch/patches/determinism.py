"""Makes lowering's result the same from one process to the next.

ExecuTorch 1.5 walks Python sets in two places where the order shows in the program: constants that several
partitions share are duplicated in the order of a set of names (which depends on the process's hash seed), and tensors
of one size are placed in the order of a set of objects (which depends on their addresses). Both use the graph's order
here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .guard import replaced


@contextmanager
def ordered_constants() -> Iterator[None]:
    """Duplicate shared constants in the graph's order, within the block."""
    from executorch.exir.backend import backend_api

    with replaced(backend_api, "_maybe_duplicate_constant_nodes", _in_graph_order):
        yield


def _in_graph_order(original: Any) -> Any:
    from executorch.exir.backend.utils import _assign_new_tag, duplicate_constant_node

    def duplicate(program: Any, tag: str) -> None:
        for node in list(program.graph.nodes):
            shared = node.op == "placeholder" and node.meta.get("delegation_tag", "") == tag
            if shared and any(user.meta.get("delegation_tag") != tag for user in node.users):
                if node.meta.get("no_copy", False):
                    break  # upstream's own error says it best
                _assign_new_tag(program, {node.name} | set(duplicate_constant_node(program, node.name)))
        original(program, tag)

    return duplicate


def plan_in_graph_order(
    alignment: int, specs: Any, graph_module: Any, graph_signature: Any, extra_padding: int = 0
) -> Any:
    """Run ExecuTorch's ``greedy`` memory planner over the tensors in the graph's order, not a set's.

    For ``MemoryPlanningAlgorithmSuite(algo_list=[plan_in_graph_order])``; arguments and result are ``greedy``'s.
    """
    import torch
    from executorch.exir.memory_planning import greedy
    from torch.utils import _pytree

    order: dict[int, int] = {}
    for module in graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                for spec in _pytree.tree_leaves(node.meta.get("spec")):
                    order.setdefault(id(spec), len(order))
    ordered = sorted(specs, key=lambda spec: order[id(spec)])
    return greedy(alignment, ordered, graph_module, graph_signature, extra_padding)
