"""What a linked program needs of a runtime, and how much of it XNNPACK runs: read from the program and from LiteRT."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..program import Program
from .signature_names import DECODE


@dataclass(frozen=True)
class Requirements:
    """What a linked program needs of a runtime.

    Attributes:
        operators: Builtin operators with the version that a runtime must have registered.
        delegates: Delegate -> number of calls in a decode step.
        delegated_share: Share of a decode step's multiply-accumulates that run in a delegate, 0..1.
    """

    operators: tuple[str, ...]
    delegates: dict[str, int]
    delegated_share: float


def examine(program: Program) -> Program:
    """Return the program with its operators, its delegates and the share of the work that runs in them."""
    (delegate,) = program.delegates
    needs = read_requirements(program.artifacts.path, delegate)
    return dataclasses.replace(
        program,
        operators=needs.operators,
        kernels=needs.operators,  # all must be registered, even those that XNNPACK takes when the program is loaded
        delegates=needs.delegates,
        delegated_macs=needs.delegated_share,
    )


def read_requirements(program: Path, delegate: str) -> Requirements:
    """Read a ``.tflite``; its decode signature must be its first subgraph, the only one that LiteRT describes.

    The Interpreter opens the file as a phone would open it, with XNNPACK at its defaults.

    Args:
        program: The ``.tflite``.
        delegate: What manifests call the delegate that the Interpreter applies.
    """
    from ai_edge_litert import schema_py_generated as schema

    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
    data = np.memmap(program, dtype=np.uint8, mode="r").data
    model = schema.Model.GetRootAs(data, 0)
    codes = [model.OperatorCodes(i) for i in range(model.OperatorCodesLength())]
    operators = sorted(f"{names[_builtin(code)]}.v{code.Version()}" for code in codes)
    calls, fed = _delegates(program)
    total, inside = 0, 0
    for macs, index in _products(model, [names[_builtin(code)] for code in codes]):
        total += macs
        inside += macs if index in fed else 0
    delegates = {delegate: calls} if calls else {}
    return Requirements(tuple(operators), delegates, inside / total if total else 0.0)


def _builtin(code: Any) -> int:
    return max(int(code.BuiltinCode()), int(code.DeprecatedBuiltinCode()))


def _products(model: Any, names: Sequence[str]) -> list[tuple[int, int]]:
    """Multiply-accumulates of each matrix product of the decode step, and its second operand's tensor."""
    graph = model.Subgraphs(0)
    found = []
    for i in range(graph.OperatorsLength()):
        operator = graph.Operators(i)
        if names[operator.OpcodeIndex()] not in ("FULLY_CONNECTED", "BATCH_MATMUL"):
            continue
        left, right = graph.Tensors(operator.Inputs(0)), operator.Inputs(1)
        size = 1
        for k in range(graph.Tensors(operator.Outputs(0)).ShapeLength()):
            size *= graph.Tensors(operator.Outputs(0)).Shape(k)
        found.append((size * left.Shape(left.ShapeLength() - 1), right))
    return found


def _delegates(program: Path) -> tuple[int, set[int]]:
    """Calls of delegates in the first subgraph, and the tensors that go into them."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(program), num_threads=1)
    assert next(iter(interpreter.get_signature_list())) == DECODE
    interpreter.allocate_tensors()
    calls = [node for node in interpreter._get_ops_details() if node["op_name"] == "DELEGATE"]
    return len(calls), {int(index) for node in calls for index in node["inputs"]}
