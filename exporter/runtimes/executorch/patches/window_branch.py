"""Turns ``gemcut::window_sdpa`` into a branch between two calls of ``llama::custom_sdpa`` in the emitted program.

An emitted ``torch.cond`` is nothing but two conditional jumps (ExecuTorch 1.5 ``exir/emit/_emitter.py``,
``_emit_cond``); the same four instructions are written here over the values that the opaque call already names:

    jump_false in_window -> A        within the window: causal, no mask
    custom_sdpa(q, k, v, start, null, causal)
    jump_false false -> B
 A: custom_sdpa(q, k, v, 0, mask, not causal)
 B: ...

The calls at which experts begin are expanded in the same walk (see ``expert_skipping``), because all jumps lead to
places in one list.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ....errors import GemcutError
from . import expert_skipping as experts
from .guard import replaced

_OPAQUE = ("gemcut::window_sdpa", "out")
_REAL = ("llama::custom_sdpa", "out")


@contextmanager
def branching_emitter() -> Iterator[None]:
    """Expand the opaque calls of every program that ExecuTorch emits within the block."""
    from executorch.exir.program import _program

    def wrap(original: Any) -> Any:
        def emit(*args: Any, **kwargs: Any) -> Any:
            output = original(*args, **kwargs)
            for plan in output.program.execution_plan:
                expand(plan)
            return output

        return emit

    with replaced(_program, "emit_program", wrap):
        yield


def expand(plan: Any) -> int:
    """Expand the opaque calls of one execution plan in place; return how many there were.

    Args:
        plan: An ``executorch.exir.schema.ExecutionPlan``.
    """
    names = [(operator.name, operator.overload) for operator in plan.operators]
    expanders: dict[int, Any] = {}
    if _OPAQUE in names:
        expanders[names.index(_OPAQUE)] = _WindowBranches(plan, _operator(plan, _REAL))
    if experts.OPAQUE in names:
        expanders[names.index(experts.OPAQUE)] = experts.ExpertJumps(plan, _operator(plan, experts.REAL))
    if not expanders:
        return 0
    count = sum(_expand_chain(chain, expanders) for chain in plan.chains)
    for index in sorted(expanders, reverse=True):
        _drop_operator(plan, index)
    return count


def _expand_chain(chain: Any, expanders: dict[int, Any]) -> int:
    """Expands one chain's calls; destinations given as old instructions are set once all new ones are placed."""
    _refuse_other_jumps(chain)
    old: list[Any] = chain.instructions
    new: list[Any] = []
    place: list[int] = []
    pending: list[tuple[Any, int]] = []
    uses = experts.uses_of(old)
    for index, instruction in enumerate(old):
        place.append(len(new))
        expander = expanders.get(getattr(instruction.instr_args, "op_index", -1))
        if expander is None:
            new.append(instruction)
        elif isinstance(expander, experts.ExpertJumps):
            jump, comparison = expander.instructions(instruction.instr_args.args)
            pending.append((jump, expander.end(old, index, uses) + 1))
            new += [jump, comparison]
        else:
            new += expander.branch(instruction.instr_args.args, at=len(new))
    for jump, destination in pending:
        jump.instr_args.destination_instruction = place[destination]
    chain.instructions = new
    return sum(getattr(each.instr_args, "op_index", None) in expanders for each in old)


def _operator(plan: Any, wanted: tuple[str, str]) -> int:
    """Index of an operator in the plan's table, to which it is added if it is missing."""
    from executorch.exir.schema import Operator

    names = [(operator.name, operator.overload) for operator in plan.operators]
    if wanted not in names:
        plan.operators.append(Operator(*wanted))
        return len(names)
    return names.index(wanted)


def _drop_operator(plan: Any, index: int) -> None:
    """Removes an operator that is no longer called from the table."""
    from executorch.exir.schema import KernelCall

    del plan.operators[index]
    for chain in plan.chains:
        for instruction in chain.instructions:
            call = instruction.instr_args
            if isinstance(call, KernelCall) and call.op_index > index:
                call.op_index -= 1


def _refuse_other_jumps(chain: Any) -> None:
    from executorch.exir.schema import JumpFalseCall

    if any(isinstance(i.instr_args, JumpFalseCall) for i in chain.instructions):
        raise GemcutError("The program has jumps of its own, which the sliding window's branch would misplace.")


class _WindowBranches:
    """Writes the branch for each call; holds the constants that all branches share."""

    def __init__(self, plan: Any, operator: int) -> None:
        from executorch.exir.schema import Bool, Double, EValue, Int, Null

        self.operator = operator
        first = len(plan.values)
        plan.values += [EValue(v) for v in (Null(), Bool(True), Bool(False), Int(0), Double(0.0))]
        self.null, self.true, self.false, self.zero, self.no_dropout = range(first, first + 5)

    def branch(self, args: list[int], at: int) -> list[Any]:
        """Return the branch's instructions.

        Args:
            args: Value indices of query, key, value, mask, in_window, start, scale, out, (the result again).
            at: Index of the first of them in the chain.
        """
        from executorch.exir.schema import Instruction, JumpFalseCall, KernelCall

        query, key, value, mask, in_window, start, scale, *out = args
        within = [query, key, value, start, self.null, self.no_dropout, self.true, scale, *out]
        past = [query, key, value, self.zero, mask, self.no_dropout, self.false, scale, *out]
        return [
            Instruction(JumpFalseCall(cond_value_index=in_window, destination_instruction=at + 3)),
            Instruction(KernelCall(op_index=self.operator, args=within)),
            Instruction(JumpFalseCall(cond_value_index=self.false, destination_instruction=at + 4)),
            Instruction(KernelCall(op_index=self.operator, args=past)),
        ]
