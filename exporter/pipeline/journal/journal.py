"""The journal of an export: what each finished stage made, kept until the bundle is published.

A stage has a folder of its own under the staging's ``kept``: its product's files, and ``journal.json`` with their
hashes, sizes, what else the product is, and what it cost. The folder is filled under another name and put in place by
one rename, so it is whole or not there. Large files are hard links to the export's own: they cost no room.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections import ChainMap
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from pydantic import TypeAdapter

from ...bundle.hashing import hash_file
from ...bundle.manifest import FileRecord, safe_name
from ...bundle.staging import Staging, sync, transfer

if TYPE_CHECKING:
    from ...util.progress import Progress
    from ...util.stage_clock import Clock

T = TypeVar("T")
JOURNAL = "journal.json"
# What each stage's product was made from, by the name up to a dash.
_MADE_FROM = {
    "reference": (),
    "prompt": ("reference",),
    "build": (),
    "examine": ("build",),
    "prove": ("reference", "prompt", "build"),
    "measure": ("build",),
    "device": ("prove",),
}


@dataclass(frozen=True)
class Parts:
    """A product as it is kept. value: of JSON's types. files: by name; their content, or where they lie."""

    value: Any = None
    files: Mapping[str, bytes | Path] = field(default_factory=dict)


class Form(Protocol[T]):
    """How a product is written and read."""

    def save(self, product: T) -> Parts:
        """The product's parts. Files that lie on the disk must not be written to again."""

    def load(self, value: Any, folder: Path) -> T:
        """The product whose files lie in ``folder``; they stay there, and must not be written to."""


@dataclass(frozen=True)
class Entry:
    """A line of the journal.

    value: as ``Parts`` has it. after: digest of each product that this one was made from. seconds, memory: by stage, as
    ``Clock`` has them. finished: seconds since 1970.
    """

    value: Any
    files: dict[str, FileRecord]
    after: dict[str, str]
    seconds: dict[str, float]
    memory: dict[str, int]
    finished: float

    @property
    def digest(self) -> str:
        """The hash of the product, and of what it was made from."""
        files = {name: record.sha256 for name, record in self.files.items()}
        return hashlib.sha256(json.dumps([self.value, files, self.after], sort_keys=True).encode()).hexdigest()

    def text(self) -> str:
        """As the journal has it: with its own digest, for a file's hash says nothing of the journal."""
        files = {name: record.model_dump() for name, record in self.files.items()}
        return json.dumps({**vars(self), "files": files, "digest": self.digest}, indent=1) + "\n"


