"""LiteRT: a ``.litertlm`` for LiteRT-LM's engine, with one ``.tflite`` inside."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

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


class LiteRT:
    """The ``litert`` runtime (see ``runtimes.base.Runtime``)."""

    name = "litert"
    program_name = "model.litertlm"
    embeds_manifest = True
    libraries = ("torch", "transformers", "tokenizers", "litert-torch", "litert-converter", "ai-edge-litert")

    def version(self) -> str:
        """The installed version of LiteRT-LM; LackingError where one of LiteRT's packages is missing or another."""
        from .version import require_runtime

        return require_runtime()

    def check(self, config: Any, recipe: Recipe, oldest: str | None = None) -> None:
        """See ``runtimes.base.Runtime``."""
        from ...modeling.supported import refuse_modules, refuse_unsupported
        from ...quantize.schemes import decide, without_weights
        from .adapt import adapt
        from .schemes import check_scheme
        from .version import require_exporter

        require_exporter()
        refuse_unsupported(config, self.name)
        empty = without_weights(config)
        refuse_modules(empty, self.name)
        decide(adapt(empty), recipe, check_scheme)

    def cache(self, config: Any, shape: Shape) -> CacheSpec:
        """See ``runtimes.base.Runtime``.

        A prefill writes as many rows as its signature has tokens, however many of them are padding: the full layers
        have room for the shortest past the context, else the last tokens could be reached one by one alone.
        """
        from ...modeling.kv_cache import cache_spec

        if shape.dynamic:  # With prefills as long as the context a ring would be no shorter than a full layer.
            return cache_spec(config, shape.context, shape.context)
        return cache_spec(config, shape.context + shape.prefill[0] - 1, shape.prefill[-1])

    def build(self, order: Order, model: Any, work: Path, clock: Clock) -> Lowered:
        """See ``runtimes.base.Runtime``."""
        from .build import build

        return build(order, model, work, clock)

    def examine(self, lowered: Lowered) -> Lowered:
        """See ``runtimes.base.Runtime``: operators, and what of them XNNPACK takes."""
        from .requirements import examine

        return examine(lowered)

    def refuse_lacking(self, lowered: Lowered, oldest: str | None) -> None:
        """Refuses nothing: LiteRT-LM has no way to ask an engine for its operators, and no list of them by release."""

    def oldest_loading(self, program: Path, manifest: Manifest) -> str | None:
        """None: as ``refuse_lacking``."""
        return None

    def package(self, lowered: Lowered, contents: Contents, out: Path, progress: Progress) -> tuple[str, ...]:
        """The ``.litertlm``: program, tokenizer, metadata, and the manifest and goldens behind them."""
        from .package import package

        return package(lowered.program, contents, out)

    def same_program(self, proven: Path, sealed: Path) -> None:
        """Compares every section that the engine reads."""
        from ...formats.litertlm import check_same_running_sections

        check_same_running_sections(proven, sealed)

    def layout(self, program: Path) -> Layout:
        """Sections of the ``.litertlm``, signatures of its program."""
        from .layout import sections, signatures

        return sections(program), signatures(program)

    def preload(self) -> None:
        """Loads the Interpreter."""
        from ai_edge_litert import interpreter  # noqa: F401

    def open(self, program: Path, threads: int | None = None) -> Runner:
        """Loads the program of a ``.litertlm`` into LiteRT's Interpreter."""
        from .runner import LiteRTRunner

        return LiteRTRunner(program, threads)

    def measure(self, job: Job, runs: int, progress: Progress) -> list[Run] | None:
        """LiteRT-LM's engine, its weight cache written before."""
        import tempfile

        from .engine import bench

        with tempfile.TemporaryDirectory(dir=job.work, prefix="gemcut-") as work:
            return bench(Path(job.program), job.prompts, job.steps, runs, Path(work), job.threads, progress)

    def second_leg(
        self, bundle: Bundle, goldens: Sequence[Golden], recorded: Sequence[Recorded], work: Path, progress: Progress
    ) -> tuple[Check, ...]:
        """LiteRT-LM's engine: the same greedy tokens, and the same prompts from its own template and tokenizer."""
        from .engine_checks import prove_engine

        return prove_engine(bundle, goldens, recorded, work, progress)


RUNTIME = LiteRT()
