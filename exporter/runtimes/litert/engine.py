"""Running ``.litertlm`` files: in LiteRT's Interpreter, and in LiteRT-LM's own engine, which apps call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import UnsupportedError
from ..base import Ask, Engine
from ..runs import Job, Run

if TYPE_CHECKING:
    from ...bundle.reader import Bundle
    from ...prove.behaviour import Check
    from ...prove.golden import Golden, Recorded
    from ...util.progress import Progress
    from .runner import LiteRTProgram, LiteRTRunner


class LiteRTEngine(Engine):
    """See ``Engine``."""

    def preload(self) -> None:
        """See ``Engine``: loads the Interpreter."""
        from ai_edge_litert import interpreter  # noqa: F401

    def load(self, program: Path, threads: int | None = None) -> LiteRTProgram:
        """See ``Engine``: the signatures of the program, in LiteRT's Interpreter."""
        from .runner import LiteRTProgram

        return LiteRTProgram(program, threads)

    def open(self, program: Path, threads: int | None = None, adapters: Sequence[Path] = ()) -> LiteRTRunner:
        """See ``Engine``: in LiteRT's Interpreter."""
        from .runner import LiteRTRunner

        if adapters:
            raise UnsupportedError(
                "a LiteRT bundle can't apply adapters at run time",
                hint="Merge the adapter when you export: --adapter DIR.",
            )
        return LiteRTRunner(program, threads)

    def measure(self, job: Job, runs: int, progress: Progress) -> list[Run] | None:
        """See ``Engine``: LiteRT-LM's engine, after its weight cache is written."""
        import tempfile

        from .litert_lm import bench

        with tempfile.TemporaryDirectory(dir=job.work, prefix="gemcut-") as work:
            return bench(job, runs, Path(work), progress)

    def checks(
        self, bundle: Bundle, goldens: Sequence[Golden], recorded: Sequence[Recorded], work: Path, progress: Progress
    ) -> tuple[Check, ...]:
        """See ``Engine``: the same greedy tokens, and the same prompts from the engine's template and tokenizer."""
        from .engine_checks import prove_engine

        return prove_engine(bundle, goldens, recorded, work, progress)

    def device_checks(
        self, bundle: Bundle, goldens: Sequence[Golden], recorded: Sequence[Recorded], work: Path, ask: Ask
    ) -> tuple[Check, ...]:
        """See ``Engine``: the engine's greedy tokens on the device, for the shortest goldens."""
        from .device_checks import check_engine

        return (check_engine(bundle, goldens, recorded, work, ask),)
