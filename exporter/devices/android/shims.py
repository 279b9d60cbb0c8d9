"""Android's system libraries on glibc, tailored to the libraries under proof, and the golden runner that uses them.

An Android library asks for ``libc.so``, ``libm.so``, ``libdl.so`` and ``liblog.so``, with bionic's symbol versions.
Here ``libc.so`` carries every symbol that the given libraries import: those of ``shims/bionic.c`` if glibc's differ,
and a jump to glibc's own for all others. ``libm.so`` and ``libdl.so`` are empty but for the version nodes, since the
loader looks a versioned symbol up by node in whichever library has it.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ...errors import LackingError, UnsupportedError
from ...runtimes.executorch.golden_runner.build import HEADERS, SOURCES
from ...util.fetching import archive_sha256, build_home, discard, making, npm, replace
from ...util.progress import Progress
from . import toolchain
from .libraries import AndroidLibrary, data, parse_npm
from .toolchain import Symbol

RUNNER = "golden"
SYSTEM = ("libc.so", "libm.so", "libdl.so", "liblog.so")
_BASE_NODE = "LIBC"
_LOG = "__android_log_"
_FLAGS = ("-O2", "-fPIC", "-fno-stack-protector")
# DT_RPATH and not DT_RUNPATH: it also applies to what the Android library itself needs.
BESIDE = "-Wl,--disable-new-dtags,-rpath,$ORIGIN"
_RUNNER_FLAGS = ("-std=c++17", "-fno-exceptions", "-fno-rtti", *_FLAGS, "-DGEMCUT_BIONIC")
# Where the packages' headers are; ExecuTorch 1.0 has some of PyTorch's c10 in a separate folder.
_INCLUDE = ("third-party/include", "third-party/include/executorch/runtime/core/portable_type/c10")
_JUMPS = {
    "x86_64": "  jmp *{name}@GOTPCREL(%rip)",
    "aarch64": "  adrp x16, :got:{name}\n  ldr x16, [x16, :got_lo12:{name}]\n  br x16",
}


@dataclass(frozen=True)
class Imports:
    """What libraries import from outside.

    Attributes:
        versioned: Name -> version node, of what they import from Android's C library.
        others: Names without a version node that none of the libraries defines.
        needed: Libraries that they need, besides themselves and the system's.
    """

    versioned: dict[str, str]
    others: tuple[str, ...]
    needed: tuple[str, ...]


def imports_of(files: Sequence[Path]) -> Imports:
    """Return what these libraries import together.

    Raises:
        LackingError: There is no readelf.
    """
    versioned: dict[str, str] = {}
    wanted: set[str] = set()
    defined: set[str] = set()
    needed: set[str] = set()
    own = set()
    for file in files:
        symbols = toolchain.symbols(file)
        soname, libraries = toolchain.dynamic(file)
        own |= {soname, file.name}
        needed |= set(libraries)
        defined |= {symbol.name for symbol in symbols if symbol.defined}
        versioned |= {symbol.name: symbol.version for symbol in symbols if _from_system(symbol)}
        wanted |= {s.name for s in symbols if not s.defined and not s.weak and not s.version}
    others = tuple(sorted(name for name in wanted - defined if not name.startswith(_LOG)))
    return Imports(versioned, others, tuple(sorted(needed - own - set(SYSTEM))))


def _from_system(symbol: Symbol) -> bool:
    return not symbol.defined and symbol.version.startswith(_BASE_NODE)


def source(name: str) -> str:
    """Return one of this package's C sources."""
    return (Path(__file__).parent / "shims" / name).read_text(encoding="utf-8")


def _published_by_bionic(arch: str) -> set[str]:
    """The functions that bionic.c publishes on an architecture."""
    text = source("bionic.c")
    if arch != "x86_64":
        text = re.sub(r"#ifdef __x86_64__.*?#endif", "", text, flags=re.DOTALL)
    return set(re.findall(r"\bEXPORT(?:_N)?\((\w+)\);", text))


