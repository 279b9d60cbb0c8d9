"""ExecuTorch: a ``.pte`` with the contract of its own LLM runners."""

from __future__ import annotations

import filecmp
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ConformanceError, UsageError
from ...prove.runner import Runner
from ...quantize.recipe import Recipe
from ...util.progress import Progress
from ..base import Lowered

if TYPE_CHECKING:
    from ...bundle.manifest import Manifest
    from ...bundle.reader import Bundle
    from ...modeling.kv_cache import CacheSpec
    from ...prove.behaviour import Check
    from ...prove.golden import Golden, Recorded
    from ...util.stage_clock import Clock
    from ..base import Contents, Job, Layout, Order, Run, Shape


class ExecuTorch:
    """The ``executorch`` runtime (see ``runtimes.base.Runtime``)."""

    name = "executorch"
    program_name = "model.pte"
    embeds_manifest = False
    libraries = ("torch", "torchao", "transformers", "tokenizers")

    def version(self) -> str:
        """The installed version; LackingError where it is missing or another release."""
        from .patches.guard import require_version

        return require_version()

    def check(self, config: Any, recipe: Recipe, oldest: str | None = None) -> None:
        """See ``runtimes.base.Runtime``."""
        from ...compat.executorch_releases import oldest_fitting
        from ...modeling.experts import split_experts
        from ...modeling.supported import refuse_modules, refuse_unsupported
        from ...quantize.schemes import decide, without_weights
        from .graph.routing import ChosenExperts

        if oldest is not None:
            oldest_fitting(oldest)
        refuse_unsupported(config, self.name)
        empty = without_weights(config)
        refuse_modules(empty, self.name)
        decide(split_experts(empty, ChosenExperts), recipe)

    def cache(self, config: Any, shape: Shape) -> CacheSpec:
        """See ``runtimes.base.Runtime``; the program takes 1 to ``prefill[-1]`` tokens a call.

        Raises:
            UsageError: several prefill lengths, which a program that takes any number has no use for.
        """
        from ...modeling.kv_cache import cache_spec

        if len(shape.prefill) > 1:
            raise UsageError(
                f"--prefill-lengths {','.join(map(str, shape.prefill))}: an ExecuTorch program takes any number of "
                "tokens up to the longest, so it has one length",
                hint=f"Take --prefill-lengths {shape.prefill[-1]}.",
            )
        return cache_spec(config, shape.context, min(shape.prefill[-1], shape.context))

    def build(self, order: Order, model: Any, work: Path, clock: Clock) -> Lowered:
        """See ``runtimes.base.Runtime``."""
        from .build import build

        return build(order, model, work, clock)

    def examine(self, lowered: Lowered) -> Lowered:
        """As it is: the program was read while it was lowered."""
        return lowered

    def refuse_lacking(self, lowered: Lowered, oldest: str | None) -> None:
        """See ``runtimes.base.Runtime``; ``versions`` has the lists."""
        from ...compat.executorch_releases import refuse_lacking
        from ...compat.oldest import refuse_nodes

        if oldest is not None:
            refuse_lacking(lowered.kernels, lowered.delegates, oldest)
            refuse_nodes(lowered.program, oldest)

    def oldest_loading(self, program: Path, manifest: Manifest) -> str | None:
        """See ``runtimes.base.Runtime``."""
        from ...compat.oldest import oldest_loading

        return oldest_loading(program, (*manifest.operators, *manifest.kernels), tuple(manifest.delegates))

    def package(self, lowered: Lowered, contents: Contents, out: Path, progress: Progress) -> tuple[str, ...]:
        """The ``.pte`` as it is."""
        shutil.move(lowered.program, out)
        return ()

    def same_program(self, proven: Path, sealed: Path) -> None:
        """Compares the files whole: a ``.pte`` holds nothing but what runs."""
        if not filecmp.cmp(proven, sealed, shallow=False):
            raise ConformanceError(
                f"{sealed.name} is not the program that was proven.", hint="Export the bundle again."
            )

    def layout(self, program: Path) -> Layout:
        """Nothing: the manifest says it all."""
        return ()

    def preload(self) -> None:
        """Loads the operator libraries and the Python runtime."""
        from .runner import load_kernels

        load_kernels()

    def open(self, program: Path, threads: int | None = None) -> Runner:
        """Loads a ``.pte`` into ExecuTorch's Python runtime."""
        return open_runner(program, threads)

    def measure(self, job: Job, runs: int, progress: Progress) -> list[Run] | None:
        """None: ``open`` is what apps call."""
        return None

    def second_leg(
        self, bundle: Bundle, goldens: Sequence[Golden], recorded: Sequence[Recorded], work: Path, progress: Progress
    ) -> tuple[Check, ...]:
        """None: ``open`` is what apps call."""
        return ()


def open_runner(program: Path, threads: int | None = None) -> Runner:
    """Loads a ``.pte``; ``threads`` sets the size of the process-wide pool, None leaves it.

    Raises:
        ConformanceError: the runtime refuses the file; the message holds the runtime's own words.
    """
    from .runner import ExecuTorchRunner

    return ExecuTorchRunner(program, threads)


RUNTIME = ExecuTorch()
