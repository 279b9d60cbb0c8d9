"""Builds the golden runner with ExecuTorch's wheel: plain compiler calls that take seconds; the result is kept."""

from __future__ import annotations

import importlib.util
import platform
import shutil
from collections.abc import Sequence
from pathlib import Path

from ....errors import ConformanceError, LackingError, UnsupportedError
from ....util import fetching, processes
from ....util.packages import install_command
from ....util.processes import Finished
from ....util.progress import Progress
from ...golden_runner import NativeGoldenRunner, Need

ARCHITECTURES = ("x86_64", "aarch64")
RUNNER = "runner"
HERE = Path(__file__).parent
HEADERS = tuple(HERE / f"{name}.h" for name in ("program", "bench", "memory", "report"))
SOURCES = tuple(HERE / f"{name}.cpp" for name in ("runner", "bench", "program", "memory", "report"))
KERNELS = HERE / "kernels.cpp"
"""Operators that the wheel's libraries lack; not for an app's library, which has its own."""

# No STL and none of its runtime, so that the same objects link with bionic's libc++.
FLAGS = (
    *("-std=c++17", "-O2", "-fPIC", "-Wall", "-Wextra", "-fno-exceptions", "-fno-rtti", "-fno-stack-protector"),
    "-fno-threadsafe-statics",
)
# As the wheel's own CMake package has them (share/cmake/executorch-config.cmake, ExecuTorch 1.5).
_DEFINES = ("C10_USING_CUSTOM_GENERATED_MACROS", "ET_EVENT_TRACER_ENABLED", "ET_USE_THREADPOOL")
_INCLUDES = ("include", "include/executorch/runtime/core/portable_type/c10")
# Each registers what it has when it is loaded; the core and the thread pool are what they need themselves.
LIBRARIES = ("", "_kernels_optimized", "_kernels_quantized", "_backend_xnnpack", "_threadpool")
# RPATH rather than RUNPATH: no LD_LIBRARY_PATH puts another library in the place of these.
_LINKING = ("-Wl,--no-as-needed", "-Wl,--disable-new-dtags", "-Wl,-rpath,$ORIGIN")
_SECONDS = 300.0
_ERRORS = 3  # lines of the compiler's output that are shown


class ExecuTorchGoldenRunner(NativeGoldenRunner):
    """See ``NativeGoldenRunner``."""

    executable = RUNNER
    speed_note = (
        "attention ran in Gemcut's own kernel, which is slower on long prompts than the one that apps ship: "
        "pp of a real app is higher"
    )

    def needs(self, machine: str) -> tuple[Need, ...]:
        """See ``NativeGoldenRunner``."""
        return needs(machine)

    def compiler(self, machine: str) -> str:
        """See ``NativeGoldenRunner``."""
        return compiler(machine)

    def build(self, machine: str, progress: Progress) -> Path:
        """See ``NativeGoldenRunner``."""
        return build(machine, progress)


def needs(arch: str) -> tuple[Need, ...]:
    """Return what this machine lacks for building the runner for an architecture; nothing is changed."""
    found = []
    if shutil.which(compiler(arch)) is None:
        package = _package(arch)
        found.append(Need(f"the compiler {compiler(arch)}", fetching.apt_command((package,)), package))
    if importlib.util.find_spec("executorch") is None:
        found.append(Need("ExecuTorch", install_command("executorch")))
    return tuple(found)


def compiler(arch: str) -> str:
    """Return the name of the C++ compiler for an architecture: g++, or Debian's cross compiler.

    Raises:
        UnsupportedError: The architecture isn't one of ``ARCHITECTURES``.
    """
    if arch not in ARCHITECTURES:
        raise UnsupportedError(
            f"the golden runner can't be built for {arch}", hint=f"it runs on {' and '.join(ARCHITECTURES)}"
        )
    return "g++" if arch == platform.machine() else f"{arch}-linux-gnu-g++"


