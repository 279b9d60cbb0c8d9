"""``gemcut export`` in a folder with a ``gemcut.toml``: builds each bundle that is out of date, and says why."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..devices import Options
from ..errors import GemcutError, UsageError
from ..pipeline.failures import HeldBack
from ..pipeline.request import ExportRequest, Published
from ..report import outcome
from ..report.outcome import Finding, Outcome, Place
from .config import read_project
from .entries import BundleEntry, Project
from .hash_cache import Hashes
from .inputs import locked_bundle, relative
from .lock import AGAIN, FILE, Lock, LockError, check_sealed, maker, manifest_sha256, read_lock, write_lock
from .status import Status, examine

if TYPE_CHECKING:
    from ..bundle.manifest import Manifest
    from ..pipeline.planned_export import DryRun
    from ..util.progress import Progress

State = Literal["up to date", "published", "failed", "not built", "out of date"]
Export = Callable[[ExportRequest, "Progress"], tuple[Published, ...]]
Known = Callable[[Exception], GemcutError | None]


@dataclass(frozen=True)
class Built:
    """What became of one entry of ``gemcut.toml``.

    Attributes:
        entry: The entry.
        state: What became of it.
        reasons: Why it was out of date.
        notes: What the user should know.
        published: The bundle of each runtime, if it was built.
        places: Where the bundles are now.
        error: Why it failed.
        outcomes: The outcomes for reports.
        seconds: Seconds in total.
        planned: What would be made, in a dry run of a bundle that is out of date.
    """

    entry: BundleEntry
    state: State
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    published: tuple[Published, ...] = ()
    places: tuple[Path, ...] = ()
    error: GemcutError | None = None
    outcomes: tuple[Outcome, ...] = ()
    seconds: float = 0.0
    planned: DryRun | None = None


def build_project(
    root: Path,
    only: Sequence[str],
    locked: bool,
    force: bool,
    progress: Progress,
    export: Export | None = None,
    known: Known | None = None,
    fresh: bool = False,
    dry: bool = False,
) -> tuple[Built, ...]:
    """Build every bundle of ``gemcut.toml`` that is out of date; a bundle that fails doesn't stop the others.

    Args:
        root: The folder of ``gemcut.toml``.
        only: The names of the bundles to build; all if it is empty.
        locked: Refuse, before any work, whatever differs from ``gemcut.lock``, and after the work a bundle that
            differs; the lock is not written.
        force: Also build bundles that are up to date.
        progress: Receives what is built and why.
        export: The function that makes a bundle; None for the pipeline's.
        known: Turns an error that isn't a GemcutError into one that a user can act on, or into None for a bug.
        fresh: Reuse nothing of a run that was killed, nor a program that another export built.
        dry: Make nothing; check each bundle that is out of date, and say what would be made.

    Returns:
        What became of each entry, in the file's order. Nothing is raised for a bundle that failed.

    Raises:
        ProjectError: ``gemcut.toml`` has mistakes.
        UsageError: The file or a name doesn't exist, the lock can't be read, or ``locked`` is set without a lock.
        LockError: ``locked`` is set, and ``gemcut.lock`` has a bundle that ``gemcut.toml`` no longer has.
    """
    project = read_project(root)
    entries = project.select(tuple(only))
    lock = read_lock(root)
    if locked:
        _refuse_stale(project, lock)
    hashes = Hashes()
    progress.stage("Checking what is out of date")
    examined = [(entry, _examined(entry, lock, root, hashes)) for entry in entries]
    hashes.save()
    if locked and any(isinstance(found, Status) and _moved(found, lock) for _, found in examined):
        return tuple(_refused(entry, found, lock, root) for entry, found in examined)
    builder = _Builder(project, lock, locked, force, progress, export, known, hashes, fresh, dry)
    built = tuple(
        builder.build(found) if isinstance(found, Status) else _failed(entry, found) for entry, found in examined
    )
    hashes.save()
    return built


def request_of(entry: BundleEntry, revision: str | None) -> ExportRequest:
    """Return the export that an entry asks for; ``revision``, a hub id's commit, replaces a branch's name."""
    model = entry.model
    text: str | None = f"{model.hub_id}@{revision}" if revision else model.text
    if model.folder is not None:
        text = None if model.kind == "sample" else str(model.folder)
    return ExportRequest(
        model=text,
        adapter=None if entry.adapter is None else str(entry.adapter),
        target=entry.target,
        runtimes=entry.runtimes,
        recipe=entry.recipe,
        calibration=entry.calibration,
        golden_prompts=entry.golden_prompts,
        built_in_prompts=entry.built_in_prompts,
        context=entry.context,
        prefill_lengths=entry.prefill_lengths,
        options=entry.options,
        format=entry.format,
        output=entry.output,
        force=True,  # the place is the project's: only Gemcut's own bundles are ever replaced
        chat_template=entry.chat_template,
        prove_on=entry.prove_on,
        device_options=Options(entry.timeout, entry.device_memory),
        budgets=entry.budgets if entry.budgets.set() else None,
    )


def place_of(entry: BundleEntry, key: str = "") -> Place:
    """Return where a key of the entry is in ``gemcut.toml``; where its table is without a key, or if it isn't set."""
    return Place(str(entry.file), entry.lines.get(key, entry.line))


