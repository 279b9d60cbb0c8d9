"""The journal of an export: what each finished stage made, kept until the bundle is published.

A stage has its own folder under the staging's ``kept``: its product's files, and ``journal.json`` with their hashes
and sizes, the rest of the product, and what it cost. The folder is filled under another name and put in place by one
rename, so it is either complete or missing. Large files are hard links to the export's own: they take no extra room.
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
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from pydantic import TypeAdapter

from ...bundle.hashing import hash_file
from ...bundle.manifest import FileRecord, safe_name
from ...bundle.staging import Staging, sync, transfer
from ...stages import EXPORT, by_name, kept_inputs
from .reuse import Shelf

if TYPE_CHECKING:
    from ...util.progress import Progress
    from ...util.stage_clock import StageClock

T = TypeVar("T")
JOURNAL = "journal.json"


@dataclass(frozen=True)
class Parts:
    """A product as it is kept.

    Attributes:
        value: What JSON can hold of it.
        files: Its files, by name: their content, or where they are.
    """

    value: Any = None
    files: Mapping[str, bytes | Path] = field(default_factory=dict)


class Serializer(Protocol[T]):
    """How a product is written and read."""

    def save(self, product: T) -> Parts:
        """Return the product's parts. Files that are on the disk must not be written to again."""

    def load(self, value: Any, folder: Path) -> T:
        """Return the product whose files are in ``folder``; they stay there, and must not be written to."""


@dataclass(frozen=True)
class Entry:
    """The journal's record of one product.

    Attributes:
        value: What JSON can hold of the product, as in ``Parts``.
        files: Size and hash of each of its files, by name.
        after: Digest of each product that this one was made from, by stage.
        seconds: Seconds by stage, as ``StageClock`` has them.
        memory: Bytes by stage, as ``StageClock`` has them.
        finished: When it was finished, in seconds since 1970.
    """

    value: Any
    files: dict[str, FileRecord]
    after: dict[str, str]
    seconds: dict[str, float]
    memory: dict[str, int]
    finished: float

    @property
    def digest(self) -> str:
        """The hash of the product and of what it was made from."""
        files = {name: record.sha256 for name, record in self.files.items()}
        return hashlib.sha256(json.dumps([self.value, files, self.after], sort_keys=True).encode()).hexdigest()

    def text(self) -> str:
        """Return the text of ``journal.json``, with the entry's own digest: no other hash covers that file."""
        files = {name: record.model_dump() for name, record in self.files.items()}
        return json.dumps({**vars(self), "files": files, "digest": self.digest}, indent=1) + "\n"


