"""Lowers structurally equal partitions once.

A decoder's layers are the same graph with other parameters, and XNNPACK's preprocessing spends nearly all of its
time in 17 passes per partition, each of which re-traces it. Here the passes run on the first partition of a
structure; every other partition of that structure gets the transformed graph with its own parameters put in by
position.

A result isn't shared, and the passes run, if a pass made, dropped or reordered a parameter.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ...patches.guard import replaced
from ...patches.noop_passes import frozen, mark_as_retraced

# Passes that look for the graph of a whole module, which they trace once per process, and an operator that is in it:
# without it the pass finds nothing (backends/xnnpack/partition/graphs of ExecuTorch 1.5).
_LOOKS_FOR = {"ConvertToUpsampleBilinear2d": "upsample_bilinear2d", "ConvertToSDPAPass": "_softmax"}
_UNBACKED = re.compile(r"\bu\d+\b")  # sizes that are known only at run time


@dataclass
class PartitionCount:
    """How partitions were transformed.

    Attributes:
        transformed: Partitions that went through the passes.
        shared: Partitions that reused the result of an equal one.
    """

    transformed: int = 0
    shared: int = 0


@dataclass(frozen=True)
class _Transformed:
    program: Any
    parameters: tuple[tuple[str, str | None], ...]


@contextmanager
def equal_partitions_shared() -> Iterator[PartitionCount]:
    """Let XNNPACK's pass manager reuse its result for partitions of equal structure, within the block."""
    from executorch.backends.xnnpack import xnnpack_preprocess

    count = PartitionCount()
    known: dict[Any, _Transformed] = {}

    def wrap(original: Any) -> Any:
        class Sharing(original):  # type: ignore[misc]
            def transform(self) -> Any:
                program = self.exported_program
                self.passes: list[Any] = _worth_running(self.passes, program)
                key = (structure(program), tuple(p.__name__ for p in self.passes))
                equal = known.get(key)
                if equal is not None:
                    count.shared += 1
                    return _with_own_parameters(equal.program, program)
                mark_as_retraced(program.graph_module)  # it was cut out of a graph whose metadata holds
                result = super().transform()
                count.transformed += 1
                if _parameters(result) == _parameters(program):
                    known[key] = _Transformed(result, _parameters(program))
                return result

        return Sharing

    with replaced(xnnpack_preprocess, "XNNPACKPassManager", wrap):
        yield count


def _worth_running(passes: list[Any], program: Any) -> list[Any]:
    operators = " ".join({str(node.target) for node in program.graph.nodes if node.op == "call_function"})
    return [one for one in passes if _LOOKS_FOR.get(one.__name__, "") in operators]


def structure(program: Any) -> tuple[Any, ...]:
    """Return a partition's structure as a hashable value: operators, wiring, constants, shapes, dtypes, no names.

    Args:
        program: A ``torch.export.ExportedProgram`` of one partition.
    """
    kinds = {spec.arg.name: spec.kind.name for spec in program.graph_signature.input_specs if hasattr(spec.arg, "name")}
    order: dict[Any, int] = {}
    rows = []
    sizes = _Sizes(program)
    for node in program.graph.nodes:
        order[node] = len(order)
        target = kinds.get(node.name, "") if node.op == "placeholder" else str(node.target)
        if node.op == "get_attr":
            # A submodule or constant by name: its content isn't compared, so it is equal to no other.
            target = f"{node.target}@{id(program)}"
        rows.append((node.op, target, frozen(node.args, order), frozen(node.kwargs, order), _value(node, sizes)))
    return tuple(rows)


class _Sizes:
    """Symbolic sizes by how they behave: each expert of a layer has a symbol of its own for its number of rows."""

    def __init__(self, program: Any) -> None:
        self._bounds = {str(symbol): str(bounds) for symbol, bounds in program.range_constraints.items()}
        self._numbers: dict[str, int] = {}

    def text(self, size: Any) -> str:
        """Return a size, each data-dependent symbol replaced by its number in this partition and its bounds."""
        return _UNBACKED.sub(self._symbol, str(size))

    def _symbol(self, match: re.Match[str]) -> str:
        name = match[0]
        return f"<{self._numbers.setdefault(name, len(self._numbers))} in {self._bounds.get(name, name)}>"


def _value(node: Any, sizes: _Sizes) -> Any:
    import torch

    value = node.meta.get("val")
    values = value if isinstance(value, list | tuple) else [value]
    return tuple(
        (str(v.dtype), tuple(sizes.text(s) for s in v.shape)) if isinstance(v, torch.Tensor) else sizes.text(v)
        for v in values
    )


def _parameters(program: Any) -> tuple[tuple[str, str | None], ...]:
    return tuple((spec.kind.name, spec.target) for spec in program.graph_signature.input_specs)


def _with_own_parameters(transformed: Any, program: Any) -> Any:
    """An equal partition's transformed program with ``program``'s parameters: same placeholders, other targets."""
    from torch.export import ExportedProgram

    signature = copy.deepcopy(transformed.graph_signature)
    for spec, own in zip(signature.input_specs, program.graph_signature.input_specs, strict=True):
        spec.target = own.target
    return ExportedProgram(
        root=transformed.graph_module,
        graph=copy.deepcopy(transformed.graph),
        graph_signature=signature,
        state_dict=program.state_dict,
        range_constraints=program.range_constraints,
        module_call_graph=copy.deepcopy(transformed.module_call_graph),
        example_inputs=program.example_inputs,
        constants=program.constants,
        verifiers=[transformed.verifier],
    )
