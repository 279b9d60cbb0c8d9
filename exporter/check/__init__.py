"""Will the app's runtime run this bundle? Answered from facts about releases, or from the library that ships."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..compat.needs import Kind, Requirement
from ..compat.verdict import Compared, Lack, Verdict, Way, by_release, newest_known
from ..errors import LackingError
from ..runtimes import find_runtime
from .advice import advice
from .runtime_spec import Asked, parse

if TYPE_CHECKING:
    from ..bundle.reader import Bundle
    from ..compat.releases import ReleaseFacts
    from ..runtimes.base import RuntimePlugin
    from ..util.progress import Progress

__all__ = ["Asked", "CheckResult", "Lack", "RuntimeCheck", "check", "parse"]

_ORDER: tuple[Verdict, ...] = ("fails", "unknown", "may", "runs")


@dataclass(frozen=True)
class RuntimeCheck:
    """Whether one runtime runs a bundle.

    asked: as the user named it. package, package_version: through which the app has it, where that was named.
    version: of the runtime; "" where it isn't known. file, line: where it was read; line from 1. verdict: ``runs``;
    ``may``, where nothing is missing as far as strings, releases long before it, or the manifest alone, tell;
    ``fails``; ``unknown``, where no source speaks of something that the program needs. way: by facts about a release,
    by loading the library, or by its strings. missing, unknown: each thing. checked: how many of each kind were looked
    for. advice: what would avoid it, or settle it.
    """

    asked: str
    runtime: str
    package: str
    package_version: str
    version: str
    file: str
    line: int
    verdict: Verdict
    way: Way
    missing: tuple[Lack, ...]
    unknown: tuple[Lack, ...]
    checked: dict[Kind, int]
    advice: tuple[str, ...]
    sources: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def title(self) -> str:
        """The runtime in words, such as ``executorch-android 1.1.0``."""
        if self.package:
            return f"{self.package} {self.package_version}"
        return f"{self.asked} ({find_runtime(self.runtime).title} {self.version})" if self.version else self.asked


@dataclass(frozen=True)
class CheckResult:
    """``gemcut check --json``: a bundle against every runtime that ``--runtime`` named, the worst verdict first.

    runtime: the bundle's own. verdict: the worst.
    """

    bundle: str
    runtime: str
    verdict: Verdict
    runtimes: tuple[RuntimeCheck, ...]


def check(bundle: Path, text: str, progress: Progress) -> CheckResult:
    """Checks a bundle against each runtime that ``--runtime`` names.

    An app's files may name several; those of the bundle's own runtime count, and where there is none, all.

    Raises:
        UsageError, UnsupportedError: See ``parse``.
        ConformanceError: The bundle was changed.
        LackingError: A package can't be fetched.
    """
    from ..bundle.reader import open_bundle

    asked = parse(text)
    progress.stage("Checking every byte")
    with open_bundle(bundle) as opened:
        opened.verify()
        runtime = find_runtime(opened.manifest.runtime.name)
        needs, notes = read_needs(runtime, opened)
    fitting = [one for one in asked if one.runtime in (runtime.name, None)]
    found = [_check(runtime, one, needs, notes, progress) for one in fitting or asked]
    found.sort(key=lambda one: _ORDER.index(one.verdict))
    return CheckResult(str(bundle), runtime.name, found[0].verdict, tuple(found))


def read_needs(runtime: RuntimePlugin, bundle: Bundle) -> tuple[tuple[Requirement, ...], tuple[str, ...]]:
    """Everything that the bundle's program asks its runtime for, and notes on what could not be read.

    Raises:
        ConformanceError: The program isn't what the manifest says.
    """
    manifest = bundle.manifest
    found = {Requirement("operator", name) for name in (*manifest.operators, *manifest.kernels)}
    notes: tuple[str, ...] = ()
    try:
        found |= runtime.inspector.needs(bundle)
    except LackingError as error:
        notes = (f"what is inside {manifest.program} was not looked at: {error.message} {error.hint or ''}".strip(),)
    return tuple(sorted(found)), notes


def _check(
    runtime: RuntimePlugin, asked: Asked, needs: Sequence[Requirement], notes: tuple[str, ...], progress: Progress
) -> RuntimeCheck:
    way: Way = "release"
    version, title = asked.version or "", runtime.title
    if asked.library is not None:
        from .library import by_library, open_library

        shipped = open_library(asked.library, runtime, progress)
        way = "library" if shipped and shipped.loaded else "strings"
        version = (shipped.version or "") if shipped else ""
        if shipped is None:
            compared = _other(f"{asked.library} holds no {title}, which the bundle is for", title)
        elif runtime.releases.loads_library:
            compared = by_library(runtime.releases, needs, shipped)
        else:
            compared = _unsettled(title, f"what a {title} library has can't be read from it", shipped.notes)
    elif asked.runtime != runtime.name:
        assert asked.runtime is not None
        theirs = find_runtime(asked.runtime).title
        compared = _other(f"the app has {theirs}, the bundle is for {title}", title)
    elif asked.version is None:
        compared = _unsettled(title, f"which {title} {asked.package} {asked.package_version} holds", ())
    else:
        compared = by_release(runtime.releases, needs, asked.version, asked.package)
    return RuntimeCheck(
        asked=asked.text,
        runtime=runtime.name,
        package=asked.package or "",
        package_version=asked.package_version or "",
        version=version,
        file=asked.file or "",
        line=asked.line,
        verdict=_verdict(compared, way, runtime.releases, version, looked=not notes),
        way=way,
        missing=compared.missing,
        unknown=compared.unknown,
        checked=compared.checked,
        advice=tuple(advice(compared, asked, runtime, version, needs, way)),
        sources=compared.sources,
        notes=(*notes, *compared.notes),
    )


def _other(what: str, title: str) -> Compared:
    return Compared((Lack("runtime", title, what),), (), {"runtime": 1}, ())


def _unsettled(title: str, what: str, notes: tuple[str, ...]) -> Compared:
    return Compared((), (Lack("runtime", title, what),), {"runtime": 1}, (), notes)


def _verdict(compared: Compared, way: Way, releases: ReleaseFacts, version: str, looked: bool) -> Verdict:
    """looked: into the program itself, rather than at its manifest alone."""
    from packaging.version import Version

    if compared.verdict != "runs":
        return compared.verdict
    newest = newest_known(releases) if way == "release" else None
    beyond = newest is not None and Version(version).major > Version(newest).major
    return "may" if way == "strings" or beyond or not looked else "runs"
