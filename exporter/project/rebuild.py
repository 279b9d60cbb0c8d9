"""``gemcut export`` in a folder with a ``gemcut.toml``: builds what is out of date, and says why."""

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
from ..util.platform import processor
from .config import read_project
from .entries import BundleEntry, Project
from .hash_cache import Hashes
from .inputs import locked_bundle, relative
from .lock import AGAIN, FILE, Lock, LockError, check_sealed, manifest_sha256, read_lock, write_lock
from .status import Status, examine

if TYPE_CHECKING:
    from ..bundle.manifest import Manifest
    from ..util.progress import Progress

State = Literal["up to date", "published", "failed", "not built"]
Export = Callable[[ExportRequest, "Progress"], tuple[Published, ...]]
Known = Callable[[Exception], GemcutError | None]


@dataclass(frozen=True)
class Built:
    """What became of one entry of ``gemcut.toml``.

    reasons: why it was out of date. notes: what the user should know. published: a bundle for each runtime, where it
    was built; places: where they lie now. error: why it failed. outcomes: for reports. seconds: all of it.
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


def build_project(
    root: Path,
    only: Sequence[str],
    locked: bool,
    force: bool,
    progress: Progress,
    export: Export | None = None,
    known: Known | None = None,
    fresh: bool = False,
) -> tuple[Built, ...]:
    """Builds every bundle of ``gemcut.toml`` that is out of date; one that fails doesn't stop the others.

    Args:
        root: The folder of ``gemcut.toml``.
        only: Names; all where there is none.
        locked: Refuses, before any work, whatever is not as ``gemcut.lock`` has it, and after it a bundle that is
            another; the lock is not written.
        force: Builds those too that are up to date.
        progress: Told what is built and why.
        export: Makes a bundle; the pipeline's where None.
        known: The error that a user can act on, for one that isn't a GemcutError; None where it is a bug.
        fresh: Takes nothing over from a run that was killed.

    Returns:
        What became of each, in the file's order. Nothing is raised for a bundle that failed.

    Raises:
        ProjectError: ``gemcut.toml`` can't be taken.
        UsageError: No such file or name, or a lock that can't be read, or none and ``locked``.
        LockError: ``gemcut.lock`` has a bundle that ``gemcut.toml`` has no more, and ``locked``.
    """
    project = read_project(root)
    entries = project.select(tuple(only))
    lock = read_lock(root)
    if locked:
        _refuse_stale(project, lock)
    hashes = Hashes()
    progress.stage("Looking for what is out of date")
    looked = [(entry, _look(entry, lock, root, hashes)) for entry in entries]
    hashes.save()
    if locked and any(isinstance(found, Status) and _moved(found, lock) for _, found in looked):
        return tuple(_refused(entry, found, lock, root) for entry, found in looked)
    builder = _Builder(project, lock, locked, force, progress, export, known, hashes, fresh)
    built = tuple(
        builder.build(found) if isinstance(found, Status) else _failed(entry, found) for entry, found in looked
    )
    hashes.save()
    return built


def request_of(entry: BundleEntry, revision: str | None) -> ExportRequest:
    """The export that an entry asks for. revision: the commit of a hub id, which a branch's name gives way to."""
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
        context=entry.context,
        prefill_lengths=entry.prefill_lengths,
        options=entry.options,
        format=entry.format,
        output=entry.output,
        force=True,  # the place is the project's: only bundles of Gemcut's are ever replaced
        chat_template=entry.chat_template,
        prove_on=entry.prove_on,
        device_options=Options(entry.timeout, entry.device_memory),
        budgets=entry.budgets if entry.budgets.set() else None,
    )