@dataclass
class _Builder:
    project: Project
    lock: Lock | None
    locked: bool
    force: bool
    progress: Progress
    export: Export | None
    known: Known | None
    hashes: Hashes
    fresh: bool
    dry: bool

    def build(self, status: Status) -> Built:
        """Build one entry if it is out of date."""
        entry, reasons = status.entry, status.reasons
        if not reasons and not self.force:
            self.progress.note(f"{entry.name} is up to date")
            return _up_to_date(status, self.lock, self.project.root)
        reasons = reasons or ("--force",)
        if not self.dry:
            self.progress.note(f"building {entry.name}: {'; '.join(reasons)}")
        began = time.monotonic()
        try:
            return self._planned(status, reasons) if self.dry else self._made(status, reasons, began)
        except Exception as error:
            told = error if isinstance(error, GemcutError) else self.known(error) if self.known else None
            if told is None:
                raise
            self.progress.note(f"{entry.name} failed")
            return dataclasses.replace(_failed(entry, told), reasons=reasons, seconds=time.monotonic() - began)

    def _planned(self, status: Status, reasons: tuple[str, ...]) -> Built:
        from ..pipeline.planned_export import dry_run

        _check_baseline(status.entry)
        found = dry_run(request_of(status.entry, status.found.revision), self.progress)
        return Built(status.entry, "out of date", reasons, (*status.notes, *found.notes), planned=found)

    def _made(self, status: Status, reasons: tuple[str, ...], began: float) -> Built:
        entry, then = status.entry, self.lock.of(status.entry.name) if self.lock else {}
        _check_baseline(entry)
        notes: list[str] = []

        def sealed(manifest: Manifest) -> None:
            runtime = manifest.runtime.name
            if self.locked:
                notes.extend(filter(None, [check_sealed(entry.name, then[runtime], manifest)]))
            elif not status.moved and runtime in then and manifest_sha256(manifest) != then[runtime].bundle:
                notes.append(f"the {runtime} bundle differs from that in {FILE}, although none of its inputs changed")

        request = dataclasses.replace(request_of(entry, status.found.revision), sealed=sealed, fresh=self.fresh)
        published = self._export()(request, self.progress)
        if not self.locked:
            made = {
                one.manifest.runtime.name: locked_bundle(
                    entry, status.found, one.manifest, one.bundle, self.project.root, self.hashes, maker(one.manifest)
                )
                for one in published
            }
            write_lock(self.project.root, self.project, entry.name, made)
        return Built(
            entry,
            "published",
            reasons,
            (*status.notes, *notes, *dict.fromkeys(note for one in published for note in one.manifest.notes)),
            published,
            tuple(self.project.root / relative(one.bundle, self.project.root) for one in published),
            outcomes=tuple(
                _at_budget_lines(outcome.published(one, entry.name, place_of(entry)), entry) for one in published
            ),
            seconds=time.monotonic() - began,
        )

    def _export(self) -> Export:
        if self.export is None:
            from ..pipeline.export import export  # this loads torch, which an up-to-date project never does

            self.export = export
        return self.export