class Kept:
    """The finished stages of one bundle.

    Args:
        staging: entered; the bundle's.
        clock: of the export.
        first: of the export's first bundle, with what all of them share; None for that one itself.
    """

    def __init__(self, staging: Staging, clock: Clock, first: Kept | None = None) -> None:
        self._folder = staging.kept
        self._clock = clock
        self._digests: MutableMapping[str, str] = {} if first is None else ChainMap({}, first._digests)
        self.left: dict[str, Entry] = {}

    def names(self) -> list[str]:
        """What a former run left, checked or not."""
        return sorted(path.name for path in self._folder.iterdir()) if self._folder.is_dir() else []

    def check(self, progress: Progress) -> None:
        """Reads what a former run left, byte for byte; what isn't as it was written is told of, and removed."""
        for name in self.names():
            try:
                self.left[name] = _checked(self._folder / name, progress)
            except (OSError, ValueError) as error:
                _remove(self._folder / name)
                if not name.startswith("."):  # else it was being written
                    why = str(error).splitlines()[0]
                    progress.note(f"'{name}' of a run that was killed is damaged ({why}): it is made again")

    def once(self, name: str, form: Form[T], make: Callable[[], T]) -> T:
        """What a former run made, or ``make()``, which is kept.

        Args:
            name: of the product; one of ``_MADE_FROM``'s, with a dash and more behind it where there are several.
            form: how it is written and read.
            make: makes it; its stages are timed by the clock, and end within it.
        """
        after = {one: self._digests[one] for one in _MADE_FROM[name.partition("-")[0]]}
        entry = self.left.get(name)
        if entry is not None and entry.after == after:
            self._digests[name] = entry.digest
            self._clock.resume(entry.seconds, entry.memory)
            return form.load(entry.value, self._folder / name)
        before = dict(self._clock.seconds)
        made = make()
        seconds = {stage: all_of - before.get(stage, 0.0) for stage, all_of in self._clock.seconds.items()}
        seconds = {stage: own for stage, own in seconds.items() if own}
        memory = {stage: self._clock.memory[stage] for stage in seconds}
        self._digests[name] = self._keep(name, form.save(made), after, seconds, memory)
        return made

    def _keep(
        self, name: str, parts: Parts, after: dict[str, str], seconds: dict[str, float], memory: dict[str, int]
    ) -> str:
        new, place = self._folder / f".{name}", self._folder / name
        _remove(new)
        _remove(place)
        new.mkdir(parents=True)
        records = {}
        for file, source in parts.files.items():
            target = new / file
            target.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(source, bytes):
                target.write_bytes(source)
            else:
                transfer(source, target, "link")
            records[file] = hash_file(target)
        value = json.loads(json.dumps(parts.value))  # as it will be read: of tuples, lists
        entry = Entry(value, records, after, seconds, memory, time.time())
        (new / JOURNAL).write_text(entry.text(), encoding="utf-8")
        for path in (*(path for path in new.rglob("*")), new):
            sync(path)
        os.rename(new, place)
        sync(self._folder)
        return entry.digest


def take_over(stagings: Sequence[Staging], clock: Clock) -> list[Kept]:
    """The journal of each bundle, with what a run that was killed had finished; says what that is."""
    first = Kept(stagings[0], clock)
    all_of = [first, *(Kept(staging, clock, first) for staging in stagings[1:])]
    if not any(kept.names() for kept in all_of):
        return all_of
    with clock.stage("resume", "Checking what a run that was killed had finished"):
        for kept in all_of:
            kept.check(clock.progress)
    entries = sorted((entry for kept in all_of for entry in kept.left.values()), key=lambda entry: entry.finished)
    stages = list(dict.fromkeys(stage for entry in entries for stage in entry.seconds))
    if stages:
        were = "was" if len(stages) == 1 else "were"
        clock.progress.note(
            f"Resumed: {_listed(stages)} {were} finished {_when(entries[-1].finished)} by a run that was killed "
            "(--fresh begins anew)"
        )
    return all_of


def _checked(folder: Path, progress: Progress) -> Entry:
    """The entry of a folder whose files are what they were; raises OSError or ValueError where one isn't."""
    if folder.is_symlink() or folder.name.startswith("."):
        raise ValueError("it was not finished")
    found = json.loads((folder / JOURNAL).read_text(encoding="utf-8"))
    digest = found.pop("digest", None) if isinstance(found, dict) else None
    entry: Entry = TypeAdapter(Entry).validate_python(found)
    if entry.digest != digest:
        raise ValueError(f"{JOURNAL} changed since it was written")
    for name, record in entry.files.items():
        path = folder / safe_name(name)
        if path.is_symlink() or path.stat().st_size != record.size or hash_file(path, progress) != record:
            raise ValueError(f"{name} changed since it was written")
    return entry


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _listed(names: Sequence[str]) -> str:
    quoted = [f"'{name}'" for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"


def _when(finished: float) -> str:
    """Such as ``at 14:03``; with the date where that is another than today's."""
    then, now = time.localtime(finished), time.localtime()
    day = "" if then[:3] == now[:3] else time.strftime("on %Y-%m-%d ", then)
    return f"{day}at {time.strftime('%H:%M', then)}"
