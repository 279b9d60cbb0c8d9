"""``gemcut export --json`` in a folder with a ``gemcut.toml``, and ``gemcut init --json``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..pipeline.planned_export import DryRun
from ..words.grade import Grade
from .rebuild import Built, State


@dataclass(frozen=True)
class ProjectProblem:
    """Why a bundle failed.

    Attributes:
        kind: The error's class.
        message: What is wrong.
        hint: What to do next.
        exit_code: The exit code of such an error.
    """

    kind: str
    message: str
    hint: str | None
    exit_code: int


@dataclass(frozen=True)
class MadeBundle:
    """One runtime's bundle that was made.

    Attributes:
        bundle: Where it is.
        runtime: The runtime.
        size: Bytes of the bundle.
        sha256: SHA-256 of its manifest.
        fidelity: As in the manifest.
        behaviour: As in the manifest.
        grade: What users notice of it; null if its fidelity wasn't measured.
        speed: Tokens per second on this host, by name.
    """

    bundle: str
    runtime: str
    size: int
    sha256: str
    fidelity: dict[str, Any] | None
    behaviour: dict[str, Any] | None
    grade: Grade | None
    speed: dict[str, float]


@dataclass(frozen=True)
class ProjectBundle:
    """What became of one table of gemcut.toml.

    Attributes:
        name: Its name.
        line: The line of its table.
        state: What became of it.
        reasons: Why it was out of date.
        notes: What the user should know.
        places: Where its bundles are, one for each runtime.
        made: The bundles that this run built.
        planned: What would be built, in a dry run; null if it is up to date or failed, and otherwise.
        error: Why it failed; null if it didn't.
        seconds: Seconds of its build.
    """

    name: str
    line: int
    state: State
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    places: tuple[str, ...]
    made: tuple[MadeBundle, ...]
    planned: DryRun | None
    error: ProjectProblem | None
    seconds: float


@dataclass(frozen=True)
class ProjectResult:
    """``gemcut export --json`` of a project.

    Attributes:
        project: The file.
        locked: Whether ``--locked`` was given.
        dry_run: Whether ``--dry-run`` was given, so that nothing was made.
        passed: Whether every requested bundle is up to date or published; in a dry run, whether none was refused.
        bundles: What became of each requested bundle, in the file's order.
    """

    project: str
    locked: bool
    dry_run: bool
    passed: bool
    bundles: tuple[ProjectBundle, ...]


@dataclass(frozen=True)
class ProjectStarted:
    """``gemcut init --json``.

    Attributes:
        written: The files that were written.
    """

    written: tuple[str, ...]


def record_of(built: Built) -> ProjectBundle:
    """Return one entry's part of the document."""
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
            grade=one.manifest.grade,
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
        planned=built.planned,
        error=problem,
        seconds=built.seconds,
    )
