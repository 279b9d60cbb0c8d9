"""llama.cpp's tools: built from the sources inside the ``llama-cpp-python`` sdist, or found where they are."""

from __future__ import annotations

import os
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gemcut.errors import LackingError, UsageError

from .common import run

VERSION = "0.3.36"  # of llama-cpp-python: the sources that figures are comparable for
TOOLS = ("llama-bench", "llama-quantize")
CONVERTER = "convert_hf_to_gguf.py"
_FLAGS = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DGGML_NATIVE=ON",
    "-DLLAMA_CURL=OFF",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_BUILD_SERVER=OFF",
)


@dataclass(frozen=True)
class LlamaCpp:
    """Where llama.cpp's two tools and its converter lie."""

    bench: Path
    quantize: Path
    converter: Path


def default_folder() -> Path:
    """``llama.cpp`` in Gemcut's folder of the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gemcut" / "llama.cpp"


def locate(folder: Path) -> LlamaCpp:
    """llama.cpp's source folder, built: the tools under ``build/bin``, the converter at its root.

    Raises:
        LackingError: one of them isn't there.
    """
    bench, quantize = (folder / "build" / "bin" / tool for tool in TOOLS)
    found = LlamaCpp(bench, quantize, folder / CONVERTER)
    for path in (found.bench, found.quantize, found.converter):
        if not path.is_file():
            raise LackingError(
                f"{path} is missing",
                hint=f"python -m benchmarks.llama_cpp --build {folder} makes it (needs cmake and a C++ compiler).",
            )
    return found


def build(folder: Path, jobs: int) -> LlamaCpp:
    """Downloads the sdist, unpacks llama.cpp into ``folder`` and builds the two tools; does nothing where they are.

    Raises:
        UsageError: ``folder`` holds something else.
        LackingError: there is no cmake.
        BenchmarkError: pip, cmake or the compiler failed; what it said last is in the message.
    """
    try:
        return locate(folder)
    except LackingError:
        pass
    if not (folder / "CMakeLists.txt").is_file():
        if folder.exists() and any(folder.iterdir()):
            raise UsageError(f"{folder} holds something other than llama.cpp", hint="Name an empty or a new folder.")
        _fetch(folder)
    compile_tools(folder, folder / "build", _FLAGS, TOOLS, jobs)
    return locate(folder)


def compile_tools(source: Path, out: Path, flags: Sequence[str], tools: Sequence[str], jobs: int) -> None:
    """Builds some of llama.cpp's tools.

    Raises:
        LackingError: there is no cmake.
        BenchmarkError: cmake or the compiler failed; what it said last is in the message.
    """
    if shutil.which("cmake") is None:
        raise LackingError("cmake is not installed", hint="pip install cmake, or your system's package.")
    run(["cmake", "-S", source, "-B", out, *flags], "configuring llama.cpp")
    run(["cmake", "--build", out, "--target", *tools, "--parallel", jobs], "building llama.cpp")


def unpack(folder: Path) -> Path:
    """Downloads the sdist and unpacks it in ``folder``; returns the folder of its contents.

    Raises:
        LackingError: pip brought none.
        BenchmarkError: pip failed.
    """
    words = ["-m", "pip", "download", "--no-deps", "--no-binary", "llama-cpp-python", "--dest", folder]
    run([sys.executable, *words, f"llama-cpp-python=={VERSION}"], "downloading llama.cpp's sources")
    archive = next(folder.glob("llama_cpp_python-*.tar.gz"), None)
    if archive is None:
        raise LackingError("pip brought no source archive of llama-cpp-python")
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")
    archive.unlink()
    return next(folder.glob("llama_cpp_python-*"))


def _fetch(folder: Path) -> None:
    """Puts the sdist's ``vendor/llama.cpp`` at ``folder``, whole or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="llama-", dir=folder.parent) as name:
        source = unpack(Path(name)) / "vendor" / "llama.cpp"
        if not source.is_dir():
            raise LackingError(f"llama-cpp-python {VERSION} holds no vendor/llama.cpp")
        if folder.exists():
            folder.rmdir()
        source.rename(folder)
