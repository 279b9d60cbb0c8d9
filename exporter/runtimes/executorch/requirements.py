"""What an emitted program needs of a runtime, read from the program itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

# Arithmetic on sizes, jumps' conditions and views: the runtime has these built in (kernels/prim_ops), but not every
# release has all of them, and a program asks for them by name as for any other operator.
_OWN = "executorch_prim::"


@dataclass(frozen=True)
class Requirements:
    """What an emitted program needs of a runtime.

    Attributes:
        operators: Operators that run outside delegates, with overload.
        kernels: Names, with overload, of all kernels that must be registered for the program.
        delegates: Backend -> number of calls in one step.
        planned_bytes: Bytes that the memory plan takes for activations.
        delegated_share: Share of the linear layers that run in a delegate: 1.0 if all of them do, else 0.0.
    """

    operators: tuple[str, ...]
    kernels: tuple[str, ...]
    delegates: dict[str, int]
    planned_bytes: int
    delegated_share: float


def read_requirements(program: Any) -> Requirements:
    """Read an ``executorch.exir.schema.Program``: kernels of every method, everything else of ``forward``."""
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
    # Every matrix product but attention's runs in a delegate, or its kernel would be among the operators.
    products = {"aten::linear.out", "aten::mm.out", "aten::addmm.out", "aten::bmm.out"}
    undelegated = products.intersection(operators)
    return Requirements(operators, kernels, delegates, sum(plan.non_const_buffer_sizes), 0.0 if undelegated else 1.0)


def _kernels(plans: Iterable[Any]) -> tuple[str, ...]:
    """The names under which the runtime looks up what these methods call outside delegates, by name."""
    found = {f"{o.name}.{o.overload}" if o.overload else o.name for plan in plans for o in plan.operators}
    return tuple(sorted(found))
