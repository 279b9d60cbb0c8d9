"""What an emitted program needs of a runtime, read from the program itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

# Arithmetic on sizes, jumps' conditions and views: the runtime has them built in (kernels/prim_ops), but not every
# release has all of them, and a program asks for them by name as for any other.
_OWN = "executorch_prim::"


@dataclass(frozen=True)
class Requirements:
    """operators: what runs outside delegates. kernels: all that must be registered for it, names with overload.

    delegates: backend -> calls in one step. planned_bytes: activations.
    delegated_share: of the linear layers, 1.0 where every one runs in a delegate, else 0.0.
    """

    operators: tuple[str, ...]
    kernels: tuple[str, ...]
    delegates: dict[str, int]
    planned_bytes: int
    delegated_share: float


def read_requirements(program: Any) -> Requirements:
    """Reads an ``executorch.exir.schema.Program``: kernels of every method, all else of ``forward``."""
    from executorch.exir.schema import DelegateCall

    plan = next(p for p in program.execution_plan if p.name == "forward")
    kernels = _kernels(program.execution_plan)
    operators = tuple(name for name in _kernels([plan]) if not name.startswith(_OWN))
    instructions = [i.instr_args for chain in plan.chains for i in chain.instructions]
    delegates: dict[str, int] = {}
    for call in instructions:
        if isinstance(call, DelegateCall):
            backend = plan.delegates[call.delegate_index].id
            delegates[backend] = delegates.get(backend, 0) + 1
    # Every matrix product but attention's runs in a delegate, or the kernel would stand among the operators.
    products = {"aten::linear.out", "aten::mm.out", "aten::addmm.out", "aten::bmm.out"}
    undelegated = products.intersection(operators)
    return Requirements(operators, kernels, delegates, sum(plan.non_const_buffer_sizes), 0.0 if undelegated else 1.0)


def _kernels(plans: Iterable[Any]) -> tuple[str, ...]:
    """The names under which the runtime looks up what these methods call outside delegates, by name."""
    found = {f"{o.name}.{o.overload}" if o.overload else o.name for plan in plans for o in plan.operators}
    return tuple(sorted(found))
