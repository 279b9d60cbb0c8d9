"""What to do if an app's runtime lacks something, and how to settle what isn't known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from packaging.version import Version

from ..compat.verdict import oldest_release
from ..runtimes import runtime_names

if TYPE_CHECKING:
    from ..compat.needs import Kind, Requirement
    from ..compat.verdict import Comparison, Way
    from ..runtimes.base import RuntimePlugin
    from .runtime_spec import AppRuntime


def advice(
    compared: Comparison,
    asked: AppRuntime,
    runtime: RuntimePlugin,
    version: str,
    needs: Sequence[Requirement],
    way: Way,
) -> Iterator[str]:
    """Return what to do next, the most useful first.

    Args:
        compared: What is missing and what isn't known.
        asked: The runtime that the app ships.
        runtime: The bundle's runtime.
        version: The version of the app's runtime; empty if it isn't known.
        needs: What the bundle's program requires.
        way: How the comparison was made.
    """
    kinds = {lack.kind for lack in compared.missing}
    if kinds == {"runtime"}:
        others = [asked.runtime] if asked.runtime else [name for name in runtime_names() if name != runtime.name]
        yield f"export for the app's own runtime: gemcut export --runtime {' or '.join(others)}"
    elif kinds:
        yield from _about_missing(kinds, asked, runtime, version, needs)
    if not compared.published:
        yield f"correct the version of {asked.package}, if it is a mistake"
    if compared.unknown:
        yield _about_unknown({lack.kind for lack in compared.unknown}, asked, runtime, way, compared.published)


def _about_missing(
    kinds: set[Kind], asked: AppRuntime, runtime: RuntimePlugin, version: str, needs: Sequence[Requirement]
) -> Iterator[str]:
    newer = oldest_release(runtime.releases, asked.package, needs)
    if newer is not None:
        yield f"ship {runtime.title} {newer} or later with the app"
    else:
        yield "no known release has all of it; please report it"
    oldest = runtime.releases.oldest_target()
    if oldest is not None and version and Version(version) >= Version(oldest):
        yield (
            f'or export for your own target (gemcut export --target FILE.toml) with {runtime.name} = "{version}" under '
            "[oldest_runtime], which the export then checks before it packs"
        )
    if "backend" in kinds:
        yield "or export for a target with another delegate"
    if "node" in kinds:
        yield "or export again with this gemcut, which keeps nodes that old delegates lack out of their blobs"


def _about_unknown(kinds: set[Kind], asked: AppRuntime, runtime: RuntimePlugin, way: Way, published: bool) -> str:
    if runtime.releases.loads_library:
        if "runtime" in kinds and asked.package and published:
            return f"name the library itself: --runtime npm:{asked.package}@{asked.package_version}"
        return "name the library that ships, which is then loaded: --runtime app-release.apk, or the .aar"
    if way != "release" and runtime.releases.package_example:
        return f"name its version: --runtime {runtime.releases.package_example}"
    return "prove the bundle on the phone with the demo app, and read the verdict with gemcut validate --from FILE"
