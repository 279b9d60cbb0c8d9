"""From a traced module to a ``.pte`` on disk."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import UnsupportedError
from ...prove.runner import Method, TensorSpec
from ...util.progress import Progress
from ..program import Artifacts, Program
from .graph.decoder import Traced
from .patches.constants_on_disk import constants_in_files, empty_caches
from .patches.determinism import ordered_constants, plan_in_graph_order
from .patches.expert_skipping import gather_parts
from .patches.guard import require_version
from .patches.noop_passes import noop_passes_skipped
from .patches.window_branch import branching_emitter
from .requirements import read_requirements
from .shared_tables import share_tables

if TYPE_CHECKING:
    from .delegates.base import ExecuTorchDelegate

NAME = "executorch"
# The share of the stage that is done once every constant has been taken and only the file is left to write; this is
# about right for a 1B model.
_LOWERED = 0.95


def lower(
    traced: Traced,
    out: Path,
    constants: dict[str, Any],
    delegates: Sequence[ExecuTorchDelegate],
    progress: Progress,
    size: int = 0,
) -> Program:
    """Lower a traced module to delegates, each structure once, and write the program.

    Args:
        traced: From ``runtimes.executorch.graph.decoder.trace``.
        out: Where the ``.pte`` goes.
        constants: Constant methods by name, such as ``get_max_context_len``.
        delegates: The delegates that take parts of the program, the first choice first.
        progress: Told of each step, and of each constant.
        size: Bytes of all constants in the program, as far as they are known beforehand; for progress only.

    Raises:
        UnsupportedError: The program calls an operator that has no kernel in ExecuTorch.
        LackingError: The installed ExecuTorch isn't the release that this was written for.
    """
    version = require_version()
    steps = _LoweringProgress(progress, size)
    empty_caches(traced.program)
    with constants_in_files(out.parent, steps.constant):
        steps.step(f"partitioning for {', '.join(each.title for each in delegates)}")
        with noop_passes_skipped(), ordered_constants(), ExitStack() as patches:
            counts = [patches.enter_context(each.patches()) for each in delegates]
            edge = _to_edge(traced, constants, [one for each in delegates for one in each.partitioners(traced.program)])
        steps.step("emitting the program")
        gather_parts(edge)
        with noop_passes_skipped(), branching_emitter():
            program = _to_program(edge)
        steps.step("writing the program", _LOWERED)
        with out.open("wb") as file:
            program.write_to_file(file)
    shared = share_tables(out)
    needs = read_requirements(program.executorch_program)
    spec = traced.spec
    return Program(
        runtime=NAME,
        runtime_version=version,
        artifacts=Artifacts.single(out),
        operators=needs.operators,
        kernels=needs.kernels,
        delegates=needs.delegates,
        vocab_size=int(constants["get_vocab_size"]),
        context=spec.context,
        prefill_chunk=spec.chunk,
        methods=(_forward(spec.chunk, int(constants["get_vocab_size"])),),
        delegated_macs=needs.delegated_share,
        facts={
            **{name: number for count in counts for name, number in count().items()},
            "cache_bytes": spec.bytes,
            "planned_bytes": needs.planned_bytes,
            "shared_bytes": shared,
        },
    )


class _LoweringProgress:
    """Reports how far the lowering is, by the bytes of the constants that went into the program."""

    def __init__(self, progress: Progress, size: int) -> None:
        self._progress, self._size = progress, max(1, size)
        self._bytes, self._share, self._what = 0, 0.0, ""

    def step(self, what: str, share: float = 0.0) -> None:
        """Begin the next step, at which at least ``share`` (0..1) of the stage is done."""
        self._what, self._share = what, max(share, self._share)
        self._progress.update(self._share, 1.0, what)

    def constant(self, size: int) -> None:
        """Count a constant of so many bytes."""
        self._bytes += size
        self._share = max(self._share, _LOWERED * min(1.0, self._bytes / self._size))
        self._progress.update(self._share, 1.0, self._what)


def _forward(chunk: int, vocab_size: int) -> Method:
    """The one method of a text decoder: 1 to ``chunk`` tokens, and the logits of the last."""
    tokens = TensorSpec("tokens", "int64", (1, None if chunk > 1 else 1))
    position = TensorSpec("input_pos", "int64", (1,))
    return Method("forward", (tokens, position), (TensorSpec("logits", "float32", (1, vocab_size)),))


def _to_edge(traced: Traced, constants: dict[str, Any], partitioners: Sequence[Any]) -> Any:
    from executorch.exir import EdgeCompileConfig, to_edge_transform_and_lower

    # The verifier knows no operators but ATen's and ExecuTorch's own; requirements are checked on the result.
    config = EdgeCompileConfig(_check_ir_validity=False, _skip_dim_order=True)
    return to_edge_transform_and_lower(
        traced.program, partitioner=list(partitioners), constant_methods=constants, compile_config=config
    )


def _to_program(edge: Any) -> Any:
    from executorch.exir import ExecutorchBackendConfig
    from executorch.exir.memory_planning import MemoryPlanningAlgorithmSuite
    from executorch.exir.passes import MemoryPlanningPass
    from executorch.exir.passes.sym_shape_eval_pass import ConstraintBasedSymShapeEvalPass

    planner = MemoryPlanningAlgorithmSuite(algo_list=[plan_in_graph_order])
    config = ExecutorchBackendConfig(
        extract_delegate_segments=True,
        memory_planning_pass=MemoryPlanningPass(planner, alloc_graph_input=False),
        sym_shape_eval_pass=ConstraintBasedSymShapeEvalPass(),
    )
    try:
        return edge.to_executorch(config)
    except RuntimeError as error:
        if "Missing out variants" in str(error):
            raise UnsupportedError(
                f"The program calls an operator that has no kernel in ExecuTorch: {error}",
                hint="Gemcut doesn't have the adaptation that this model needs yet; please report it.",
            ) from error
        raise
