"""Passes that would leave a graph as it is are told from those that would not, as running them shows."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from gemcut.runtimes.executorch.patches.dry_run import graphs, would_change
from gemcut.runtimes.executorch.patches.noop_passes import wiring


class Plain(torch.nn.Module):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.ops.aten.mul.Tensor(x, y) + x


class Transposed(torch.nn.Module):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return x @ y.t()


class Number(torch.nn.Module):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return x * 2.0


class Mixed(torch.nn.Module):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.ops.aten.add.Tensor(x, torch.ops.aten._to_copy.default(y, dtype=torch.int32))


class Branches(torch.nn.Module):
    """What would be changed is in a branch."""

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.cond(x.sum() > 0, lambda a, b: a @ b.t(), lambda a, b: a @ b, (x, y))


def graph_of(module: torch.nn.Module) -> Any:
    inputs = (torch.ones(3, 3), torch.ones(3, 3))
    return torch.export.export(module, inputs, strict=True).graph_module


def passes() -> dict[str, Any]:
    from executorch.exir.passes.memory_format_ops_pass import MemoryFormatOpsPass
    from executorch.exir.passes.normalize_transpose_pass import NormalizeTransposePass
    from executorch.exir.passes.remove_mixed_type_operators import RemoveMixedTypeOperators
    from executorch.exir.passes.replace_broken_ops_with_function_ops_pass import ReplaceBrokenOpsWithFunctionalOpsPass
    from executorch.exir.passes.scalar_to_tensor_pass import ScalarToTensorPass

    return {
        "format": MemoryFormatOpsPass(),
        "transpose": NormalizeTransposePass(),
        "types": RemoveMixedTypeOperators(),
        "views": ReplaceBrokenOpsWithFunctionalOpsPass(),
        "numbers": ScalarToTensorPass(),
    }


def operators(graph_module: Any) -> list[list[Any]]:
    """What each graph calls, and on what; modules and constants by their place alone."""
    return [[row[1:] if row[0] == "call_function" else row[0] for row in wiring(each)] for each in graphs(graph_module)]


@pytest.mark.parametrize(
    ("module", "change"),
    [
        (Plain(), set()),
        (Transposed(), {"transpose", "views"}),
        (Number(), {"numbers"}),
        (Mixed(), {"types"}),
        (Branches(), {"transpose", "views"}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_it_says_what_running_the_pass_shows(module: torch.nn.Module, change: set[str]) -> None:
    for name, one in passes().items():
        if (name, type(module)) == ("types", Number):
            continue  # it needs tensors, which the pass before it has made
        said = would_change(one, graph_of(module))
        ran = operators(one(graph_of(module)).graph_module)
        assert said == (ran != operators(graph_of(module))) == (name in change), name


def test_a_pass_that_cannot_be_tried_is_run() -> None:
    assert would_change(passes()["types"], graph_of(Number()))


def test_a_pass_that_is_not_known_may_change_anything() -> None:
    from executorch.exir.pass_base import ExportPass

    class Own(ExportPass):
        pass

    assert would_change(Own(), graph_of(Plain()))
