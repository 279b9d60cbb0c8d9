"""Making ``.pte`` programs."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ...errors import UsageError
from ..base import Exporter
from ..program import Artifacts, BuildSpec, Contents, Packaged, Program, Shape
from .delegates import DELEGATES

if TYPE_CHECKING:
    from ...modeling.kv_cache import CacheSpec
    from ...quantize.recipe import Recipe
    from ...util.progress import Progress
    from ...util.stage_clock import StageClock


class ExecuTorchExporter(Exporter):
    """See ``Exporter``."""

    steps: ClassVar[Mapping[str, str]] = {
        "quantize": "Quantizing: {recipe}",
        "graph": "Tracing",
        "lower": "Lowering for ExecuTorch",
    }

    def check(self, config: Any, recipe: Recipe, delegates: Sequence[str], oldest: str | None = None) -> None:
        """See ``Exporter``."""
        from ...compat.executorch_releases import oldest_fitting
        from ...modeling.experts import split_experts
        from ...modeling.parts import PARTS, TEXT_DECODER
        from ...quantize.schemes import decide
        from .graph.routing import ChosenExperts

        if oldest is not None:
            oldest_fitting(oldest)
        empty = PARTS.get(TEXT_DECODER).checked(config, "executorch")
        decide(split_experts(empty, ChosenExperts), recipe, DELEGATES.get(delegates[0]).check_scheme)

    def cache(self, config: Any, shape: Shape, options: Mapping[str, Any]) -> CacheSpec:
        """See ``Exporter``; the program takes 1 to ``prefill[-1]`` tokens a call.

        Raises:
            UsageError: Several prefill lengths, of which a program that takes any number of tokens needs only one.
        """
        from ...modeling.kv_cache import cache_spec

        if len(shape.prefill) > 1:
            raise UsageError(
                f"--prefill-lengths {','.join(map(str, shape.prefill))}: an ExecuTorch program takes any number of "
                "tokens up to its longest prefill, so it has a single length",
                hint=f"Use --prefill-lengths {shape.prefill[-1]}.",
            )
        return cache_spec(config, shape.context, min(shape.prefill[-1], shape.context))

    def build(self, spec: BuildSpec, model: Any, work: Path, clock: StageClock) -> Program:
        """See ``Exporter``."""
        from .build import build

        return build(spec, model, work, clock)

    def check_release(self, program: Program, oldest: str | None) -> None:
        """See ``Exporter``; ``compat.executorch_releases`` has the lists."""
        from ...compat.executorch_releases import refuse_lacking
        from ...compat.oldest import refuse_nodes

        if oldest is not None:
            refuse_lacking(program.kernels, program.delegates, oldest)
            refuse_nodes(program.artifacts.path, oldest)

    def package(self, program: Program, contents: Contents, out: Path, progress: Progress) -> Packaged:
        """See ``Exporter``: the ``.pte`` as it is."""
        target = out / program.artifacts.entry
        shutil.move(program.artifacts.path, target)
        return Packaged(Artifacts.single(target))
