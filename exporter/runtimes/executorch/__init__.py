"""ExecuTorch: a ``.pte`` with the contract of its own LLM runners."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..base import RuntimePlugin
from .delegates import DELEGATES

if TYPE_CHECKING:
    from ...compat.releases import ReleaseFacts
    from ..base import Engine, Exporter, Inspector
    from ..golden_runner import NativeGoldenRunner


class ExecuTorch(RuntimePlugin):
    """See ``RuntimePlugin``."""

    name = "executorch"
    title = "ExecuTorch"
    program_name = "model.pte"
    distribution = "executorch"
    distributions = ("executorch",)
    modules = frozenset(
        {
            "torch",
            "torchao",
            "executorch",
            "transformers",
            "tokenizers",
            "pytorch_tokenizers",
            "sentencepiece",
            "safetensors",
            "huggingface_hub",
        }
    )
    libraries = ("torch", "torchao", "transformers", "tokenizers")
    platforms = frozenset({"android-arm64", "android-x86_64", "linux-arm64", "linux-x86_64"})
    delegates = DELEGATES
    has_cost_model = True
    reuses_programs = True
    android_library = True

    @property
    def exporter(self) -> Exporter:
        """See ``RuntimePlugin``."""
        from .exporter import ExecuTorchExporter

        return ExecuTorchExporter()

    @property
    def engine(self) -> Engine:
        """See ``RuntimePlugin``."""
        from .engine import ExecuTorchEngine

        return ExecuTorchEngine()

    @property
    def inspector(self) -> Inspector:
        """See ``RuntimePlugin``."""
        from .inspector import ExecuTorchInspector

        return ExecuTorchInspector()

    @property
    def releases(self) -> ReleaseFacts:
        """See ``RuntimePlugin``."""
        from ...compat.executorch import ExecuTorchReleases

        return ExecuTorchReleases()

    @property
    def golden_runner(self) -> NativeGoldenRunner:
        """See ``RuntimePlugin``: a C++ program, linked with the wheel's libraries."""
        from .golden_runner.build import ExecuTorchGoldenRunner

        return ExecuTorchGoldenRunner()

    def version(self) -> str:
        """See ``RuntimePlugin``."""
        from .patches.guard import require_version

        return require_version()


PLUGIN = ExecuTorch()
