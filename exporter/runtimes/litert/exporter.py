"""Making ``.litertlm`` files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ..base import Exporter
from ..program import Artifacts, BuildSpec, Contents, Packaged, Program, Shape
from .delegates import DELEGATES
from .options import DYNAMIC_SHAPE, PLAIN_TFLITE

if TYPE_CHECKING:
    from ...modeling.kv_cache import CacheSpec
    from ...quantize.recipe import Recipe
    from ...util.progress import Progress
    from ...util.stage_clock import StageClock

FILE = "model.litertlm"


class LiteRTExporter(Exporter):
    """See ``Exporter``. ``check_release`` refuses nothing: an engine can't be asked for its operators."""

    steps: ClassVar[Mapping[str, str]] = {"convert": "Converting for LiteRT", "quantize": "Quantizing: {recipe}"}

    def check(self, config: Any, recipe: Recipe, delegates: Sequence[str], oldest: str | None = None) -> None:
        """See ``Exporter``."""
        from ...modeling.parts import PARTS, TEXT_DECODER
        from ...quantize.schemes import decide
        from .adapt import adapt
        from .version import require_exporter

        require_exporter()
        empty = PARTS.get(TEXT_DECODER).checked(config, "litert")
        decide(adapt(empty), recipe, DELEGATES.get(delegates[0]).check_scheme)

    def cache(self, config: Any, shape: Shape, options: Mapping[str, Any]) -> CacheSpec:
        """See ``Exporter``.

        A prefill writes as many rows as its signature has tokens, however many of them are padding: the full layers
        have room for the shortest prefill past the context, else the last tokens could only be fed one by one.
        """
        from ...modeling.kv_cache import cache_spec

        if options[DYNAMIC_SHAPE]:  # With prefills as long as the context a ring would be no shorter than a full layer.
            return cache_spec(config, shape.context, shape.context)
        return cache_spec(config, shape.context + shape.prefill[0] - 1, shape.prefill[-1])

    def build(self, spec: BuildSpec, model: Any, work: Path, clock: StageClock) -> Program:
        """See ``Exporter``."""
        from .build import build

        return build(spec, model, work, clock)

    def examine(self, program: Program) -> Program:
        """See ``Exporter``: operators, and which of them XNNPACK takes."""
        from .requirements import examine

        return examine(program)

    def companions(self, program: Program, options: Mapping[str, Any]) -> Mapping[str, Path]:
        """See ``Exporter``: the bare ``.tflite``."""
        from .build import PROGRAM

        return {PROGRAM: program.artifacts.path} if options[PLAIN_TFLITE] else {}

    def package(self, program: Program, contents: Contents, out: Path, progress: Progress) -> Packaged:
        """See ``Exporter``: program, tokenizer and metadata, with the manifest and the goldens behind them."""
        from .package import package

        notes = package(program.artifacts.path, contents, out / FILE)
        return Packaged(Artifacts.single(out / FILE), notes)
