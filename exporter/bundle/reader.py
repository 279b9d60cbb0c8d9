"""Opening of a bundle, directory or zip, and the check that it is unchanged."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
import zipfile
from pathlib import Path
from types import TracebackType
from typing import IO, Protocol

from ..errors import ConformanceError, LackingError, UsageError
from ..util.progress import Progress, SubProgress
from .archive import CHUNK, UNREADABLE, check_archive, data_offset
from .manifest import MANIFEST, SIDE_FILE, Manifest, is_manifest, read_manifest
from .names import SUFFIX

OWN_FILES = frozenset({MANIFEST, SIDE_FILE})
AGAIN = "copy or export the bundle again"
_DIRECTORY = 1 << 16


class _Store(Protocol):
    """Where a bundle's files are."""

    def names(self) -> set[str]: ...

    def open(self, name: str) -> IO[bytes]: ...

    def locate(self, name: str) -> tuple[Path, int]: ...

    def close(self) -> None: ...


class _Folder:
    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> set[str]:
        found = set()
        for folder, folders, files in os.walk(self.path):
            links = [name for name in folders if (Path(folder) / name).is_symlink()]
            found |= {(Path(folder) / name).relative_to(self.path).as_posix() for name in [*files, *links]}
        return found

    def open(self, name: str) -> IO[bytes]:
        return (self.path / name).open("rb")

    def locate(self, name: str) -> tuple[Path, int]:
        return self.path / name, 0

    def close(self) -> None:
        return


class _Archive:
    def __init__(self, path: Path) -> None:
        self.path = path
        self._zip = zipfile.ZipFile(path)

    def names(self) -> set[str]:
        return {info.filename for info in self._zip.infolist()}

    def open(self, name: str) -> IO[bytes]:
        return self._zip.open(name)

    def locate(self, name: str) -> tuple[Path, int]:
        with self.path.open("rb") as file:
            return self.path, data_offset(file, self._zip.getinfo(name))

    def close(self) -> None:
        self._zip.close()


class Bundle:
    """A bundle that has been opened, with its manifest checked against the manifest's own hash.

    Use it as a context manager, or call ``close``: a zip's members may have been extracted for ``file``.

    Attributes:
        path: The bundle's directory or ``.gemcut`` file.
        manifest: What it says about itself.
    """

    def __init__(self, path: Path, manifest: Manifest, store: _Store) -> None:
        self.path = path
        self.manifest = manifest
        self._store = store
        self._extracted: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Bundle:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove what was extracted; the bundle itself stays as it is."""
        self._store.close()
        if self._extracted is not None:
            self._extracted.cleanup()
            self._extracted = None

    @property
    def is_zip(self) -> bool:
        """Whether the bundle is one zip rather than a directory."""
        return isinstance(self._store, _Archive)

    @property
    def program(self) -> Path:
        """The program that the manifest names, as a file; the program's other files lie beside it."""
        for name in self.manifest.program_files:
            self.file(name)
        return self.file(self.manifest.program)

    def _known(self, name: str) -> str:
        if name not in OWN_FILES and name not in self.manifest.files:
            raise ConformanceError(f"{self.path}: holds no {name}", hint=AGAIN)
        if name not in self._store.names():
            raise ConformanceError(f"{self.path}: {name} is missing", hint=AGAIN)
        return name

    def read(self, name: str) -> bytes:
        """Return the content of one file.

        Args:
            name: The file's name in the bundle.

        Raises:
            ConformanceError: The bundle doesn't hold it, or a zip's member can't be read.
        """
        try:
            with self._store.open(self._known(name)) as file:
                return file.read()
        except UNREADABLE as error:
            raise ConformanceError(f"{self.path}: {name} can't be read: {error}", hint=AGAIN) from error

    def file(self, name: str) -> Path:
        """Return the path of one file; a zip's member is extracted to a private folder the first time.

        Args:
            name: The file's name in the bundle.

        Raises:
            ConformanceError: The bundle doesn't hold it.
            LackingError: There is no room to extract it.
        """
        self._known(name)
        if not self.is_zip:
            return self._store.locate(name)[0]
        if self._extracted is None:
            self._extracted = tempfile.TemporaryDirectory(prefix="gemcut-")
        target = Path(self._extracted.name) / name
        if not target.exists():
            self._extract(name, target)
        return target

    def _extract(self, name: str, target: Path) -> None:
        size = self.manifest.files[name].size if name in self.manifest.files else 0
        target.parent.mkdir(parents=True, exist_ok=True)
        lacking = LackingError(
            f"no room to extract {name}: {size:,} bytes needed, "
            f"{shutil.disk_usage(target.parent).free:,} free in {target.parent}",
            hint="free some disk space, or set TMPDIR to a folder with more room",
        )
        if size > shutil.disk_usage(target.parent).free:
            raise lacking
        partial = target.with_name(target.name + ".partial")
        try:
            with self._store.open(name) as source, partial.open("wb") as sink:
                shutil.copyfileobj(source, sink, CHUNK)
        except UNREADABLE as error:
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise lacking from error
            raise ConformanceError(f"{self.path}: {name} can't be extracted: {error}", hint=AGAIN) from error
        partial.rename(target)

    def locate(self, name: str) -> tuple[Path, int, int]:
        """Return where a file's bytes are, for memory-mapping without extraction.

        Args:
            name: The file's name in the bundle.

        Returns:
            The file to map, the offset of the first byte in it (a multiple of 16 KiB), and the length.
        """
        path, offset = self._store.locate(self._known(name))
        return (
            path,
            offset,
            self.manifest.files[name].size if name in self.manifest.files else len(self.read(name)),
        )

    def verify(self, progress: Progress | None = None) -> None:
        """Check every byte of the bundle.

        Args:
            progress: Told how far the check is.

        Raises:
            ConformanceError: A file was changed, is missing, is too short or long, or doesn't belong there. The message
                names it, and the hint says what to do.
        """
        present, wanted = self._store.names(), set(self.manifest.files) | OWN_FILES
        for name in sorted(wanted - present):
            raise ConformanceError(f"{self.path}: {name} is missing", hint=AGAIN)
        for name in sorted(present - wanted):
            raise ConformanceError(
                f"{self.path}: {name} doesn't belong to the bundle",
                hint="move it out of the bundle, or " + AGAIN,
            )
        if read_manifest(self.read(MANIFEST), self.read(SIDE_FILE), str(self.path)) != self.manifest:
            raise ConformanceError(f"{self.path}: {MANIFEST} changed since it was opened", hint=AGAIN)
        begin, end = 0.0, 0.5 if self.is_zip else 1.0
        total = self.manifest.files_size or 1
        for name in sorted(self.manifest.files):
            share = end * self.manifest.files[name].size / total
            self._verify_file(name, SubProgress(progress, begin, begin + share))
            begin += share
        if self.is_zip:
            check_archive(self.path, SubProgress(progress, end, 1))

    def _verify_file(self, name: str, progress: Progress) -> None:
        record = self.manifest.files[name]
        digest, size = hashlib.sha256(), 0
        try:
            with self._store.open(name) as file:
                while chunk := file.read(CHUNK):
                    digest.update(chunk)
                    size += len(chunk)
                    progress.update(size, record.size, name)
        except UNREADABLE as error:
            raise ConformanceError(f"{self.path}: {name} can't be read: {error}", hint=AGAIN) from error
        if size != record.size:
            what = "is truncated" if size < record.size else "is too long"
            raise ConformanceError(f"{self.path}: {name} {what}: {size:,} bytes instead of {record.size:,}", hint=AGAIN)
        if digest.hexdigest() != record.sha256:
            raise ConformanceError(
                f"{self.path}: {name} was changed or swapped: its SHA-256 is {digest.hexdigest()[:12]}…, "
                f"the manifest has {record.sha256[:12]}…",
                hint=AGAIN,
            )


