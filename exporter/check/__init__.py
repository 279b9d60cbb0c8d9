"""Will the app's runtime run this bundle? Answered from facts about releases, or from the library that ships."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..compat.needs import Kind, Need, read_needs
from ..compat.verdict import Compared, Lack, Verdict, Way, by_release, newest_known, oldest_release
from .runtime_spec import Asked, parse

if TYPE_CHECKING:
    from ..util.progress import Progress

__all__ = ["Asked", "CheckResult", "Lack", "RuntimeCheck", "check", "parse"]

_NAMES = {"executorch": "ExecuTorch", "litert": "LiteRT-LM"}
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
        return f"{self.asked} ({_NAMES[self.runtime]} {self.version})" if self.version else self.asked


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
        needs, notes = read_needs(opened)
        runtime = opened.manifest.runtime.name
    fitting = [one for one in asked if one.runtime in (runtime, None)]
    found = [_check(runtime, one, needs, notes, progress) for one in fitting or asked]
    found.sort(key=lambda one: _ORDER.index(one.verdict))
    return CheckResult(str(bundle), runtime, found[0].verdict, tuple(found))


def _check(
    runtime: str, asked: Asked, needs: Sequence[Need], notes: tuple[str, ...], progress: Progress
) -> RuntimeCheck:
    way: Way = "release"
    version = asked.version or ""
    if asked.library is not None:
        from .library import by_library, open_library

        shipped = open_library(asked.library, runtime, progress)
        way = "library" if shipped and shipped.loaded else "strings"
        version = (shipped.version or "") if shipped else ""
        compared = by_library(runtime, needs, shipped) if shipped and runtime == "executorch" else None
        if shipped is None:
            compared = _other(f"{asked.library} holds no {_NAMES[runtime]}, which the bundle is for", runtime)
        elif compared is None:
            compared = _unsettled(runtime, "what a LiteRT-LM library has can't be read from it", shipped.notes)
    elif asked.runtime != runtime:
        assert asked.runtime is not None
        compared = _other(f"the app has {_NAMES[asked.runtime]}, the bundle is for {_NAMES[runtime]}", runtime)
    elif asked.version is None:
        compared = _unsettled(runtime, f"which {_NAMES[runtime]} {asked.package} {asked.package_version} holds", ())
    else:
        compared = by_release(runtime, needs, asked.version, asked.package)
    return RuntimeCheck(
        asked=asked.text,
        runtime=runtime,
        package=asked.package or "",
        package_version=asked.package_version or "",
        version=version,
        file=asked.file or "",
        line=asked.line,
        verdict=_verdict(compared, way, runtime, version, looked=not notes),
        way=way,
        missing=compared.missing,
        unknown=compared.unknown,
        checked=compared.checked,
        advice=tuple(_advice(compared, asked, runtime, version, needs, way)),
        sources=compared.sources,
        notes=(*notes, *compared.notes),
    )


def _other(what: str, runtime: str) -> Compared:
    return Compared((Lack("runtime", _NAMES[runtime], what),), (), {"runtime": 1}, ())


def _unsettled(runtime: str, what: str, notes: tuple[str, ...]) -> Compared:
    return Compared((), (Lack("runtime", _NAMES[runtime], what),), {"runtime": 1}, (), notes)


def _verdict(compared: Compared, way: Way, runtime: str, version: str, looked: bool) -> Verdict:
    """looked: into the program itself, rather than at its manifest alone."""
    from packaging.version import Version

    if compared.verdict != "runs":
        return compared.verdict
    beyond = way == "release" and Version(version).major > Version(newest_known(runtime)).major
    return "may" if way == "strings" or beyond or not looked else "runs"


def _advice(compared: Compared, asked: Asked, runtime: str, version: str, needs: Sequence[Need], way: Way) -> list[str]:
    """What would avoid what is missing, or settle what isn't known."""
    found = []
    kinds = {lack.kind for lack in compared.missing}
    if kinds == {"runtime"}:
        other = "litert" if runtime == "executorch" else "executorch"
        found.append(f"export for the app's own runtime: gemcut export --runtime {other}")
    elif kinds:
        newer = oldest_release(runtime, asked.package, needs)
        if newer is not None:
            found.append(f"ship {_NAMES[runtime]} {newer} or a later one with the app")
        else:
            found.append("no release that is known has all of it: please report it")
        if _can_be_target(runtime, version):
            found.append(
                f'or gemcut export --target FILE.toml, a target of your own with {runtime} = "{version}" under '
                "[oldest_runtime]: an export is then held to that release before it is packed"
            )
        if "backend" in kinds:
            found.append("or export for a target whose delegate is xnnpack")
        if "node" in kinds:
            found.append("or export again with this gemcut, which keeps what old delegates lack out of their blobs")
    if compared.unknown:
        if any(lack.kind == "runtime" for lack in compared.unknown) and asked.package and runtime == "executorch":
            found.append(f"name the very library: --runtime npm:{asked.package}@{asked.package_version}")
        elif runtime == "executorch":
            found.append("name the library that ships (--runtime app-release.apk, or the .aar): it is loaded and asked")
        elif way != "release":
            found.append("name its version: --runtime litertlm-android==VERSION")
        else:
            found.append("run it there: the demo app proves it on the phone; gemcut validate --from FILE reads it")
    return found


def _can_be_target(runtime: str, version: str) -> bool:
    """Whether a target's ``oldest_runtime`` holds an export to it: ExecuTorch's does, where its lists begin by then."""
    from packaging.version import Version

    from ..compat.facts import kernels

    return runtime == "executorch" and bool(version) and Version(version) >= Version(kernels().known[0].version)
