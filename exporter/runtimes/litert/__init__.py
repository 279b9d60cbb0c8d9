"""LiteRT: a ``.litertlm`` for LiteRT-LM's engine, with one ``.tflite`` inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ...errors import UsageError
from ..base import RuntimePlugin
from .delegates import DELEGATES
from .options import DYNAMIC_SHAPE, OPTIONS
from .version import (
    EXPORTER,
    RUNTIME,
    WHERE,
    can_have_exporter,
    lacking_instructions,
    no_exporter,
    require_runtime,
)

if TYPE_CHECKING:
    from ...compat.releases import ReleaseFacts
    from ..base import Engine, Exporter, Inspector
    from ..golden_runner import PythonGoldenRunner


class LiteRT(RuntimePlugin):
    """See ``RuntimePlugin``. Its version is LiteRT-LM's, the package that apps depend on."""

    name = "litert"
    title = "LiteRT-LM"
    program_name = "model.litertlm"
    distribution = "litert-lm"
    distributions = (*RUNTIME, *EXPORTER)
    export_only = tuple(EXPORTER)
    modules = frozenset({"ai_edge_litert", "litert_lm", "litert_lm_builder", "litert_torch"})
    libraries = ("torch", "transformers", "tokenizers", "litert-torch", "litert-converter", "ai-edge-litert")
    platforms = frozenset({"android-arm64", "android-x86_64", "linux-arm64", "linux-x86_64"})
    delegates = DELEGATES
    options = OPTIONS
    table_keys = ("recipe", "context", "prefill_lengths")
    embeds_manifest = True
    weight_cache = True
    reuses_programs = True

    @property
    def exporter(self) -> Exporter:
        """See ``RuntimePlugin``."""
        from .exporter import LiteRTExporter

        return LiteRTExporter()

    @property
    def engine(self) -> Engine:
        """See ``RuntimePlugin``."""
        from .engine import LiteRTEngine

        return LiteRTEngine()

    @property
    def inspector(self) -> Inspector:
        """See ``RuntimePlugin``."""
        from .inspector import LiteRTInspector

        return LiteRTInspector()

    @property
    def releases(self) -> ReleaseFacts:
        """See ``RuntimePlugin``."""
        from ...compat.litert import LiteRTReleases

        return LiteRTReleases()

    @property
    def golden_runner(self) -> PythonGoldenRunner:
        """See ``RuntimePlugin``: Python with the Interpreter, and LiteRT-LM's engine beside it."""
        from ..golden_runner import PythonGoldenRunner
        from .version import DEVICE_WHEELS

        root = __name__.partition(".")[0]
        late = (f"{root}.formats.litertlm", f"{__name__}.id_tokenizer")
        return PythonGoldenRunner(f"{__name__}.golden_runner", DEVICE_WHEELS, late)

    def version(self) -> str:
        """See ``RuntimePlugin``."""
        return require_runtime()

    def run_obstacle(self, cpuinfo: str | None = None, machine: str | None = None) -> str:
        """See ``RuntimePlugin``: the wheels are built for processors with certain instructions."""
        return lacking_instructions(cpuinfo, machine)

    def export_obstacle(self) -> str:
        """See ``RuntimePlugin``: the converter has wheels for few platforms."""
        return "" if can_have_exporter() else f"{no_exporter()} Export on {WHERE}."

    def check_options(self, asked: Mapping[str, bool], prefill_lengths: Sequence[int]) -> None:
        """See ``RuntimePlugin``: a program has prefills of fixed lengths, or one of any length."""
        if asked.get(DYNAMIC_SHAPE) and prefill_lengths:
            raise UsageError("--prefill-lengths and --dynamic-shape exclude each other", hint="Use only one of them.")


PLUGIN = LiteRT()