def _was_archive(path: Path) -> bool:
    """Whether a file that can't be read as a bundle was one: its directory still names the manifest's hash."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        begins = file.read(4) == b"PK\x03\x04"
        file.seek(max(0, path.stat().st_size - _DIRECTORY))
        return SIDE_FILE.encode() in file.read() or (begins and path.suffix == SUFFIX)


def _no_bundle(path: Path) -> UsageError:
    if (path / "config.json").is_file():
        return UsageError(f"{path} is a checkpoint, not a bundle", hint=f"make a bundle of it: gemcut export {path}")
    return UsageError(
        f"{path} is not a bundle: it has no {MANIFEST} written by gemcut",
        hint="name the folder or the .gemcut file that gemcut export wrote",
    )


def _open_store(path: Path) -> _Store:
    if path.is_dir():
        return _Folder(path)
    try:
        return _Archive(path)
    except PermissionError as error:
        raise UsageError(f"{path} can't be read: permission denied", hint="check its permissions") from error
    except UNREADABLE as error:
        if not _was_archive(path):
            raise _no_bundle(path) from error
        raise ConformanceError(f"{path}: truncated or changed: {error}", hint=AGAIN) from error


def _own_file(store: _Store, name: str, path: Path) -> bytes | None:
    if name not in store.names():
        return None
    try:
        with store.open(name) as file:
            return file.read()
    except UNREADABLE as error:
        raise ConformanceError(f"{path}: {name} can't be read: {error}", hint=AGAIN) from error


def open_bundle(path: Path | str) -> Bundle:
    """Open a bundle and check its manifest; ``Bundle.verify`` checks the rest.

    Args:
        path: A bundle's directory or ``.gemcut`` file.

    Raises:
        UsageError: There is nothing at the path, or something else.
        UnsupportedError: A newer version of gemcut made it.
        ConformanceError: The manifest was changed or the zip is damaged.
    """
    path = Path(path)
    if not path.exists():
        raise UsageError(f"there is no {path}", hint="make a bundle with gemcut export; -o says where")
    store = _open_store(path)
    try:
        data, side = _own_file(store, MANIFEST, path), _own_file(store, SIDE_FILE, path)
        if data is None and side is None and _was_archive(path):
            raise ConformanceError(f"{path}: its zip directory was changed", hint=AGAIN)
        if data is None and side is None:
            raise _no_bundle(path)
        if data is None:
            raise ConformanceError(f"{path}: {MANIFEST} is missing", hint=AGAIN)
        if side is None and not is_manifest(data):
            raise _no_bundle(path)
        if side is None:
            raise ConformanceError(f"{path}: {SIDE_FILE} is missing", hint=AGAIN)
        return Bundle(path, read_manifest(data, side, str(path)), store)
    except BaseException:
        store.close()
        raise