def place_of(entry: BundleEntry, key: str = "") -> Place:
    """The line of ``gemcut.toml`` that a key of the entry has; without a key, or without that key, its table's."""
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

    def build(self, status: Status) -> Built:
        """Builds one entry if it is out of date."""
        entry, reasons = status.entry, status.reasons
        if not reasons and not self.force:
            self.progress.note(f"{entry.name} is up to date")
            return _up_to_date(status, self.lock, self.project.root)
        reasons = reasons or ("--force",)
        self.progress.note(f"{entry.name} is built: {'; '.join(reasons)}")
        began = time.monotonic()
        try:
            return self._made(status, reasons, began)
        except Exception as error:
            told = error if isinstance(error, GemcutError) else self.known(error) if self.known else None
            if told is None:
                raise
            self.progress.note(f"{entry.name} failed")
            return dataclasses.replace(_failed(entry, told), reasons=reasons, seconds=time.monotonic() - began)

    def _made(self, status: Status, reasons: tuple[str, ...], began: float) -> Built:
        entry, then = status.entry, self.lock.of(status.entry.name) if self.lock else {}
        _check_baseline(entry)
        notes: list[str] = []

        def sealed(manifest: Manifest) -> None:
            runtime = manifest.runtime.name
            if self.locked:
                notes.extend(filter(None, [check_sealed(entry.name, then[runtime], manifest)]))
            elif not status.moved and runtime in then and manifest_sha256(manifest) != then[runtime].bundle:
                notes.append(f"the {runtime} bundle is another than {FILE} had, though nothing that it names has moved")

        request = dataclasses.replace(request_of(entry, status.found.revision), sealed=sealed, fresh=self.fresh)
        published = self._export()(request, self.progress)
        if not self.locked:
            made = {
                one.manifest.runtime.name: locked_bundle(
                    entry, status.found, one.manifest, one.bundle, self.project.root, self.hashes, processor()
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
            outcomes=tuple(_placed(outcome.published(one, entry.name, place_of(entry)), entry) for one in published),
            seconds=time.monotonic() - began,
        )

    def _export(self) -> Export:
        if self.export is None:
            from ..pipeline.export import export  # loads torch: an up-to-date project never does

            self.export = export
        return self.export


def _look(entry: BundleEntry, lock: Lock | None, root: Path, hashes: Hashes) -> Status | GemcutError:
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
        raise LockError([f"bundles.{name} is gone from {project.path}" for name in gone])


def _moved(status: Status, lock: Lock | None) -> tuple[str, ...]:
    """What ``--locked`` refuses of an entry."""
    if lock is not None and not lock.of(status.entry.name):
        return (f"{FILE} doesn't have it",)
    return tuple(move.full for move in status.moved)


def _refused(entry: BundleEntry, status: Status | GemcutError, lock: Lock | None, root: Path) -> Built:
    """With ``--locked``, where anything moved: nothing is built."""
    if isinstance(status, GemcutError):
        return _failed(entry, status)
    found = _moved(status, lock)
    if not found:
        if not status.reasons:
            return _up_to_date(status, lock, root)
        return Built(entry, "not built", status.reasons, ("not built: --locked refused another bundle",))
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
        found = tuple(_placed(one, entry) for one in outcome.held_back(error.evidence, entry.name, place))
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
        Outcome("export", entry.name, "up to date", runtime=runtime, target=locked[runtime].target,
                place=place_of(entry), bundle=path, notes=status.notes)
        for runtime, path in places.items()
    )  # fmt: skip
    return Built(entry, "up to date", (), status.notes, (), tuple(places.values()), outcomes=outcomes)


def _placed(one: Outcome, entry: BundleEntry) -> Outcome:
    """The outcome with each budget's finding at that budget's own line."""
    findings = tuple(
        dataclasses.replace(finding, place=place_of(entry, f"budgets.{finding.rule.partition('.')[2]}"))
        if finding.rule.startswith("budget.") else finding
        for finding in one.findings
    )  # fmt: skip
    return dataclasses.replace(one, findings=findings)


def _check_baseline(entry: BundleEntry) -> None:
    """Opens the baseline, every byte checked, before any work rather than after it."""
    if entry.budgets.baseline is None:
        return
    from ..pipeline.budgets import open_baseline

    for runtime in entry.runtimes:
        open_baseline(entry.budgets.baseline, runtime).close()
