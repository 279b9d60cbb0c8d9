"""Packing of a bundle beside its place, published in one rename: whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal

from ..errors import ConformanceError, LackingError, UsageError
from ..util.interrupts import uninterrupted
from ..util.progress import Progress, SubProgress
from .archive import CHUNK, write_archive
from .hashing import hash_file
from .manifest import MANIFEST, SIDE_FILE, FileRecord, Manifest, manifest_bytes, safe_name, side_bytes
from .output_path import Format, check_output, refuse_second, resolve_output
from .reader import OWN_FILES, Bundle, open_bundle
from .workdir import ASIDE, KEPT, KEY, clear_abandoned, lock, take_over

__all__ = ["Format", "How", "Staging", "check_output", "clear_abandoned", "pack", "resolve_output", "sync", "transfer"]

How = Literal["copy", "move", "link"]
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def sync(path: Path) -> None:
    """Flush a file or a folder to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class Staging:
    """A bundle in the making, in a hidden folder beside its place and on the same filesystem.

    As a context manager it removes that folder however the block ends, so that after any error, a full disk
    or Ctrl-C the output path holds what it held before::

        with Staging(out, "dir", force=False) as staging:
            staging.add("model.pte", program, how="move")
            with staging.draft(manifest) as bundle:
                ...  # prove it
            staging.add("goldens/recorded.safetensors", data)
            staging.publish(manifest)

    A run that is killed leaves the folder behind. The next one with the same key reuses it, with nothing in it but
    what is in ``kept``; any other removes it.

    Args:
        out: Where the bundle goes.
        format: A directory or one zip.
        force: Whether an existing gemcut bundle may be replaced.
        key: The key of all that the bundle is made from; None for one that is made in one go.
        fresh: Whether to reuse nothing of a run that was killed.

    Attributes:
        out: Where the bundle goes, resolved.
        format: As passed in.
        files: The files that were added so far, by name.
        work: A scratch folder that goes away with the rest.
        kept: What outlives a run that is killed; see ``gemcut.pipeline.journal``.
    """

    def __init__(
        self,
        out: Path | str,
        format: Format = "dir",
        force: bool = False,
        key: str | None = None,
        fresh: bool = False,
    ) -> None:
        self.out = check_output(out, format, force)
        self.format: Format = format
        self.files: dict[str, FileRecord] = {}
        self._force = force
        self._key = key
        self._fresh = fresh
        self._partial = self.out.with_name(f".{self.out.name}.partial-{os.getpid()}")
        self._made: list[Path] = []
        self._handle: int | None = None
        self._entered = False
        self._published = False

    @property
    def folder(self) -> Path:
        """The folder with the bundle's files until it is published."""
        return self._partial / "bundle"

    @property
    def work(self) -> Path:
        """A scratch folder on the same filesystem, removed with the rest."""
        return self._partial / "work"

    @property
    def kept(self) -> Path:
        """The folder of finished stages, on the same filesystem; whoever keeps one makes it."""
        return self._partial / KEPT

    @property
    def _aside(self) -> Path:
        """Where the bundle that is being replaced waits until the new one is in place."""
        return self._partial / ASIDE

    def __enter__(self) -> Staging:
        try:
            self._made = [p for p in self.out.parents if not p.exists()]
            self.out.parent.mkdir(parents=True, exist_ok=True)
            self._handle = take_over(self.out, self._partial, None if self._fresh else self._key)
            self._entered = self._handle is not None
            if not self._entered:
                self._partial.mkdir()
                self._entered = True
                self._handle = self._lock()
            (self._partial / KEY).write_text(self._key or "", encoding="ascii")
            refuse_second(self.out, self._partial)
            self.folder.mkdir()
            self.work.mkdir()
        except BaseException as error:
            told = self._no_room(error) if isinstance(error, OSError) else error
            self._cleanup()
            raise told from (None if told is error else error)
        return self

    def _lock(self) -> int | None:
        """The lock on this run's own folder, which another run may be looking at for a moment."""
        for _ in range(50):
            handle = lock(self._partial)
            if handle is not None:
                return handle
            time.sleep(0.01)
        return None  # on this filesystem there are none

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        full = isinstance(error, OSError) and error.errno in _FULL
        told = self._no_room(error) if full and isinstance(error, OSError) else None
        self._cleanup()
        if told is not None:
            raise told from error

    def _cleanup(self) -> None:
        try:
            with uninterrupted():
                self._tidy()
        except KeyboardInterrupt:
            if not self._published:  # too late to stop anything
                raise

    def _tidy(self) -> None:
        if self._entered and self._partial.is_dir():
            if self._aside.exists() and not self.out.exists():
                self._aside.rename(self.out)
            shutil.rmtree(self._partial)
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
        for folder in self._made:  # Innermost first; those that hold the published bundle stay.
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()

    def _no_room(self, error: OSError) -> Exception:
        """What to raise for an error of the filesystem: a full disk has its own class."""
        if error.errno not in _FULL:
            return UsageError(f"can't write {self.out}: {error}", hint="name another place with -o")
        held = sum(p.stat().st_size for p in self._partial.rglob("*") if p.is_file())
        free = shutil.disk_usage(self.out.parent).free
        need = max(held, sum(record.size for record in self.files.values())) * (2 if self.format == "zip" else 1)
        if error.errno == errno.EFBIG:
            return LackingError(
                f"the filesystem of {self.out.parent} can't hold a file of this bundle's size ({need:,} bytes)",
                hint="name a place on another filesystem with -o",
            )
        return LackingError(
            f"the disk is full: the bundle needs {need:,} bytes or more beside {self.out}, {free:,} are free",
            hint="free some disk space, or name a place on another disk with -o",
        )

    def add(self, name: str, source: Path | bytes, how: How = "copy", progress: Progress | None = None) -> FileRecord:
        """Put a file into the bundle; an existing one of this name is replaced.

        Args:
            name: Its name in the bundle, a relative POSIX path.
            source: Its content, or the file that holds it.
            how: ``move`` takes the source away, ``link`` shares it by a hard link (only for files that
                nobody writes to again); both copy if the source is on another filesystem.
            progress: Told how much of it is hashed.

        Returns:
            The file's hash and size.

        Raises:
            LackingError: The disk is full.
            ValueError: The name isn't plain, or is one that the bundle writes itself.
        """
        if safe_name(name) in OWN_FILES:
            raise ValueError(f"{name} is written by the bundle itself")
        target = self.folder / name
        if isinstance(source, Path):  # Counted before it is written, for the message of a full disk.
            self.files[name] = FileRecord(sha256="0" * 64, size=source.stat().st_size)
        else:
            self.files[name] = FileRecord(sha256="0" * 64, size=len(source))
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            if isinstance(source, bytes):
                target.write_bytes(source)
            else:
                transfer(source, target, how)
            if how != "link":
                target.chmod(0o644)
            self.files[name] = hash_file(target, progress)
        except OSError as error:
            raise self._no_room(error) from error
        return self.files[name]

    def finish(self, manifest: Manifest) -> Manifest:
        """Return the manifest with the files that the bundle holds now."""
        return Manifest.model_validate({**manifest.model_dump(), "files": dict(self.files)})

    def draft(self, manifest: Manifest) -> Bundle:
        """Write the manifest as it stands, and open the bundle from disk in its hidden folder.

        Args:
            manifest: What to say of the bundle; ``files`` is filled in.

        Raises:
            LackingError: The disk is full.
            ValueError: The bundle doesn't hold the program that its manifest names.
        """
        whole = self.finish(manifest)
        if whole.program not in whole.files:
            raise ValueError(f"the bundle holds no {whole.program}, which its manifest names as the program")
        data = manifest_bytes(whole)
        try:
            (self.folder / MANIFEST).write_bytes(data)
            (self.folder / SIDE_FILE).write_bytes(side_bytes(data))
        except OSError as error:
            raise self._no_room(error) from error
        return open_bundle(self.folder)

    def publish(self, manifest: Manifest, progress: Progress | None = None) -> Path:
        """Write the final manifest, check every byte again from disk, and put the bundle in place.

        Args:
            manifest: The finished bundle's; ``files`` is filled in.
            progress: Told how far it is.

        Returns:
            The published path.

        Raises:
            ConformanceError: A file changed since it was added.
            LackingError: The disk is full.
            UsageError: Something has appeared at the output path meanwhile.
        """
        self.draft(manifest).close()
        ready = self.folder
        try:
            if self.format == "zip":
                ready = self._zip(SubProgress(progress, 0, 1 / 3))
            for path in [*sorted(self.folder.rglob("*")), self.folder] if self.format == "dir" else [ready]:
                sync(path)
        except OSError as error:
            raise self._no_room(error) from error
        with open_bundle(ready) as bundle:
            bundle.verify(SubProgress(progress, 1 / 3 if self.format == "zip" else 0, 1))
        check_output(self.out, self.format, self._force, self._partial)
        self._swap(ready)
        self._published = True
        return self.out

    def _zip(self, progress: Progress) -> Path:
        path = self._partial / "bundle.gemcut"
        names = [*self.files, *OWN_FILES]
        sources = {name: self.folder / name for name in names}
        members = {name: (p.stat().st_size, lambda p=p: p.open("rb")) for name, p in sources.items()}
        with path.open("wb") as sink:
            try:
                hashes = write_archive(sink, members, progress)
            except ValueError as error:
                raise ConformanceError(f"changed while it was packed: {error}", hint="export again") from error
        for name, record in self.files.items():
            if hashes[name] != record.sha256:
                raise ConformanceError(f"{name} changed while it was packed", hint="export again")
        return path

    def _swap(self, ready: Path) -> None:
        """Renames ``ready`` to the output path; ``_cleanup`` brings back what was there if that fails."""
        try:
            if self.out.exists() and not (ready.is_file() and self.out.is_file()):
                self.out.rename(self._aside)
            os.replace(ready, self.out)
            sync(self.out.parent)
        except OSError as error:
            raise self._no_room(error) from error