def build(arch: str, progress: Progress | None = None) -> Path:
    """Build the runner on first use, in one folder with its libraries, which can be copied elsewhere as it is.

    Args:
        arch: One of ``ARCHITECTURES``. This machine's runner is linked with the installed wheel, another's with the
            wheel of the same version for that architecture.
        progress: Told when something is fetched or built.

    Returns:
        The folder; ``RUNNER`` in it is the program, see ``prove.wire`` for its verbs.

    Raises:
        LackingError: A compiler or the wheel is missing, with the command that gets it; or the compiler fails.
        UnsupportedError: The architecture isn't one of ``ARCHITECTURES``.
    """
    command = compiler(arch)
    lacking = needs(arch)
    if lacking:
        raise LackingError(
            f"{lacking[0].what} is missing, but building the golden runner needs it", hint=lacking[0].command
        )
    version = importlib.metadata.version("executorch")
    wheel = _wheel(arch, version, progress)
    libraries = _libraries(wheel, version)
    flags = (*FLAGS, *(f"-D{name}" for name in _DEFINES), f'-DGEMCUT_RUNTIME_VERSION="{version}"')
    identity = _call((command, "-dumpfullversion", "-dumpmachine")).stdout
    sources = (*SOURCES, KERNELS)
    texts = [path.read_bytes() for path in (*HEADERS, *sources)]
    sizes = [str(library.stat().st_size) for library in libraries]
    home = fetching.build_home("native", version, identity, *_LINKING, *flags, *sizes, *texts)
    if home.is_dir():
        return home
    if progress is not None:
        progress.note(f"building the golden runner for {arch}")
    with fetching.making(home) as place:
        made = place / "made"
        made.mkdir()
        for library in libraries:
            shutil.copy(library, made)
        includes = [part for folder in _INCLUDES for part in ("-isystem", str(wheel / folder))]
        linked = [*_LINKING, *(str(made / library.name) for library in libraries)]
        compile_(command, [*flags, *includes, "-o", str(made / RUNNER), *map(str, sources), *linked], version)
        fetching.replace(made, home)
    return home


def compile_(command: str, arguments: Sequence[str], version: str) -> None:
    """Run a compiler.

    Raises:
        LackingError: It fails, or takes minutes; the message has its first errors.
    """
    done = _call((command, *arguments))
    if done.code:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if "error" in line or "undefined" in line] or lines or ["it printed nothing"]
        raise LackingError(
            f"{command} can't build the golden runner with ExecuTorch {version}: " + " / ".join(errors[:_ERRORS]),
            hint=f"use ExecuTorch 1.5 ({install_command('executorch')}) and a compiler as new as Debian 12's",
        )


def _call(command: Sequence[str]) -> Finished:
    try:
        return processes.run(command, _SECONDS)
    except ConformanceError as error:  # its time limit
        raise LackingError(error.message, hint="try again when this machine is less busy") from error


def _package(arch: str) -> str:
    return "g++" if arch == platform.machine() else f"g++-{arch.replace('_', '-')}-linux-gnu"


def _wheel(arch: str, version: str, progress: Progress | None) -> Path:
    """The package's folder in the wheel for an architecture. The version without a local part, as published."""
    if arch != platform.machine():
        tag = f"manylinux_2_28_{arch}"
        return fetching.wheel("executorch", version.partition("+")[0], tag, progress) / "executorch"
    spec = importlib.util.find_spec("executorch")
    assert spec is not None
    return Path(next(iter(spec.submodule_search_locations or ())))


def _libraries(wheel: Path, version: str) -> list[Path]:
    found = [wheel / "lib" / f"libexecutorch{name}.so" for name in LIBRARIES]
    missing = [path.name for path in found if not path.is_file()]
    if missing:
        raise LackingError(
            f"ExecuTorch {version} lacks {', '.join(missing)}, which the golden runner is linked with",
            hint=install_command("executorch"),
        )
    return found
