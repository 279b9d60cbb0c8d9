"""The Android library under proof: found where the user says, and cached byte for byte as it ships."""

from __future__ import annotations

import functools
import hashlib
import json
import struct
import tomllib
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from ...errors import LackingError, UnsupportedError, UsageError, nearest
from ...util.fetching import build_home, discard, making, npm
from ...util.fetching import replace as put_in_place
from ...util.progress import Progress

NPM = "npm:"
UNKNOWN = "unknown"
JAVA_CLASSES = "classes.jar"
# Folders of the Android ABIs, by the machine that Linux names (developer.android.com/ndk/guides/abis).
ABIS = {"x86_64": "x86_64", "aarch64": "arm64-v8a"}
_ALL_ABIS = ("arm64-v8a", "armeabi-v7a", "x86", "x86_64", "riscv64")
# e_machine in the ELF header at byte 18 (elf.h): EM_386, EM_ARM, EM_X86_64, EM_AARCH64, EM_RISCV.
_MACHINES = {3: "x86", 40: "arm", 62: "x86_64", 183: "aarch64", 243: "riscv"}
# executorch::runtime::Program::load: exported by every ExecuTorch library since 0.4.
_STEM = "libexecutorch"
_MARK = b"_ZN10executorch7runtime7Program4load"
_OLD_MARK = b"_ZN5torch8executor7Program4load"
_NOTE = "library.json"
_ARCHIVES = (".aar", ".apk", ".zip")
_SHARED_STL = "libc++_shared.so"
_FBJNI = "libfbjni.so"


@dataclass(frozen=True)
class AndroidLibrary:
    """An ExecuTorch library for Android.

    Attributes:
        text: The library, as the user wrote it.
        file: A copy, byte for byte as it ships.
        name: The file's name.
        version: The version of the ExecuTorch runtime in it, as far as it is known.
        sha256: SHA-256 of the file.
        arch: The architecture, as Linux names it.
        classes: The Java classes that ship with it; None if none do.
        fbjni: The libfbjni.so that ships with it; None if none does.
        cxx: The libc++_shared.so that ships with it; None if none does.
    """

    text: str
    file: Path
    name: str
    version: str
    sha256: str
    arch: str
    classes: Path | None = None
    fbjni: Path | None = None
    cxx: Path | None = None


@functools.cache
def data() -> Mapping[str, Any]:
    """Return the content of ``libraries.toml``."""
    return tomllib.loads((Path(__file__).parent / "libraries.toml").read_text(encoding="utf-8"))


class _Container(Protocol):
    """Something that holds files by name: a folder, an archive, or a file."""

    where: str

    def names(self) -> list[str]: ...

    def read(self, name: str) -> bytes: ...


class _Folder:
    def __init__(self, path: Path, where: str) -> None:
        self._path, self.where = path, where

    def names(self) -> list[str]:
        return sorted(p.relative_to(self._path).as_posix() for p in self._path.rglob("*") if p.is_file())

    def read(self, name: str) -> bytes:
        return (self._path / name).read_bytes()


class _Archive:
    def __init__(self, path: Path, where: str) -> None:
        self._path, self.where = path, where

    def names(self) -> list[str]:
        with zipfile.ZipFile(self._path) as packed:
            return sorted(info.filename for info in packed.infolist() if not info.is_dir())

    def read(self, name: str) -> bytes:
        with zipfile.ZipFile(self._path) as packed:
            return packed.read(name)


def parse_npm(text: str) -> tuple[str, str]:
    """Return name and version of ``npm:PACKAGE@VERSION``; the ``npm:`` may be missing.

    Raises:
        UsageError: The text has another form.
    """
    name, at, version = text.removeprefix(NPM).rpartition("@")
    if not (at and name and version):
        known = {entry["source"].partition(",")[0] for entry in data()["known"].values()}
        raise UsageError(
            f"{text!r} is not npm:PACKAGE@VERSION: {nearest(text.removeprefix(NPM), known)}",
            hint=f"write it as, for instance, {data()['default']}",
        )
    return name, version


