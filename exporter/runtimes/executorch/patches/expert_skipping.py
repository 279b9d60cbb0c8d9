"""Jumps over the experts that no token chose (see ``runtimes.executorch.graph.routing``).

An expert's part of the program begins at the opaque call ``gemcut::chosen`` and ends at the write of its results. In
the emitted program the call becomes

    jump_false hit -> behind the write
    eq(choices, number) -> chosen

For that the part has to be contiguous: ``gather_parts`` moves what the partitioner's sorting has put between its nodes
(which can't depend on them) before the part. ``ExpertJumps`` refuses a program in which anything but the results'
buffer would be missing after a jump.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ....errors import GemcutError

OPAQUE = ("gemcut::chosen", "out")
REAL = ("aten::eq", "Scalar_out")
_WRITE = ("llama::update_cache_with_indices", "out")


def expert_partitioner(kind: type[Any]) -> type[Any]:
    """Return a subclass of ``kind``, ExecuTorch's ``XnnpackPartitioner``, that takes only nodes of experts' parts.

    It goes before the partitioner for all other nodes. Otherwise a partition could hold operators of an expert and of
    something that doesn't depend on it, and the jump would skip both.
    """

    class ExpertPartitioner(kind):  # type: ignore[misc]
        def get_matched_nodes_from_configs(self, ep: Any) -> list[Any]:
            inside = set().union(*(part for part, _, _ in _parts(ep.graph)))
            matches = super().get_matched_nodes_from_configs(ep)
            return [match for match in matches if inside.intersection(match)]

    return ExpertPartitioner


def has_experts(program: Any) -> bool:
    """Return whether a ``torch.export.ExportedProgram`` has parts that can be jumped over."""
    return any(_calls(node, "gemcut.chosen") for node in program.graph.nodes)


def gather_parts(edge: Any) -> None:
    """Make each expert's part of the partitioned program contiguous, in place.

    Args:
        edge: An ``executorch.exir.EdgeProgramManager``.
    """
    program = edge.exported_program()
    if not has_experts(program):
        return
    for _, begin, between in list(_parts(program.graph)):
        for other in between:
            begin.prepend(other)
    program.graph.lint()
    program.graph_module.recompile()


def _parts(graph: Any) -> Iterator[tuple[set[Any], Any, list[Any]]]:
    """Each part's nodes without its last, its first node, and the nodes in between that aren't part of it."""
    for begin in [node for node in graph.nodes if _calls(node, "gemcut.chosen")]:
        inside, between, node = {begin}, [], begin.next
        while not _writes(node, inside):
            if node.op == "output":
                raise GemcutError(f"{begin.name}: an expert's part of the program doesn't write its results.")
            if inside.intersection(node.all_input_nodes):
                inside.add(node)
            else:
                between.append(node)
            node = node.next
        yield inside, begin, between


def _calls(node: Any, name: str) -> bool:
    return node.op == "call_function" and name in str(node.target)


def _writes(node: Any, inside: set[Any]) -> bool:
    """Whether a node is the write that ends the part; mutations are still functional at this point."""
    named = _calls(node, "update_cache_with_indices") or "update_cache_with_indices" in str(node.args[:1])
    return named and node.op == "call_function" and bool(inside.intersection(node.all_input_nodes))


class ExpertJumps:
    """The expansion of one execution plan's opaque calls.

    Args:
        plan: An ``executorch.exir.schema.ExecutionPlan``.
        operator: Index of ``aten::eq.Scalar_out`` among its operators.
    """

    def __init__(self, plan: Any, operator: int) -> None:
        self.operator = operator
        names = [(each.name, each.overload) for each in plan.operators]
        self._write = names.index(_WRITE)
        self._tensors = {i for i, value in enumerate(plan.values) if _is_planned(value)}

    def end(self, instructions: list[Any], begin: int, uses: dict[int, tuple[int, int]]) -> int:
        """Return the instruction that ends the part beginning at ``begin``; check that a jump over it loses nothing.

        Args:
            instructions: The chain's instructions.
            begin: Index of the part's first instruction.
            uses: From ``uses_of``.

        Raises:
            GemcutError: A value that the part computes is read after it, or the part has no end.
        """
        given = instructions[begin].instr_args.args[:4]
        results = given[3]
        inside: set[int] = set()
        for end in range(begin, len(instructions)):
            call = instructions[end].instr_args
            inside.update(getattr(call, "args", ()))
            if getattr(call, "op_index", None) == self._write and call.args[1] == results:
                made = {value for value in (inside & self._tensors).difference(given) if uses[value][0] >= begin}
                leaked = [value for value in made if uses[value][1] > end]
                if leaked:
                    raise GemcutError(
                        f"Jumping over an expert would leave {len(leaked)} values that are used later unset."
                    )
                return end
        raise GemcutError("An expert's part of the program has no end.")

    def instructions(self, args: list[int]) -> list[Any]:
        """Return the jump, whose destination is still to be set, and the comparison.

        Args:
            args: Value indices of choices, number, hit, results, out, (the result again).
        """
        from executorch.exir.schema import Instruction, JumpFalseCall, KernelCall

        choices, number, hit, _, *out = args
        return [
            Instruction(JumpFalseCall(cond_value_index=hit, destination_instruction=-1)),
            Instruction(KernelCall(op_index=self.operator, args=[choices, number, *out])),
        ]


def uses_of(instructions: list[Any]) -> dict[int, tuple[int, int]]:
    """Return the first and the last instruction that names each value, by value."""
    found: dict[int, tuple[int, int]] = {}
    for place, instruction in enumerate(instructions):
        for value in getattr(instruction.instr_args, "args", ()):
            found[value] = (found.get(value, (place, place))[0], place)
    return found


def _is_planned(value: Any) -> bool:
    """Whether a value is a tensor that an instruction makes: one with a place in planned memory and no data."""
    return getattr(value.val, "allocation_info", None) is not None
