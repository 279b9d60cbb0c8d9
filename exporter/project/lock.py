"""``gemcut.lock``: what each bundle was made from, and the result, in TOML; the same facts give the same bytes."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationError

from ..bundle.manifest import Manifest, manifest_bytes
from ..config.toml_file import DataFile
from ..errors import ConformanceError, LackingError, UnsupportedError, UsageError
from ..runtimes import RUNTIMES
from ..util.platform import host_threads, processor

if TYPE_CHECKING:
    from .entries import Project

FILE = "gemcut.lock"
VERSION = 1
HEAD = "# Written by gemcut export: what each bundle was made from. Commit it; gemcut export --locked holds to it.\n"
AGAIN = "Run gemcut export without --locked, look at what changed, and commit gemcut.lock."
_SHORT = 12
_LONG = 100_000
Option = str | int | bool | list[str] | list[int]


class Inputs(DataFile):
    """What one runtime's bundle is made from.

    Attributes:
        model: The model, as gemcut.toml has it.
        revision: The commit of a hub id.
        adapter: The adapter, as gemcut.toml has it; 'none' if there is none.
        adapter_files: SHA-256 of each of the adapter's files.
        target: The target's name.
        target_sha256: SHA-256 of what the target's file says, without comments.
        recipe: The recipe's name.
        recipe_sha256: SHA-256 of what the recipe's file says, without comments.
        baseline: SHA-256 of the baseline's manifest.
        options: The options that are set.
        budgets: The budgets that are set.
        versions: The versions of Gemcut and its libraries.
        files: SHA-256 of each of the checkpoint's files.
    """

    model: str
    revision: str | None = None
    adapter: str = "none"
    adapter_files: dict[str, str] = Field(default_factory=dict)
    target: str
    target_sha256: str
    recipe: str
    recipe_sha256: str
    baseline: str | None = None
    options: dict[str, Option] = Field(default_factory=dict)
    budgets: dict[str, int | float] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)
    files: dict[str, str] = Field(default_factory=dict)


class LockedBundle(Inputs):
    """A bundle as it was made.

    Attributes:
        place: Where it is, relative to the folder of gemcut.toml.
        bundle: SHA-256 of its manifest, which has those of all its files.
        zip: SHA-256 of the .gemcut file.
        processor: The processor that made it, and of a calibrated one the threads; floats are rounded differently
            elsewhere.
        contents: SHA-256 of each file in it.
    """

    place: str
    bundle: str
    zip: str | None = None
    processor: str = ""
    contents: dict[str, str] = Field(default_factory=dict)


class Lock(DataFile):
    """All of gemcut.lock.

    Attributes:
        version: The version of this format.
        bundles: Name -> runtime -> bundle.
    """

    version: Literal[1] = 1
    bundles: dict[str, dict[str, LockedBundle]] = Field(default_factory=dict)

    def of(self, name: str) -> dict[str, LockedBundle]:
        """Return the bundles of an entry by runtime; empty if it was never made."""
        return self.bundles.get(name, {})


@dataclass(frozen=True)
class Move:
    """One thing that differs from gemcut.lock.

    Attributes:
        what: The thing, in words.
        old: Its value in gemcut.lock; empty if it is new.
        new: Its value now; empty if it is gone.
    """

    what: str
    old: str
    new: str

    def __str__(self) -> str:
        if not self.old or not self.new:
            return f"{self.what} is {'gone' if self.old else 'new'}"
        if _is_hash(self.old) and _is_hash(self.new):
            return f"{self.what} changed"
        return f"{self.what} {self.old} -> {self.new}"

    @property
    def full(self) -> str:
        """The difference in words, with the hashes."""
        if _is_hash(self.old) and _is_hash(self.new):
            return f"{self.what} changed ({self.old[:_SHORT]} -> {self.new[:_SHORT]})"
        return str(self)


class LockError(UsageError):
    """``--locked``: what is here differs from gemcut.lock.

    Attributes:
        moves: Each difference, in words.
    """

    def __init__(self, moves: Sequence[str]) -> None:
        super().__init__(f"--locked: this differs from {FILE}: {'; '.join(moves)}", hint=AGAIN)
        self.moves = tuple(moves)


def read_lock(root: Path) -> Lock | None:
    """Return ``gemcut.lock`` in ``root``; None if there is none.

    Raises:
        UsageError: It can't be read, or something other than Gemcut edited it.
        UnsupportedError: A newer Gemcut wrote it.
    """
    path, again = root / FILE, "Restore it from version control, or remove it and run gemcut export."
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} can't be read: {error}", hint=again) from error
    if re.search(r"^(<{7} |>{7} |={7}$)", text, re.MULTILINE):
        raise UsageError(f"{path} contains conflict markers of a merge", hint=again)
    try:
        data = tomllib.loads(text)
        version = data.get("version")
        if type(version) is int and version > VERSION:
            raise UnsupportedError(
                f"{path} has version {version}; this gemcut reads versions up to {VERSION}",
                hint="Upgrade gemcut: pip install --upgrade gemcut",
            )
        return Lock.model_validate(data)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not TOML: {error}", hint=again) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{path}: {where}: {first['msg']}", hint=again) from error


def lock_text(lock: Lock) -> str:
    """Return the lock's only written form: sorted by name, without anything that isn't set."""
    import tomli_w

    data = lock.model_dump(exclude_none=True, exclude_defaults=False)
    return HEAD + tomli_w.dumps(_sorted(data))


def write_lock(root: Path, project: Project, name: str, made: dict[str, LockedBundle]) -> None:
    """Record one bundle in ``gemcut.lock``, with one rename; entries that gemcut.toml no longer has are dropped.

    Args:
        root: The folder of ``gemcut.lock``.
        project: ``gemcut.toml``.
        name: The entry's name.
        made: Its bundles by runtime.

    Raises:
        UsageError: The lock can't be read; see ``read_lock``.
        UnsupportedError: A newer Gemcut wrote the lock.
        LackingError: The folder can't be written.
    """
    before = (read_lock(root) or Lock()).bundles  # read again: another run with --only may have written it since
    known = {entry.name for entry in project.entries}
    kept = {key: value for key, value in before.items() if key in known}
    text = lock_text(Lock(bundles={**kept, name: made}))
    path = root / FILE
    with contextlib.suppress(OSError):
        if path.read_text(encoding="utf-8") == text:
            return
    try:
        handle, temporary = tempfile.mkstemp(dir=root, prefix=f".{FILE}.")
        try:
            with open(handle, "w", encoding="utf-8") as sink:
                sink.write(text)
                sink.flush()
                os.fsync(sink.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        finally:
            Path(temporary).unlink(missing_ok=True)
    except OSError as error:
        hint = "The bundle itself is in place."
        raise LackingError(f"{path} can't be written: {error.strerror}", hint=hint) from error


def moves(locked: LockedBundle, now: Inputs) -> tuple[Move, ...]:
    """Return what differs from gemcut.lock, in the order of its keys."""
    found = [Move(key, *_key_texts(locked, now, key)) for key in ("model", "adapter", "target", "recipe")]
    for key, name in (("target_sha256", f"target {now.target}"), ("recipe_sha256", f"recipe {now.recipe}")):
        if getattr(locked, key.partition("_")[0]) == getattr(now, key.partition("_")[0]):
            found.append(Move(name, getattr(locked, key), getattr(now, key)))
    if locked.model == now.model:
        found.append(Move(f"the commit of {now.model}", locked.revision or "", now.revision or ""))
        if locked.revision == now.revision:
            found += _table_moves("", locked.files, now.files)
    if locked.adapter == now.adapter:
        found += _table_moves("the adapter's ", locked.adapter_files, now.adapter_files)
    found.append(Move("the baseline bundle", locked.baseline or "", now.baseline or ""))
    found += _table_moves("", _as_texts(locked.options), _as_texts(now.options), unset="default")
    found += _table_moves("budgets.", _as_texts(locked.budgets), _as_texts(now.budgets), unset="none")
    found += _table_moves("", locked.versions, now.versions)
    return tuple(move for move in found if move.old != move.new)


def manifest_sha256(manifest: Manifest) -> str:
    """Return the SHA-256 of a manifest as it is written; it stands for the bundle, as it has those of all files."""
    return hashlib.sha256(manifest_bytes(manifest)).hexdigest()


def check_sealed(name: str, locked: LockedBundle, manifest: Manifest) -> str | None:
    """Compare a finished bundle with the one that gemcut.lock has.

    Args:
        name: The entry's name in gemcut.toml.
        locked: What the lock has for this runtime.
        manifest: The complete manifest, with all files.

    Returns:
        None if they are the same; a note if they differ only in what was measured, on another processor.

    Raises:
        ConformanceError: They are not the same bundle.
    """
    sha = manifest_sha256(manifest)
    if sha == locked.bundle:
        return None
    here = {file: record.sha256 for file, record in manifest.files.items()}
    both = here.keys() | locked.contents.keys()
    different = sorted(file for file in both if here.get(file) != locked.contents.get(file))
    measured = [file for file in different if is_measured(file, manifest)]
    what = f"{name} ({manifest.runtime.name}) is not the bundle in {FILE} ({locked.bundle[:_SHORT]} -> {sha[:_SHORT]})"
    which = f"{', '.join(different) or 'only manifest.json'} differ{'s' * (len(different) < 2)}"
    there, this = locked.processor, maker(manifest)
    if measured == different and there != this:
        held = "measured figures" + ("" if manifest.calibration is None else " or calibrated weights")
        return (
            f"{what}: {which}, which hold {held}: the bundle was locked on {there}, this is {this}, and "
            "processors round differently"
        )
    where = f" (locked on {there}, this is {this})" if there != this else ""
    raise ConformanceError(f"{what}: {which}{where}", hint=AGAIN)


def maker(manifest: Manifest) -> str:
    """Return what a bundle's floats depend on: the processor, and for what calibration adds up, its threads."""
    return processor() if manifest.calibration is None else f"{processor()}, {host_threads()} threads"


