"""The library that an app ships: its registry is read by loading it, or else its strings are."""

from __future__ import annotations

import functools
import re
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from packaging.version import Version

from ..compat import facts
from ..compat.needs import Requirement
from ..compat.verdict import Comparison, Lack, count
from ..errors import ConformanceError, LackingError, UnsupportedError, UsageError, nearest
from ..runtimes import RUNTIMES

if TYPE_CHECKING:
    from ..compat.releases import ReleaseFacts
    from ..devices.base import Facts
    from ..runtimes.base import RuntimePlugin
    from ..util.progress import Progress

_ABIS = {"x86_64": "x86_64", "aarch64": "arm64-v8a"}  # as Linux and as Android names them
_UNKNOWN = "unknown"
_STRING = re.compile(rb"[\x20-\x7e]{4,}(?=\0)")


@dataclass(frozen=True)
class Shipped:
    """A library with a runtime in it.

    Attributes:
        name: The library's file name.
        files: ABI -> the library's bytes.
        loaded: What it reports about itself; None if it wasn't loaded.
        at_least: A release all of whose kernels it has; None if there is none.
        notes: Why it wasn't loaded.
    """

    name: str
    files: Mapping[str, bytes]
    loaded: Facts | None = None
    at_least: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def version(self) -> str | None:
        """The runtime's version; None if its file isn't known."""
        found = self.loaded.library.version if self.loaded and self.loaded.library else _UNKNOWN
        return None if found == _UNKNOWN else found.removeprefix("about ")

    @functools.cached_property
    def _strings(self) -> Mapping[str, frozenset[bytes]]:
        return {abi: frozenset(_STRING.findall(data)) for abi, data in self.files.items()}

    def holds(self, name: str, abi: str) -> bool:
        """Return whether that ABI's library holds a name as a C string, or as the end of one: linkers merge those."""
        sought = name.encode()
        return sought in self._strings[abi] or sought + b"\0" in self.files[abi]


def open_library(text: str, runtime: RuntimePlugin, progress: Progress) -> Shipped | None:
    """Find the runtime's library, and load it if this machine can.

    Args:
        text: Path of an ``.aar``, ``.apk``, ``.aab`` or ``.so``, or ``npm:PACKAGE@VERSION``.
        runtime: The runtime that is looked for.
        progress: Told when something is fetched or built.

    Returns:
        The library; None if the file holds no library of that runtime.

    Raises:
        UsageError: There is no such file.
        UnsupportedError: It is neither a library nor an archive of any.
        LackingError: A package can't be fetched.
    """
    progress.stage(f"Reading {text}")
    found = dict(_libraries(text, progress))
    marked = {
        abi: data for abi, (_, data) in found.items() if any(mark in data for mark in runtime.releases.library_marks)
    }
    if not marked:
        return None
    name = next(found[abi][0] for abi in marked)
    if not runtime.releases.loads_library:
        return Shipped(name, marked)
    loaded, notes = _load(text, runtime.name, marked, progress)
    shipped = Shipped(name, marked, loaded, notes=notes)
    return Shipped(name, marked, loaded, _at_least(runtime.releases, shipped), notes)


def _libraries(text: str, progress: Progress) -> Iterator[tuple[str, tuple[str, bytes]]]:
    """ABI, with name and bytes of its library that is likeliest the runtime's: the first with a mark, or the first."""
    every = sorted(_shared(text, progress), key=lambda each: (not _named(each[1]), each[1]))
    marks = [mark for runtime in RUNTIMES for mark in runtime.releases.library_marks]
    for abi in dict.fromkeys(each[0] for each in every):
        own = [(name, data) for other, name, data in every if other == abi]
        yield abi, next((each for each in own if any(mark in each[1] for mark in marks)), own[0])


def _named(file: str) -> bool:
    return any(runtime.name in file for runtime in RUNTIMES)


