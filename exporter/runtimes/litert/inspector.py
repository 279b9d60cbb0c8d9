"""Looking at ``.litertlm`` files without LiteRT's runtime."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import LackingError
from ...formats import litertlm
from ...util.packages import install_command
from ..base import Inspector, Layout
from ..program import Artifacts

if TYPE_CHECKING:
    from ...bundle.manifest import Manifest
    from ...bundle.reader import Bundle
    from ...compat.needs import Requirement

_GOLDEN_PROGRAM = "model.tflite"


class LiteRTInspector(Inspector):
    """See ``Inspector``."""

    def needs(self, bundle: Bundle) -> set[Requirement]:
        """See ``Inspector``."""
        from ...compat.needs import read_litert

        return set(read_litert(bundle.program))

    def same_program(self, proven: Path, sealed: Path) -> None:
        """See ``Inspector``; compares every section that the engine reads."""
        litertlm.check_same_running_sections(proven, sealed)

    def layout(self, program: Path) -> Layout:
        """See ``Inspector``: sections of the ``.litertlm``, signatures of its program."""
        from .layout import sections, signatures

        return sections(program), signatures(program)

    def sections(self, bundle: Bundle) -> Mapping[str, tuple[int, str]]:
        """See ``Inspector``: the sections of the ``.litertlm``."""
        path = bundle.program
        try:
            found = litertlm.read_sections(path)
        except ModuleNotFoundError as error:
            raise LackingError(f"'{error.name}' is missing", hint=install_command("litert")) from error
        seen: Counter[str] = Counter()
        named = {}
        for section in found:
            label = " ".join(part for part in (section.kind, section.model_type or section.name) if part)
            seen[label] += 1
            name = label if seen[label] == 1 else f"{label} #{seen[label]}"
            named[name] = (section.size, litertlm.section_sha256(path, section))
        return named

    def oldest_loading(self, program: Path, manifest: Manifest) -> str | None:
        """See ``Inspector``: the oldest whose engine also knows the metadata that decides what a model says."""
        from ...compat.litert import LiteRTReleases
        from ...compat.needs import Requirement, read_litert
        from ...compat.verdict import oldest_release

        needs = {Requirement("operator", name) for name in (*manifest.operators, *manifest.kernels)}
        return oldest_release(LiteRTReleases(), None, tuple(sorted(needs | set(read_litert(program)))))

    def golden_program(self, bundle: Bundle, work: Path) -> Artifacts:
        """See ``Inspector``: the section that the Interpreter runs."""
        path, out = bundle.program, work / _GOLDEN_PROGRAM
        out.write_bytes(litertlm.mapped(path, litertlm.program_section(path)))
        return Artifacts.single(out)

    def bench_program(self, bundle: Bundle, work: Path) -> Artifacts:
        """See ``Inspector``: the whole file, for LiteRT-LM's engine, which never stops by itself."""
        from .id_tokenizer import write_without_stops

        out = work / bundle.program.name
        write_without_stops(bundle.program, out)
        return Artifacts.single(out)