def _jumps(imports: Imports, arch: str, unknown: Iterable[str]) -> str:
    """Assembly: for each imported function a jump to glibc's; ``unknown`` are those that glibc doesn't have."""
    lines, absent = [".text"], frozenset(unknown)
    for name, node in sorted(imports.versioned.items()):
        if name in _published_by_bionic(arch) or name in absent:
            continue
        lines += [f".globl to_{name}", f".type to_{name}, %function", f"to_{name}:"]
        lines += [_JUMPS[arch].format(name=name), f".size to_{name}, .-to_{name}", f".symver to_{name}, {name}@{node}"]
    return "\n".join([*lines, '.section .note.GNU-stack,"",%progbits', ""])


def _aborting_functions(names: Iterable[str], node: dict[str, str] | None = None) -> str:
    """C: functions that abort the process and name the one that was called."""
    lines = ["#include <stdio.h>", "#include <stdlib.h>"]
    for name in sorted(names):
        says = f'fputs("the Android library called {name}, which is missing here\\n", stderr); abort();'
        if node is None:
            lines.append(f"void {name}(void) {{ {says} }}")
        else:
            lines.append(f"void end_{name}(void) {{ {says} }}")
            lines.append(f'__asm__(".symver end_{name},{name}@{node[name]}");')
    return "\n".join([*lines, ""])


def _version_scripts(imports: Imports) -> tuple[str, str]:
    """Version scripts: for libc.so, and for a library that only has version nodes."""
    nodes = sorted({_BASE_NODE, "LIBC_N", *imports.versioned.values()} - {_BASE_NODE})
    rest = "".join(f"{node} {{ }};\n" for node in nodes)
    hidden = "to_*; end_*; bionic_*;"
    return f"{_BASE_NODE} {{ local: {hidden} }};\n{rest}", f"{_BASE_NODE} {{ local: *; }};\n{rest}"


def make_system(files: Sequence[Path], arch: str, out: Path) -> Imports:
    """Build Android's system libraries for these libraries into ``out``.

    Args:
        files: All Android libraries that will be in the process.
        arch: Their architecture.
        out: The folder, which must exist.

    Returns:
        What the libraries import.

    Raises:
        LackingError: A compiler is missing or fails.
    """
    imports = imports_of(files)
    scratch = out / "scratch"
    scratch.mkdir(exist_ok=True)
    for name, text in zip(("libc.map", "nodes.map"), _version_scripts(imports), strict=True):
        (scratch / name).write_text(text, encoding="utf-8")
    for name in ("bionic.c", "log.c"):
        (scratch / name).write_text(source(name), encoding="utf-8")
    (scratch / "empty.c").write_text("", encoding="utf-8")
    _link_libc(imports, arch, out)
    for name in ("libm.so", "libdl.so"):
        shared(arch, out, name, ("empty.c",), "-Wl,--version-script=nodes.map")
    shared(arch, out, "liblog.so", ("log.c",))
    return imports


def shared(arch: str, out: Path, name: str, sources: Sequence[str], *flags: str) -> None:
    """Link one library in ``out`` from sources in ``out/scratch``."""
    toolchain.call(_shared(arch, name, sources, flags), out / "scratch")


def _shared(arch: str, name: str, sources: Sequence[str], flags: Sequence[str]) -> tuple[str, ...]:
    cc = f"{toolchain.prefix(arch)}gcc"
    return (cc, *_FLAGS, "-shared", "-w", f"-Wl,-soname,{name}", "-o", f"../{name}", *sources, *flags)


def _link_libc(imports: Imports, arch: str, out: Path) -> None:
    """Link libc.so; a function that glibc turns out not to have aborts the process if it is ever called."""
    scratch, unknown = out / "scratch", set[str]()
    flags = ("-Wl,--version-script=libc.map", "-Wl,-z,defs", "-lm")
    while True:
        (scratch / "jumps.S").write_text(_jumps(imports, arch, unknown), encoding="utf-8")
        (scratch / "ends.c").write_text(_aborting_functions(unknown, imports.versioned), encoding="utf-8")
        done = toolchain.attempt(_shared(arch, "libc.so", ("bionic.c", "jumps.S", "ends.c"), flags), scratch)
        if not done.code:
            return
        lacking = set(re.findall(r"undefined reference to `(\w+)'", done.stderr)) & set(imports.versioned)
        if not lacking - unknown:
            last = (done.stderr.strip().splitlines() or ["it says nothing"])[0]
            raise LackingError(f"Android's C library can't be built here: {last}", hint="run gemcut doctor")
        unknown |= lacking