def check(text: str, arch: str) -> None:
    """Refuse, without fetching anything, what can't be an ExecuTorch library for Android.

    Raises:
        UsageError: A file doesn't exist, or a package has no version.
        UnsupportedError: A file is something else; see ``resolve``.
    """
    if text.startswith(NPM):
        parse_npm(text)
    else:
        _choose(*_local(text), arch)


def resolve(text: str, arch: str, progress: Progress | None = None) -> AndroidLibrary:
    """Find the library and copy it, with what ships beside it, into the cache.

    Args:
        text: The path of an ``.aar``, ``.apk`` or ``.so``, or ``npm:PACKAGE@VERSION``.
        arch: ``x86_64`` or ``aarch64``.
        progress: Receives a note when a package is fetched.

    Raises:
        UsageError: There is no such file.
        UnsupportedError: It holds no ExecuTorch library for that architecture; the message says what it holds.
        LackingError: The package can't be fetched, or the disk is full.
    """
    if text.startswith(NPM):
        name, version = parse_npm(text)
        container: _Container = _packaged(npm(name, version, progress), f"{name}@{version}", arch)
        only = None
    else:
        container, only = _local(text)
    found = _choose(container, only, arch)
    return _put_in_cache(text, arch, found)


def _packaged(folder: Path, where: str, arch: str) -> _Container:
    """An npm package's own folders, or the .aar in it that has a library for the architecture."""
    own = _Folder(folder, where)
    if not any(PurePosixPath(name).parent.name == ABIS[arch] for name in own.names()):
        for archive in sorted(folder.rglob("*.aar")):
            inner = _Archive(archive, f"{archive.name} of {where}")
            if any(PurePosixPath(name).parent.name == ABIS[arch] for name in inner.names()):
                return inner
    return own


def _local(text: str) -> tuple[_Container, str | None]:
    """The user's file; for an ``.so``, also its name."""
    path = Path(text).expanduser()
    if not path.is_file():
        beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        candidates = [name for name in beside if name.endswith((".so", *_ARCHIVES))]
        raise UsageError(
            f"there is no file {text}: {nearest(path.name, candidates)}",
            hint="name an .aar, .apk or .so, or npm:PACKAGE@VERSION",
        )
    if zipfile.is_zipfile(path):
        return _Archive(path, path.name), None
    with path.open("rb") as file:
        if file.read(4) == b"\x7fELF":
            return _SingleFile(path), path.name
    raise UnsupportedError(
        f"{text} is neither a shared library nor an .aar or .apk",
        hint="name an .aar, .apk or .so, or npm:PACKAGE@VERSION",
    )


class _SingleFile:
    """One file alone; what is beside it may be from another build."""

    def __init__(self, path: Path) -> None:
        self._path, self.where = path, path.name

    def names(self) -> list[str]:
        return [self._path.name]

    def read(self, name: str) -> bytes:
        return self._path.read_bytes()


@dataclass(frozen=True)
class _Selection:
    """What to keep: the library's name, and all files by the name that they are kept under."""

    name: str
    files: Mapping[str, bytes]


def _choose(container: _Container, only: str | None, arch: str) -> _Selection:
    if only is not None:
        library = container.read(only)
        _require_machine(library, only, arch)
        _require_executorch(library, only)
        return _Selection(only, {only: library})
    names = container.names()
    libraries = [name for name in names if name.endswith(".so") and PurePosixPath(name).parent.name in _ALL_ABIS]
    here = [name for name in libraries if PurePosixPath(name).parent.name == ABIS[arch]]
    if not here:
        abis = sorted({PurePosixPath(name).parent.name for name in libraries})
        inside = f"libraries for {', '.join(abis)}" if abis else "no Android library at all"
        raise UnsupportedError(
            f"{container.where} has no library for {ABIS[arch]}; it holds {inside}",
            hint="name the .apk of that ABI if the app is split by ABI, or its .aar"
            + ("; android-lib-arm64 runs arm64-v8a" if "arm64-v8a" in abis else ""),
        )
    for name in sorted(here, key=lambda name: (_STEM not in name, name)):
        library = container.read(name)
        if _MARK in library:
            _require_machine(library, name, arch)
            return _with_companions(container, names, name, library)
    raise UnsupportedError(
        f"{container.where} holds no ExecuTorch library for {ABIS[arch]}, only "
        f"{', '.join(PurePosixPath(name).name for name in here)}",
        hint="name the app's own .aar or .apk, or the .so that contains ExecuTorch",
    )


