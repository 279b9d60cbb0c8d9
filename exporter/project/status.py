"""Whether a bundle of ``gemcut.toml`` is up to date, and if not, why, in words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..bundle.reader import OWN_FILES, open_bundle
from ..errors import ConformanceError, GemcutError, UsageError
from .entries import BundleEntry
from .hash_cache import Hashes
from .inputs import Found, inputs_of
from .lock import FILE, Lock, LockedBundle, Move, check_sealed, moves


@dataclass(frozen=True)
class Status:
    """Whether an entry is up to date.

    Attributes:
        entry: The entry.
        moved: What differs from gemcut.lock.
        absent: What is wrong with the bundles in place.
        found: What the bundles would be made from now.
        notes: What couldn't be found out.
    """

    entry: BundleEntry
    moved: tuple[Move, ...]
    absent: tuple[str, ...]
    found: Found
    notes: tuple[str, ...] = ()

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it is out of date; empty if it isn't. A reason that several runtimes share is given once."""
        return tuple(dict.fromkeys((*map(str, self.moved), *self.absent)))


def examine(entry: BundleEntry, lock: Lock | None, root: Path, hashes: Hashes) -> Status:
    """Compare an entry with gemcut.lock and with the bundles in place; no model is loaded.

    Args:
        entry: The entry.
        lock: ``gemcut.lock``; None if there is none.
        root: The folder of ``gemcut.toml``.
        hashes: The hashes of files.

    Raises:
        GemcutError: Target, recipe or baseline is wrong.
        UsageError: A file can't be read.
    """
    locked = lock.of(entry.name) if lock else {}
    try:
        found = inputs_of(entry, locked, hashes)
        moved: list[Move] = []
        absent, notes = [], list(found.notes)
        if not locked:
            absent.append(f"{FILE} has no such bundle" if lock else f"there is no {FILE}")
        for runtime, now in found.inputs.items():
            then = locked.get(runtime)
            if then is None:
                moved += [Move(f"runtime {runtime}", "", "there")] if locked else []
                continue
            moved += moves(then, now)
            wrong, noted = _at_place(entry, then, root, hashes)
            absent += wrong
            notes += noted
        moved += [Move(f"runtime {runtime}", "there", "") for runtime in locked if runtime not in found.inputs]
    except OSError as error:
        raise UsageError(f"bundles.{entry.name}: {error.filename} can't be read: {error.strerror}") from error
    return Status(entry, tuple(dict.fromkeys(moved)), tuple(absent), found, tuple(dict.fromkeys(notes)))


def why_outdated(entry: BundleEntry, lock: Lock | None, root: Path, hashes: Hashes | None = None) -> tuple[str, ...]:
    """Return the reasons, in words, why an entry must be built; empty if it is up to date.

    Raises:
        GemcutError: As ``examine``.
    """
    return examine(entry, lock, root, hashes or Hashes()).reasons


def _at_place(entry: BundleEntry, then: LockedBundle, root: Path, hashes: Hashes) -> tuple[list[str], list[str]]:
    """What is wrong with the bundle that the lock names, and notes; every byte counts, but most hashes are cached."""
    place = root / then.place
    if not place.exists():
        return [f"no bundle at {then.place}"], []
    stranger = f"the bundle at {then.place} is not the one in {FILE}"
    if then.zip is not None and place.is_file() and hashes.of(place) == then.zip:
        return [], []
    try:
        with open_bundle(place) as bundle:
            manifest = bundle.manifest
            noted = check_sealed(entry.name, then, manifest)
            if not manifest.proven:
                return [f"the bundle at {then.place} is unproven"], []
            if bundle.is_zip:
                if noted is None:
                    return [f"{then.place} was changed"], []
                bundle.verify()
    except ConformanceError:
        return [stranger], []
    except GemcutError as error:
        return [f"what is at {then.place} is not a bundle: {error.message}"], []
    if place.is_dir():
        present = {path.relative_to(place).as_posix() for path in place.rglob("*") if not path.is_dir()}
        wanted = set(manifest.files) | OWN_FILES
        wrong = sorted(present ^ wanted)
        wrong += [
            name
            for name, record in manifest.files.items()
            if name in present and hashes.of(place / name) != record.sha256
        ]
        if wrong:
            return [f"{then.place}: {', '.join(wrong)} changed"], []
    return [], [noted] if noted else []
