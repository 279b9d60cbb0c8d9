"""``gemcut export --json`` in a folder with a ``gemcut.toml``, and ``gemcut init --json``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from .rebuild import Built


@dataclass(frozen=True)
class ProjectProblem:
    """Why a bundle failed. kind: the error's class; hint: what to do next."""

    kind: str
    message: str
    hint: str | None
    exit_code: int


@dataclass(frozen=True)
class MadeBundle:
    """One runtime's bundle that was made. size: bytes; sha256: of its manifest; speed: tokens per second, this host."""

    bundle: str
    runtime: str
    size: int
    sha256: str
    fidelity: dict[str, Any] | None
    behaviour: dict[str, Any] | None
    speed: dict[str, float]


@dataclass(frozen=True)
class ProjectBundle:
    """What became of one table of gemcut.toml.

    line: of its table. reasons: why it was out of date. places: its bundles, a runtime each. made: what was built in
    this run. error: null unless it failed. seconds: of its build.
    """

    name: str
    line: int
    state: Literal["up to date", "published", "failed", "not built"]
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    places: tuple[str, ...]
    made: tuple[MadeBundle, ...]
    error: ProjectProblem | None
    seconds: float


@dataclass(frozen=True)
class ProjectResult:
    """``gemcut export --json`` of a project. passed: every bundle that was asked for is up to date or published."""

    project: str
    locked: bool
    passed: bool
    bundles: tuple[ProjectBundle, ...]


@dataclass(frozen=True)
class ProjectStarted:
    """``gemcut init --json``: the files that were written."""

    written: tuple[str, ...]


def record_of(built: Built) -> ProjectBundle:
    """One entry's part of the document."""
    from .lock import manifest_sha256

    error = built.error
    made = tuple(
        MadeBundle(
            bundle=str(one.bundle),
            runtime=one.manifest.runtime.name,
            size=one.size,
            sha256=manifest_sha256(one.manifest),
            fidelity=one.manifest.fidelity.model_dump(mode="json") if one.manifest.fidelity else None,
            behaviour=one.manifest.behaviour.model_dump(mode="json") if one.manifest.behaviour else None,
            speed=one.speed,
        )
        for one in built.published
    )
    problem = ProjectProblem(type(error).__name__, error.message, error.hint, error.exit_code) if error else None
    return ProjectBundle(
        name=built.entry.name,
        line=built.entry.line,
        state=built.state,
        reasons=built.reasons,
        notes=built.notes,
        places=tuple(str(place) for place in built.places),
        made=made,
        error=problem,
        seconds=built.seconds,
    )