def _with_companions(container: _Container, names: list[str], name: str, library: bytes) -> _Selection:
    """The library, and the files beside it that its Java classes need."""
    path = PurePosixPath(name)
    files = {path.name: library}
    for other in (_FBJNI, _SHARED_STL):
        if (beside := (path.parent / other).as_posix()) in names:
            files[other] = container.read(beside)
    jars = [other for other in names if PurePosixPath(other).name == JAVA_CLASSES]
    for jar in jars:
        content = container.read(jar)
        if b"org/pytorch/executorch" in content:  # a zip holds member names uncompressed
            files[JAVA_CLASSES] = content
            break
    return _Selection(path.name, files)


def _require_machine(library: bytes, name: str, arch: str) -> None:
    machine = struct.unpack_from("<H", library, 18)[0] if library[:4] == b"\x7fELF" and len(library) > 20 else 0
    if _MACHINES.get(machine) == arch:
        return
    named = _MACHINES.get(machine, f"machine {machine}")
    wrong = f"is for {named}, not for {arch}" if machine else "is not a shared library"
    hint = "use android-lib-arm64 for arm64 libraries" if named == "aarch64" else "name the app's .aar or .apk"
    raise UnsupportedError(f"{name} {wrong}", hint=hint)


def _require_executorch(library: bytes, name: str) -> None:
    if _MARK in library:
        return
    if _OLD_MARK in library:
        raise UnsupportedError(f"{name} is from ExecuTorch before 0.4", hint="ship a newer runtime with the app")
    raise UnsupportedError(
        f"{name} exports no executorch::runtime::Program: it isn't an ExecuTorch library, or it hides its symbols",
        hint="name the libexecutorch.so of org.pytorch:executorch-android or of the app's own build",
    )


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _put_in_cache(text: str, arch: str, found: _Selection) -> AndroidLibrary:
    digests = {name: _sha256(content) for name, content in sorted(found.files.items())}
    home = build_home("android-libraries", found.name, json.dumps(digests))
    if not _is_kept(home, digests):
        with making(home) as place:
            made = place / "library"
            made.mkdir()
            for name, content in found.files.items():
                (made / name).write_bytes(content)
            (made / _NOTE).write_text(json.dumps(digests, indent=1), encoding="utf-8")
            discard(home)
            put_in_place(made, home)
    sha256 = digests[found.name]
    kept = {name: home / name for name in digests}
    return AndroidLibrary(
        text=text,
        file=home / found.name,
        name=found.name,
        version=data()["known"].get(sha256, {}).get("version", UNKNOWN),
        sha256=sha256,
        arch=arch,
        classes=kept.get(JAVA_CLASSES),
        fbjni=kept.get(_FBJNI),
        cxx=kept.get(_SHARED_STL),
    )


def _is_kept(home: Path, digests: Mapping[str, str]) -> bool:
    with suppress(OSError):
        return all(_sha256((home / name).read_bytes()) == digest for name, digest in digests.items())
    return False


def with_fbjni(library: AndroidLibrary, progress: Progress | None = None) -> AndroidLibrary:
    """Return the library with Android's libfbjni.so and libc++_shared.so, from React Native's package if it has none.

    Raises:
        LackingError: That package can't be fetched.
    """
    if library.fbjni is not None and library.cxx is not None:
        return library
    name, version = parse_npm(NPM + data()["java"]["native"])
    folder = npm(name, version, progress)
    for archive in sorted(folder.rglob("*-release.aar")):
        container = _Archive(archive, archive.name)
        wanted = {f"jni/{ABIS[library.arch]}/{each}": each for each in (_FBJNI, _SHARED_STL)}
        if set(wanted) <= set(container.names()):
            found = _Selection(_FBJNI, {each: container.read(member) for member, each in wanted.items()})
            kept = _put_in_cache(library.text, library.arch, found)
            return replace(library, fbjni=library.fbjni or kept.fbjni, cxx=library.cxx or kept.cxx)
    raise LackingError(
        f"{name}@{version} has no libfbjni.so", hint="run gemcut devices setup android-lib to fetch it again"
    )
