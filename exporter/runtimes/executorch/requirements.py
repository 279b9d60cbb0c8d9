"""What an emitted program needs of a runtime, read from the program itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Requirements:
    """operators: kernels outside delegates. delegates: backend -> calls in one step. planned_bytes: activations.

    delegated_share: of the linear layers, 1.0 where every one runs in a delegate, else 0.0.
    """

    operators: tuple[str, ...]
    delegates: dict[str, int]
    planned_bytes: int
    delegated_share: float


def read_requirements(program: Any) -> Requirements:
    """Reads ``forward`` of an ``executorch.exir.schema.Program``."""
    from executorch.exir.schema import DelegateCall

    plan = next(p for p in program.execution_plan if p.name == "forward")
    operators = tuple(sorted(f"{o.name}.{o.overload}" if o.overload else o.name for o in plan.operators))
    instructions = [i.instr_args for chain in plan.chains for i in chain.instructions]
    delegates: dict[str, int] = {}
    for call in instructions:
        if isinstance(call, DelegateCall):
            backend = plan.delegates[call.delegate_index].id
            delegates[backend] = delegates.get(backend, 0) + 1
    # Every matrix product but attention's runs in a delegate, or the kernel would stand among the operators.
    products = {"aten::linear.out", "aten::mm.out", "aten::addmm.out", "aten::bmm.out"}
    undelegated = products.intersection(operators)
    return Requirements(operators, delegates, sum(plan.non_const_buffer_sizes), 0.0 if undelegated else 1.0)