def _examined(entry: BundleEntry, lock: Lock | None, root: Path, hashes: Hashes) -> Status | GemcutError:
    try:
        return examine(entry, lock, root, hashes)
    except GemcutError as error:
        return error


def _refuse_stale(project: Project, lock: Lock | None) -> None:
    if lock is None:
        raise UsageError(f"--locked: there is no {project.root / FILE}", hint=AGAIN)
    known = {entry.name for entry in project.entries}
    gone = [name for name in lock.bundles if name not in known]
    if gone:
        raise LockError([f"bundles.{name} is no longer in {project.path}" for name in gone])


def _moved(status: Status, lock: Lock | None) -> tuple[str, ...]:
    """What ``--locked`` refuses of an entry."""
    if lock is not None and not lock.of(status.entry.name):
        return (f"{FILE} has no such bundle",)
    return tuple(move.full for move in status.moved)


def _refused(entry: BundleEntry, status: Status | GemcutError, lock: Lock | None, root: Path) -> Built:
    """What becomes of an entry with ``--locked`` if anything moved: nothing is built."""
    if isinstance(status, GemcutError):
        return _failed(entry, status)
    found = _moved(status, lock)
    if not found:
        if not status.reasons:
            return _up_to_date(status, lock, root)
        return Built(entry, "not built", status.reasons, ("not built, because --locked refused another bundle",))
    refusal = LockError(found)
    findings = tuple(
        Finding("lock.moved", False, one, refusal.exit_code, hint=AGAIN, place=place_of(entry)) for one in found
    )
    told = Outcome("export", entry.name, "failed", findings, ",".join(entry.runtimes), entry.target, place_of(entry))
    return Built(entry, "failed", status.reasons, status.notes, error=refusal, outcomes=(told,))


def _failed(entry: BundleEntry, error: GemcutError) -> Built:
    place = place_of(entry)
    found: tuple[Outcome, ...] = ()
    if isinstance(error, HeldBack):
        found = tuple(_at_budget_lines(one, entry) for one in outcome.held_back(error.evidence, entry.name, place))
    if not any(one.exit_code == error.exit_code for each in found for one in each.failures):
        rule = f"error.{type(error).__name__}"
        finding = Finding(rule, False, error.message, error.exit_code, hint=error.hint, place=place)
        runtimes = ",".join(entry.runtimes)
        found = (*found, Outcome("export", entry.name, "failed", (finding,), runtimes, entry.target, place))
    return Built(entry, "failed", error=error, outcomes=found)


def _up_to_date(status: Status, lock: Lock | None, root: Path) -> Built:
    entry, locked = status.entry, lock.of(status.entry.name) if lock else {}
    places = {runtime: root / locked[runtime].place for runtime in entry.runtimes}
    outcomes = tuple(
        Outcome(
            "export",
            entry.name,
            "up to date",
            runtime=runtime,
            target=locked[runtime].target,
            place=place_of(entry),
            bundle=path,
            notes=status.notes,
        )
        for runtime, path in places.items()
    )
    return Built(entry, "up to date", (), status.notes, (), tuple(places.values()), outcomes=outcomes)


def _at_budget_lines(one: Outcome, entry: BundleEntry) -> Outcome:
    """The outcome with each budget's finding at that budget's line."""
    findings = tuple(
        dataclasses.replace(finding, place=place_of(entry, f"budgets.{finding.rule.partition('.')[2]}"))
        if finding.rule.startswith("budget.")
        else finding
        for finding in one.findings
    )
    return dataclasses.replace(one, findings=findings)


def _check_baseline(entry: BundleEntry) -> None:
    """Open the baseline and check every byte of it, before any work rather than after it."""
    if entry.budgets.baseline is None:
        return
    from ..pipeline.budgets import open_baseline

    for runtime in entry.runtimes:
        open_baseline(entry.budgets.baseline, runtime).close()