def transfer(source: Path, target: Path, how: How) -> None:
    """Move, link or copy a file; across filesystems the first two copy.

    Args:
        source: The file.
        target: Its new place.
        how: What to do with it.

    Raises:
        OSError: It can't be done, for any other reason than two filesystems.
    """
    if how != "copy":
        try:
            if how == "link":
                os.link(source, target)
            else:
                source.rename(target)
            return
        except OSError as error:
            if error.errno not in {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP}:
                raise
    with source.open("rb") as reader, target.open("wb") as writer:
        shutil.copyfileobj(reader, writer, CHUNK)
    if how == "move":
        source.unlink()


def pack(
    files: Mapping[str, Path | bytes],
    manifest: Manifest,
    out: Path | str,
    format: Format = "dir",
    force: bool = False,
) -> Path:
    """Pack a bundle in one go; ``Staging`` is for one that is proven before it is published.

    Args:
        files: Content or file, by name in the bundle; files are copied.
        manifest: What to say of the bundle; ``files`` is filled in.
        out: Where it goes.
        format: A directory or one zip.
        force: Whether an existing gemcut bundle may be replaced.

    Returns:
        The published path.

    Raises:
        UsageError: As for ``check_output``.
        LackingError: The disk is full; nothing is left behind.
    """
    with Staging(out, format, force) as staging:
        for name in sorted(files):
            staging.add(name, files[name])
        return staging.publish(manifest)