def _shared(text: str, progress: Progress) -> list[tuple[str, str, bytes]]:
    """ABI, name and bytes of every shared library."""
    if text.startswith("npm:"):
        from ..devices.android.libraries import parse_npm
        from ..util.fetching import npm

        folder = npm(*parse_npm(text), progress)
        archives = [each for path in sorted(folder.rglob("*.aar")) for each in _archive(path)]
        libraries = [path for path in sorted(folder.rglob("*.so")) if path.parent.name in _ABIS.values()]
        plain = [(path.parent.name, path.name, path.read_bytes()) for path in libraries]
        return plain or archives
    path = Path(text).expanduser()
    if not path.is_file():
        beside = [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else []
        raise UsageError(f"there is no file {text}: {nearest(path.name, beside)}")
    if zipfile.is_zipfile(path):
        if found := _archive(path):
            return found
        raise UnsupportedError(
            f"{text} contains no shared library for Android",
            hint="name the app's .apk or .aab, or the runtime's own .aar; an app split by ABI has an .apk for each ABI",
        )
    data = path.read_bytes()
    if data[:4] == b"\x7fELF" and len(data) > 20:
        machine = {62: "x86_64", 183: "arm64-v8a"}.get(int.from_bytes(data[18:20], "little"), "another ABI")  # elf.h
        return [(machine, path.name, data)]
    raise UnsupportedError(f"{text} is neither a shared library nor an archive", hint="name an .aar, .apk, .aab or .so")


def _archive(path: Path) -> list[tuple[str, str, bytes]]:
    with zipfile.ZipFile(path) as packed:
        names = (PurePosixPath(info.filename) for info in packed.infolist())
        wanted = [name for name in names if name.suffix == ".so" and name.parent.name in _ABIS.values()]
        return [(name.parent.name, name.name, packed.read(str(name))) for name in wanted]


def _load(
    text: str, runtime: str, files: Mapping[str, bytes], progress: Progress
) -> tuple[Facts | None, tuple[str, ...]]:
    """What the library reports about itself, natively or under emulation; or why it can't be loaded."""
    from ..devices.android.toolchain import machine

    notes: list[str] = []
    for arch in sorted((arch for arch, abi in _ABIS.items() if abi in files), key=lambda each: each != machine()):
        spec = f"{'android-lib' if arch == machine() else 'android-lib-arm64'}:{text}"
        if arch != machine() and arch != "aarch64":
            continue
        try:
            with _prepared(spec, runtime, progress) as reported:
                return reported, tuple(notes)
        except (LackingError, ConformanceError, UnsupportedError, OSError) as error:
            hint = f" ({error.hint})" if isinstance(error, LackingError) and error.hint else ""
            notes.append(f"the library for {_ABIS[arch]} wasn't loaded: {error}{hint}")
    return None, tuple(notes) or ("it contains no library that this machine can load",)


@contextmanager
def _prepared(spec: str, runtime: str, progress: Progress) -> Iterator[Facts]:
    from ..devices import make_device

    device = make_device(spec)
    device.refuse(runtime, "")
    for need in device.needs(runtime):
        if not need.optional:
            raise LackingError(f"{need.what} is missing", hint=need.command)
    with tempfile.TemporaryDirectory(prefix="gemcut-") as work:
        try:
            device.prepare(runtime, Path(work), progress)
            yield device.facts(runtime)
        finally:
            device.close()


def _at_least(releases: ReleaseFacts, shipped: Shipped) -> str | None:
    """The newest known release all of whose kernels the library has; it is taken to have all else of that release."""
    if shipped.version is not None:
        return shipped.version
    for known in sorted(releases.tables(None)["operator"].known, key=lambda each: Version(each.version), reverse=True):
        if shipped.loaded is not None:
            has_all = known.names <= set(shipped.loaded.kernels)
        else:
            has_all = all(shipped.holds(name, abi) for name in known.names for abi in shipped.files)
        if has_all:
            return known.version
    return None


def by_library(releases: ReleaseFacts, needs: Sequence[Requirement], shipped: Shipped) -> Comparison:
    """Compare requirements with a library.

    Operators and backends are looked up in the loaded library's registry, and by name in the other ABIs' files; node
    types among the names that the delegate's library carries; everything else in the facts about the release that the
    library equals or exceeds.
    """
    missing, unknown, known = [], [], releases.tables(None)
    for need in needs:
        table = releases.table_for(known, need)
        newer = table.oldest_with([need.name]) if table is not None else None
        lack = Lack(need.kind, need.name, releases.why(need), newer)
        has = _has(table, need, shipped)
        if has == "no":
            missing.append(lack)
        elif has == "unknown":
            unknown.append(lack)
    source = f"{shipped.name}, {' and '.join(sorted(shipped.files))}"
    how = "read by loading it" if shipped.loaded else "read from its strings"
    return Comparison(tuple(missing), tuple(unknown), count(needs), (f"{source}: {how}",), shipped.notes)


def _has(table: facts.Table | None, need: Requirement, shipped: Shipped) -> facts.Has:
    named = all(shipped.holds(need.name, abi) for abi in shipped.files)
    if need.kind in ("operator", "backend"):
        if not named:
            return "no"
        if shipped.loaded is None:
            return "yes"
        return "yes" if need.name in (*shipped.loaded.kernels, *shipped.loaded.backends) else "no"
    if need.kind == "node" and re.fullmatch(r"XNN\w+", need.name) and not named:
        carries = all(shipped.holds("XNNFullyConnected", abi) for abi in shipped.files)
        if carries:  # it has the names of node types, and not this one
            return "no"
    if table is None:
        return "yes" if named else "unknown"
    if shipped.at_least is not None:
        return "yes" if named or table.ask(need.name, shipped.at_least) == "yes" else "unknown"
    return "yes" if named or all(need.name in each.names for each in table.known) else "unknown"