def make_stand_ins(imports: Imports, arch: str, out: Path) -> None:
    """Build a stand-in for each other library that is needed; the runner calls none of them.

    The first has all functions, which abort the process if they are called; the others are empty.
    """
    (out / "scratch" / "others.c").write_text(_aborting_functions(imports.others), encoding="utf-8")
    for at, name in enumerate(imports.needed):
        shared(arch, out, name, ("empty.c",) if at else ("others.c",))


def build(library: AndroidLibrary, arch: str, progress: Progress | None = None) -> Path:
    """Build all that it takes to run the library here, unless it is cached.

    Args:
        library: The library under proof.
        arch: ``x86_64`` or ``aarch64``.
        progress: Receives a note when something is fetched or built.

    Returns:
        A folder in the cache with the library as it ships, the shims, and the golden runner (``RUNNER``).

    Raises:
        LackingError: A compiler is missing or fails, or the headers can't be fetched.
        UnsupportedError: The runner can't be compiled for the version of the library's interface.
    """
    headers = _headers(library, progress)
    sources = {path.name: path.read_text(encoding="utf-8") for path in (*SOURCES, *HEADERS)}
    home = build_home(
        "android-lib",
        *(library.sha256, arch, toolchain.identity(arch), *map(archive_sha256, headers), *sources.values()),
        *(source("bionic.c"), source("log.c"), Path(__file__).read_bytes()),
    )
    if is_built(home, library.file):
        return home
    if progress is not None:
        progress.note(f"building a runner for {library.text}")
    with making(home) as place:
        made = place / "made"
        made.mkdir()
        files = [place_library(library.file, made)]
        if library.cxx is not None and "libc++_shared.so" in toolchain.dynamic(library.file)[1]:
            files.append(place_library(library.cxx, made))
        imports = make_system(files, arch, made)
        make_stand_ins(imports, arch, made)
        _make_runner(files[0].name, headers, sources, arch, made)
        shutil.rmtree(made / "scratch")
        discard(home)  # one whose library was changed
        replace(made, home)
    return home


def is_built(home: Path, *libraries: Path) -> bool:
    """Return whether a folder was built, and these libraries in it are still byte for byte what they were."""
    with suppress(OSError):
        return all((home / toolchain.dynamic(f)[0]).read_bytes() == f.read_bytes() for f in libraries)
    return False


def place_library(file: Path, out: Path) -> Path:
    """Copy a library unchanged to where the loader looks for it, under its own name (SONAME)."""
    target = out / toolchain.dynamic(file)[0]
    shutil.copyfile(file, target)
    return target


def _headers(library: AndroidLibrary, progress: Progress | None) -> tuple[Path, ...]:
    """The packages whose headers fit the library, in the order in which they are searched."""
    exported = {symbol.name for symbol in toolchain.symbols(library.file) if symbol.defined}
    for entry in data()["headers"]:
        if entry["symbol"] in exported:
            return tuple(npm(*parse_npm(name), progress) for name in entry["packages"])
    raise UnsupportedError(
        f"{library.text}: Program::load_method isn't like that of ExecuTorch 1.0 to 1.3, so the runner can't "
        "be compiled for it",
        hint="upgrade gemcut, or ship a runtime of these versions with the app",
    )


def _make_runner(library: str, headers: Sequence[Path], sources: dict[str, str], arch: str, out: Path) -> None:
    """Compile the golden runner; the C driver links it, so that no libstdc++ is in the process."""
    scratch, tools = out / "scratch", toolchain.prefix(arch)
    for name, text in sources.items():
        (scratch / name).write_text(text, encoding="utf-8")
    folders = [package / folder for package in headers for folder in _INCLUDE]
    found = [part for folder in folders if folder.is_dir() for part in ("-isystem", str(folder))]
    for path in SOURCES:
        toolchain.call((f"{tools}g++", *_RUNNER_FLAGS, "-w", *found, "-c", path.name), scratch)
    objects = tuple(f"{path.stem}.o" for path in SOURCES)
    libraries = (f"../{library}", "-Wl,--allow-shlib-undefined", "-lm")
    toolchain.call((f"{tools}gcc", "-o", f"../{RUNNER}", *objects, *libraries, BESIDE), scratch)
