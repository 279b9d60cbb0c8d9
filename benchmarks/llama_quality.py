"""llama.cpp beside us: its own tools quantize the same weights, and its own library runs them on the same tokens.

Its source is what the package llama-cpp-python carries, built once and kept in Gemcut's cache: some ten minutes.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gemcut.errors import LackingError
from gemcut.util.result_cache import cache_root

from .common import run
from .llama_build import VERSION, compile_tools, unpack

_TOOLS = ("llama-quantize", "llama-imatrix")
# Of 512 tokens each: half of the text that our own calibration takes; 40 took half an hour, on two cores.
_CHUNKS = 20
# For AVX2, not for what this processor claims: on virtual machines that show AMX its kernels end the process.
_FLAGS = ("-DGGML_NATIVE=OFF", "-DBUILD_SHARED_LIBS=ON", "-DLLAMA_CURL=OFF", "-DCMAKE_BUILD_TYPE=Release")


@dataclass(frozen=True)
class Way:
    """One way of quantizing. kind: llama-quantize's name. pure: all tensors alike. imatrix: by an importance matrix."""

    kind: str
    pure: bool = False
    imatrix: bool = False

    @property
    def title(self) -> str:
        return "llama.cpp " + self.kind + (" --pure" if self.pure else "") + (", imatrix" if self.imatrix else "")


WAYS = (
    Way("Q8_0"),
    Way("Q5_0"),
    Way("Q4_K_M"),
    Way("Q4_0"),
    Way("Q4_K_M", imatrix=True),
    Way("Q4_0", imatrix=True),
    Way("Q4_0", pure=True),
    Way("Q4_0", pure=True, imatrix=True),
)


class LlamaCpp:
    """llama.cpp's source, its tools that quantize, and its library with a binding.

    Args:
        folder: Where they are, or will be.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._root = folder or cache_root() / "benchmarks" / f"llama-cpp-python-{VERSION}"
        self._source = self._root / f"llama_cpp_python-{VERSION}"
        self._bin = self._root / "build" / "bin"

    def build(self) -> None:
        """Builds it, unless it is there.

        Raises:
            LackingError: cmake or a compiler is missing.
        """
        if all((self._bin / tool).is_file() for tool in _TOOLS):
            return
        self._root.mkdir(parents=True, exist_ok=True)
        if not self._source.is_dir():
            unpack(self._root)
        source = self._source / "vendor" / "llama.cpp"
        compile_tools(source, self._root / "build", _FLAGS, _TOOLS, os.cpu_count() or 1)

    def quantize(self, source: Path, out: Path, way: Way, imatrix: Path | None) -> None:
        """Quantizes a GGUF file."""
        words: list[object] = [self._bin / "llama-quantize", "--allow-requantize"]
        words += ["--pure"] if way.pure else []
        words += ["--imatrix", imatrix] if way.imatrix else []
        run([*words, source, out, way.kind, os.cpu_count() or 1], f"llama-quantize {way.kind}")

    def imatrix(self, model: Path, text: Path, out: Path) -> None:
        """Computes an importance matrix of a model on a text."""
        words = [self._bin / "llama-imatrix", "-m", model, "-f", text, "-o", out, "-c", "512", "-ngl", "0"]
        run([*words, "--no-ppl", "--chunks", _CHUNKS], "llama-imatrix")

    def rows(self, model: Path, texts: dict[str, list[int]]) -> Iterator[tuple[str, Iterator[Any]]]:
        """Each text's logits after each token but the last, float32 [V], in llama.cpp's own runtime."""
        os.environ["LLAMA_CPP_LIB_PATH"] = str(self._bin)
        if str(self._source) not in sys.path:
            sys.path.append(str(self._source))
        try:
            binding = importlib.import_module("llama_cpp")
        except ImportError as error:
            raise LackingError(
                f"llama.cpp's binding can't be imported: {error}", hint="pip install diskcache"
            ) from error
        loaded = binding.Llama(str(model), n_ctx=512, logits_all=True, verbose=False, n_gpu_layers=0)
        try:
            for name, ids in texts.items():
                loaded.reset()
                loaded.eval(ids[:-1])
                yield name, iter(loaded.scores[: len(ids) - 1])
        finally:
            loaded.close()


def calibration_text(out: Path) -> Path:
    """Writes the text that our own recipes are calibrated on."""
    from gemcut.calibrate.text_segments import shipped_text

    out.write_text("\n\n".join(shipped_text().parts), encoding="utf-8")
    return out


def files(llama: LlamaCpp, source: Path, folder: Path, ways: Sequence[Way] = WAYS) -> Iterator[tuple[Way, Path]]:
    """Each way's file, one at a time: it is deleted when the next is asked for."""
    llama.build()
    plain, imatrix = folder / "f32.gguf", folder / "imatrix.gguf"
    llama.quantize(source, plain, Way("F32"), None)  # exact, and what AVX2 multiplies fastest
    llama.imatrix(plain, calibration_text(folder / "calibration.txt"), imatrix)
    for way in ways:
        out = folder / "quantized.gguf"
        llama.quantize(plain, out, way, imatrix)
        yield way, out
        out.unlink()
