"""Whether an app's runtime will run a bundle, judged by facts about releases or by the library that ships."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..compat.facts import Package
from ..compat.needs import Kind, Requirement
from ..compat.verdict import Comparison, Lack, Verdict, Way, by_release, newest_known
from ..errors import LackingError
from ..runtimes import find_runtime
from .advice import advice
from .runtime_spec import AppRuntime, packages, parse

if TYPE_CHECKING:
    from ..bundle.reader import Bundle
    from ..compat.releases import ReleaseFacts
    from ..runtimes.base import RuntimePlugin
    from ..util.progress import Progress

__all__ = ["AppRuntime", "CheckResult", "Lack", "RuntimeCheck", "check", "parse"]

_ORDER: tuple[Verdict, ...] = ("fails", "unpublished", "unknown", "may", "runs")


@dataclass(frozen=True)
class RuntimeCheck:
    """Whether one runtime runs a bundle.

    Attributes:
        asked: The runtime as the user named it.
        runtime: Name of the bundle's runtime.
        package: The package through which the app has it; "" if none was named.
        package_version: The package's version; "" if no package was named.
        version: The runtime's version; "" if it isn't known.
        file: The file that names the runtime; "" if it was given directly.
        line: The line in ``file``, from 1.
        verdict: ``runs``; ``fails``; ``unpublished`` if no such release is known; ``unknown`` if no source settles
            whether the runtime has something that the program needs; or ``may`` if nothing is missing as far as can be
            told from the library's strings, from older releases, or from the manifest without the program.
        way: ``release`` (by facts about a release), ``library`` (by loading the library), or ``strings`` (by its
            strings).
        missing: What the runtime lacks.
        unknown: What it may lack.
        checked: How many requirements of each kind were looked for.
        advice: What to do about it, or how to settle it.
        sources: Where the facts come from.
        notes: What else the user should know.
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
    """``gemcut check --json``: a bundle against every runtime that ``--runtime`` names.

    Attributes:
        bundle: Path of the bundle.
        runtime: Name of the bundle's own runtime.
        verdict: The worst verdict.
        runtimes: The result for each runtime, the worst verdict first.
    """

    bundle: str
    runtime: str
    verdict: Verdict
    runtimes: tuple[RuntimeCheck, ...]


def check(bundle: Path, text: str, progress: Progress) -> CheckResult:
    """Check a bundle against each runtime that ``--runtime`` names.

    An app's files may name several; those of the bundle's own runtime count, or all if there are none.

    Args:
        bundle: Path of the bundle.
        text: What the user gave for ``--runtime``.
        progress: Told of each step.

    Raises:
        UsageError: See ``parse``.
        UnsupportedError: See ``parse``.
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
    """Return everything that the bundle's program requires of its runtime, and notes on what couldn't be read.

    Raises:
        ConformanceError: The program is damaged.
    """
    manifest = bundle.manifest
    found = {Requirement("operator", name) for name in (*manifest.operators, *manifest.kernels)}
    notes: tuple[str, ...] = ()
    try:
        found |= runtime.inspector.needs(bundle)
    except LackingError as error:
        notes = (f"the contents of {manifest.program} weren't checked: {error.message} {error.hint or ''}".strip(),)
    return tuple(sorted(found)), notes


def _check(
    runtime: RuntimePlugin, asked: AppRuntime, needs: Sequence[Requirement], notes: tuple[str, ...], progress: Progress
) -> RuntimeCheck:
    way: Way = "release"
    version, title = asked.version or "", runtime.title
    if asked.library is not None:
        from .library import by_library, open_library

        shipped = open_library(asked.library, runtime, progress)
        way = "library" if shipped and shipped.loaded else "strings"
        version = (shipped.version or "") if shipped else ""
        if shipped is None:
            compared = _other(f"the bundle is for {title}, but {asked.library} doesn't contain it", title)
        elif runtime.releases.loads_library:
            compared = by_library(runtime.releases, needs, shipped)
        else:
            compared = _unsettled(title, "what the library has can't be read from it", shipped.notes)
    elif asked.runtime != runtime.name:
        assert asked.runtime is not None
        theirs = find_runtime(asked.runtime).title
        compared = _other(f"the bundle is for {title}, but the app has {theirs}", title)
    elif not (known := packages()[asked.package or ""]).knows(asked.package_version or ""):
        compared = _unpublished(asked, known)
    elif asked.version is None:
        compared = _unsettled(
            title, f"it isn't known which {title} {asked.package} {asked.package_version} contains", ()
        )
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


def _other(what: str, title: str) -> Comparison:
    return Comparison((Lack("runtime", title, what),), (), {"runtime": 1}, ())


def _unpublished(asked: AppRuntime, known: Package) -> Comparison:
    what = f"no such release is known; the newest known is {known.published[-1]}"
    lack = Lack("runtime", f"{asked.package} {asked.package_version}", what)
    return Comparison((), (lack,), {"runtime": 1}, (known.published_source,), published=False)


def _unsettled(title: str, what: str, notes: tuple[str, ...]) -> Comparison:
    return Comparison((), (Lack("runtime", title, what),), {"runtime": 1}, (), notes)


def _verdict(compared: Comparison, way: Way, releases: ReleaseFacts, version: str, looked: bool) -> Verdict:
    """The verdict; ``looked`` says whether the program itself was read, not only its manifest."""
    from packaging.version import Version

    if compared.verdict != "runs":
        return compared.verdict
    newest = newest_known(releases) if way == "release" else None
    beyond = newest is not None and Version(version) > Version(newest)
    return "may" if way == "strings" or beyond or not looked else "runs"
