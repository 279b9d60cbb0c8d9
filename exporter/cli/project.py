"""``gemcut export`` in a folder with a ``gemcut.toml``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import EXIT_PROVEN
from .common import console_progress, emit, say, warn
from .reporting import Report, reporting

if TYPE_CHECKING:
    from ..bundle.manifest import Manifest
    from ..project.rebuild import Built


def export_project(flags: Mapping[str, Any], as_json: bool, root: Path = Path()) -> int:
    """Build what is out of date in ``root``, and show what became of each bundle.

    Args:
        flags: The command's parameters, of which ``only``, ``locked``, ``dry_run``, ``force``, ``fresh`` and the
            reports' are read.
        as_json: Whether to print a JSON document instead of a table.
        root: The folder of ``gemcut.toml``.

    Returns:
        The exit code: that of the first bundle that failed, in the file's order.

    Raises:
        GemcutError: Nothing could be built, because the file, the lock or a name is wrong.
    """
    from ..project.place import FILE
    from ..project.rebuild import build_project
    from ..report.outcome import Place
    from . import as_known

    if flags["dry_run"]:  # which reports nothing: nothing became of anything
        built = _build(build_project, root, flags, as_known, Report("export", FILE))
    else:
        with reporting(flags, "export", FILE, Place(str(root / FILE))) as report:
            built = _build(build_project, root, flags, as_known, report)
    _warn(built, root)
    if as_json:
        _emit(built, root, flags)
    else:
        _show(built)
    return next((one.error.exit_code for one in built if one.error), EXIT_PROVEN)


def _build(build_project: Any, root: Path, flags: Mapping[str, Any], known: Any, report: Report) -> tuple[Built, ...]:
    from ..project.entries import ProjectError

    try:
        with console_progress() as progress:
            built: tuple[Built, ...] = build_project(
                root,
                flags["only"],
                flags["locked"],
                flags["force"],
                progress,
                known=known,
                fresh=flags["fresh"],
                dry=flags["dry_run"],
            )
    except ProjectError as error:
        report.add(_mistaken(error))
        raise
    for one in built:
        report.add(*one.outcomes)
    return built


def _mistaken(error: Any) -> Any:
    """What is wrong with gemcut.toml, with a finding for each mistake at its line."""
    from ..report.outcome import Finding, Outcome, Place

    findings = tuple(
        Finding(
            "error.ProjectError",
            False,
            one.message,
            one.exit_code,
            hint=one.hint,
            place=Place(str(error.path), one.line),
        )
        for one in error.mistakes
    )
    return Outcome("export", str(error.path), "failed", findings, place=findings[0].place)


def _warn(built: tuple[Built, ...], root: Path) -> None:
    """What went wrong, and what to look at, on stderr."""
    from ..pipeline.failures import HeldBack
    from ..project.schema_file import outdated
    from .views.proof import show_held_back

    for one in built:
        if isinstance(one.error, HeldBack):
            show_held_back(one.error)
    for one in built:
        if one.error is not None:
            warn(f"error: {one.entry.file}:{one.entry.line}: bundles.{one.entry.name}: {one.error.message}")
            if one.error.hint:
                warn(f"hint: {one.error.hint}")
    if old := outdated(root):
        warn(f"note: {old} was written by another version of gemcut: update it with gemcut init --schema")


def _emit(built: tuple[Built, ...], root: Path, flags: Mapping[str, Any]) -> None:
    from ..project.outcomes import ProjectResult, record_of
    from ..project.place import FILE

    passed = all(one.error is None and one.state != "not built" for one in built)
    dry = bool(flags["dry_run"])
    emit(ProjectResult(str(root / FILE), bool(flags["locked"]), dry, passed, tuple(map(record_of, built))))


def _words(manifest: Manifest) -> str:
    return manifest.grade.words if manifest.grade else ""


def _show(built: tuple[Built, ...]) -> None:
    from ..util.text import path_text, size_text
    from .views.dry_run_tables import planned_text, proof_lines
    from .views.table import table

    rows = []
    for one in built:
        seconds = f"{one.seconds:.1f} s" if one.seconds else ""
        made = {each.bundle: (size_text(each.size), _words(each.manifest)) for each in one.published}
        first: tuple[str, str, str] = (one.entry.name, one.state, seconds)
        for place in one.places or (None,):
            rows.append(
                (*first, *(made.get(place, ("", "")) if place else ("", "")), path_text(place) if place else "")
            )
            first = ("", "", "")
    table(rows, ("bundle", "state", "took", "size", "fidelity", "where"))
    for one in built:
        if one.reasons:
            is_ = "is" if one.planned else "was"
            say(f"{one.entry.name} {is_} out of date: {'; '.join(one.reasons)}")
        for bundle in one.planned.bundles if one.planned else ():
            say(f"{one.entry.name} would be made: {planned_text(bundle)}")
        for line in proof_lines(one.planned) if one.planned else ():
            say(f"{one.entry.name} would be {line}" if line.startswith("proven") else f"{one.entry.name}: {line}")
        for note in one.notes:
            say(f"note: {one.entry.name}: {note}")