class Journal:
    """The finished stages of one bundle.

    Args:
        staging: The bundle's staging, already entered.
        clock: The export's clock.
        first: The journal of the export's first bundle, which has what all bundles share; None for that one itself.
    """

    def __init__(self, staging: Staging, clock: StageClock, first: Journal | None = None) -> None:
        self._folder = staging.kept
        self._clock = clock
        self._digests: MutableMapping[str, str] = {} if first is None else ChainMap({}, first._digests)
        self.left: dict[str, Entry] = {}

    def names(self) -> list[str]:
        """Return the names of what an earlier run left, checked or not."""
        return sorted(path.name for path in self._folder.iterdir()) if self._folder.is_dir() else []

    def check(self, progress: Progress) -> None:
        """Check every byte of what an earlier run left; whatever is damaged is noted and removed."""
        for name in self.names():
            try:
                self.left[name] = _checked(self._folder / name, progress)
            except (OSError, ValueError) as error:
                _remove(self._folder / name)
                if not name.startswith("."):  # else it was being written
                    why = str(error).splitlines()[0]
                    progress.note(f"What the killed run kept of '{name}' is damaged ({why}), so it is made again")

    def step(
        self, stage: str, make: Callable[[], Any], *arguments: Any, key: str = "", shelf: Shelf | None = None
    ) -> Any:
        """Return a stage's product: what an earlier run made, else what ``make`` returns, which is then kept.

        Args:
            stage: The name of a stage of ``stages.EXPORT`` that has a serializer.
            make: Makes the product; the clock times its stages, which end within it.
            arguments: The arguments of the serializer's class.
            key: Distinguishes several products of one stage.
            shelf: Where it is kept for other exports as well; None for a product that is this export's alone.
        """
        name = f"{stage}-{key}" if key else stage
        serializer = serializer_of(stage, *arguments)
        after = {one: self._digests[one] for one in kept_inputs(stage)}
        entry = self.left.get(name)
        if entry is None and shelf is not None:
            entry = self._taken(name, shelf)
        if entry is not None and entry.after == after:
            self._digests[name] = entry.digest
            self._clock.resume(entry.seconds, entry.memory)
            return serializer.load(entry.value, self._folder / name)
        before = dict(self._clock.seconds)
        made = make()
        seconds = {each: all_of - before.get(each, 0.0) for each, all_of in self._clock.seconds.items()}
        seconds = {each: own for each, own in seconds.items() if own}
        memory = {each: self._clock.memory[each] for each in seconds}
        self._digests[name] = self._keep(name, serializer.save(made), after, seconds, memory)
        if shelf is not None:
            shelf.keep(self._folder / name)
        return made

    def _taken(self, name: str, shelf: Shelf) -> Entry | None:
        """What another export made of the same, every byte checked; None if there is none that is sound."""
        place, progress = self._folder / name, self._clock.progress
        for old in (place, self._folder / f".{name}"):
            _remove(old)
        kept = shelf.take(place)
        if kept is None:
            return None
        try:
            entry = _checked(place, progress)
        except (OSError, ValueError) as error:
            why = str(error).splitlines()[0]
            progress.note(f"What an earlier export kept in {kept} is damaged ({why}), so it is made again")
            _remove(place)
            _remove(kept)
            return None
        progress.note(
            f"Taken: an earlier export made {shelf.kind.title} {_when(entry.finished)} (--fresh makes it again)"
        )
        return entry

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
        value = json.loads(json.dumps(parts.value))  # as it will be read: tuples become lists
        entry = Entry(value, records, after, seconds, memory, time.time())
        (new / JOURNAL).write_text(entry.text(), encoding="utf-8")
        for path in (*(path for path in new.rglob("*")), new):
            sync(path)
        os.rename(new, place)
        sync(self._folder)
        return entry.digest


def serializer_of(stage: str, *arguments: Any) -> Serializer[Any]:
    """Return the serializer of a stage's product, as ``stages.EXPORT`` names it."""
    module, _, name = by_name(EXPORT)[stage].serializer.partition(":")
    root = __name__.rpartition(".pipeline.")[0]
    serializer: Serializer[Any] = getattr(import_module(f"{root}.{module}"), name)(*arguments)
    return serializer


def resume_journals(stagings: Sequence[Staging], clock: StageClock) -> list[Journal]:
    """Return the journal of each bundle, with what a killed run had finished; a note says what that is."""
    first = Journal(stagings[0], clock)
    all_of = [first, *(Journal(staging, clock, first) for staging in stagings[1:])]
    if not any(journal.names() for journal in all_of):
        return all_of
    with clock.stage("resume"):
        for journal in all_of:
            journal.check(clock.progress)
    entries = sorted((entry for journal in all_of for entry in journal.left.values()), key=lambda entry: entry.finished)
    stages = list(dict.fromkeys(stage for entry in entries for stage in entry.seconds))
    if stages:
        were = "was" if len(stages) == 1 else "were"
        clock.progress.note(
            f"Resumed: {_listed(stages)} {were} finished {_when(entries[-1].finished)} by a run that was killed "
            "(--fresh starts from scratch)"
        )
    return all_of


def _checked(folder: Path, progress: Progress) -> Entry:
    """The entry of a folder, with every file checked; raises OSError or ValueError if one changed."""
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
    """Such as ``at 14:03``, with the date unless it is today."""
    then, now = time.localtime(finished), time.localtime()
    day = "" if then[:3] == now[:3] else time.strftime("on %Y-%m-%d ", then)
    return f"{day}at {time.strftime('%H:%M', then)}"