def is_measured(file: str, manifest: Manifest) -> bool:
    """Return whether a file of a bundle holds floats that were measured, or weights that were chosen by them.

    These are goldens, the card, what embeds them, and a calibrated program: calibration adds up products of many
    inputs, in an order that is the processor's own, and near a tie another sum rounds a weight to the other side.
    """
    calibrated = manifest.calibration is not None and file in (manifest.program, *manifest.program_files)
    return file.startswith("goldens/") or file == "README.md" or file in _embedding() or calibrated


def _embedding() -> set[str]:
    """Names of programs that hold the goldens."""
    return {runtime.program_name for runtime in RUNTIMES if runtime.embeds_manifest}


def _is_hash(text: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", text) is not None


def _key_texts(locked: Inputs, now: Inputs, key: str) -> tuple[str, str]:
    return str(getattr(locked, key)), str(getattr(now, key))


def _as_texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {key: _value_text(value) for key, value in values.items()}


def _value_text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:,}" if isinstance(value, int) and value >= _LONG else str(value)


def _table_moves(prefix: str, old: dict[str, str], new: dict[str, str], unset: str = "") -> Iterable[Move]:
    for key in [*old, *(key for key in new if key not in old)]:
        yield Move(prefix + key, old.get(key, unset), new.get(key, unset))


def _sorted(data: Any) -> Any:
    """Tables sorted by name, plain values before tables, as TOML needs them."""
    if not isinstance(data, dict):
        return data
    keys = sorted(data, key=lambda key: (isinstance(data[key], dict), key))
    return {key: _sorted(data[key]) for key in keys}
