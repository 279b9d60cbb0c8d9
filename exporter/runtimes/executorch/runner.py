"""The Python reference runner: the packed ``.pte`` in ExecuTorch's own runtime, fed as its LLM runners feed it."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ConformanceError, LackingError
from ...prove.runner import Method, TensorSpec
from ...util.arrays import Array, FloatArray
from ...util.platform import host_threads
from .patches.runtime_alone import exporter_left_out, operator_library

# The packages whose operators the programs call: llama::* and quantized_decomposed::*.
OPERATORS = ("executorch.extension.llm.custom_ops", "executorch.kernels.quantized")


@functools.cache
def load_kernels() -> None:
    """Load the operator libraries that Gemcut's programs call, once per process.

    If torch isn't loaded yet, its OpenMP is kept to one thread: ``custom_sdpa`` multiplies through torch's BLAS,
    which would otherwise start threads inside every thread of the runtime's pool.

    Raises:
        LackingError: ExecuTorch isn't installed, or can't be imported.
    """
    if "torch" not in sys.modules:
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        import torch

        with exporter_left_out():
            import executorch.runtime  # noqa: F401  (it loads what the libraries of operators need)
        for package in OPERATORS:
            torch.ops.load_library(operator_library(package))  # type: ignore[no-untyped-call]
    except (ImportError, OSError) as error:
        from ...util.packages import install_command

        raise LackingError(
            f"ExecuTorch's runtime can't be imported: {error}.", hint=install_command("executorch")
        ) from error


def set_threads(threads: int) -> None:
    """Set the size of the runtime's process-wide thread pool."""
    from executorch.extension.pybindings import portable_lib

    portable_lib._unsafe_reset_threadpool(threads)


class ExecuTorchProgram:
    """A loaded ``.pte``, method by method (see ``prove.runner.LoadedProgram``).

    A program doesn't name its tensors, so they are called by their place: ``input_0``, ``output_0``.

    Args:
        program: The file.
        threads: Size of the runtime's process-wide thread pool; None for ``host_threads``.

    Raises:
        ConformanceError: The runtime refuses the file; the message holds the runtime's own words.
    """

    def __init__(self, program: Path, threads: int | None = None) -> None:
        load_kernels()
        from executorch.runtime import Runtime

        if not program.is_file():
            raise ConformanceError(f"{program} is missing.", hint="Export the bundle again.")
        set_threads(threads or host_threads())
        self._name = program.name
        self._loaded: dict[str, Any] = {}
        try:
            self._program = Runtime.get().load_program(program)
        except RuntimeError as error:
            raise self._refused(error) from error

    def _refused(self, error: Exception) -> ConformanceError:
        return ConformanceError(
            f"ExecuTorch refuses {self._name}: {error}",
            hint="The file is damaged, or needs a kernel that this runtime lacks. "
            "Check the bundle's hashes with 'gemcut validate'; show the runtime's own log with --verbose.",
        )

    @property
    def methods(self) -> Mapping[str, Method]:
        """See ``prove.runner.LoadedProgram``; sizes that the program leaves open are given at their largest."""
        return {name: _described(name, self.method(name).metadata) for name in sorted(self._program.method_names)}

    def method(self, name: str) -> Any:
        """Return ExecuTorch's own ``Method``, loaded on first use.

        Raises:
            ConformanceError: The program has no method of that name, or it can't be loaded.
        """
        if name not in self._loaded:
            try:
                found = self._program.load_method(name)
            except RuntimeError as error:
                raise self._refused(error) from error
            if found is None:
                raise ConformanceError(f"{self._name} has no method '{name}'.", hint="Export the bundle again.")
            self._loaded[name] = found
        return self._loaded[name]

    def call(self, method: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """See ``prove.runner.LoadedProgram``."""
        import torch

        loaded = self.method(method)
        count = loaded.metadata.num_inputs()
        try:
            values = [torch.from_numpy(np.ascontiguousarray(inputs[f"input_{index}"])) for index in range(count)]
        except KeyError as error:
            raise ConformanceError(f"'{method}' of {self._name} needs {error.args[0]}, which wasn't given.") from error
        try:
            found = loaded.execute(values)
        except RuntimeError as error:
            raise ConformanceError(
                f"'{method}' of {self._name} failed: {error}", hint="Show the runtime's own log with --verbose."
            ) from error
        return {f"output_{index}": np.array(value) for index, value in enumerate(found)}

    def close(self) -> None:
        """Free the program."""
        self._loaded.clear()
        del self._program


# ExecuTorch's scalar types by number (runtime/core/portable_type/scalar_type.h).
_NUMBERS = ("uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64")
_DTYPES = {**dict(enumerate(_NUMBERS)), 11: "bool"}


def _described(name: str, metadata: Any) -> Method:
    def spec(kind: str, index: int) -> TensorSpec:
        found = getattr(metadata, f"{kind}_tensor_meta")(index)
        return TensorSpec(f"{kind}_{index}", _DTYPES.get(found.dtype(), "unknown"), tuple(found.sizes()))

    inputs = tuple(spec("input", index) for index in range(metadata.num_inputs()))
    return Method(name, inputs, tuple(spec("output", index) for index in range(metadata.num_outputs())))


class ExecuTorchRunner:
    """A loaded text decoder with its KV cache (see ``prove.runner.Runner``)."""

    def __init__(self, program: Path, threads: int | None = None) -> None:
        self._program = ExecuTorchProgram(program, threads)
        self._forward = self._program.method("forward")
        self.prefill_chunk = int(self.constant("get_max_seq_len"))
        self.max_context = int(self.constant("get_max_context_len"))
        self.vocab_size = int(self.constant("get_vocab_size"))

    def constant(self, name: str) -> int:
        """Return the value of a constant method such as ``get_max_context_len``."""
        return int(self._program.method(name).execute([])[0])

    def _run(self, ids: Sequence[int], position: int) -> FloatArray:
        import torch

        tokens = torch.tensor([list(ids)], dtype=torch.long)
        try:
            outputs = self._forward.execute([tokens, torch.tensor([position], dtype=torch.long)])
        except RuntimeError as error:
            raise ConformanceError(
                f"The program failed at position {position} with {len(ids)} tokens: {error}",
                hint="Show the runtime's own log with --verbose.",
            ) from error
        logits = outputs[0].reshape(-1).numpy()
        return np.array(logits, dtype=np.float32)

    def prefill(self, ids: Sequence[int], position: int) -> FloatArray:
        """See ``prove.runner.Runner``; chunks as ExecuTorch's ``TextPrefiller`` does."""
        if not ids:
            raise ValueError("nothing to prefill")
        logits: FloatArray | None = None
        for first in range(0, len(ids), self.prefill_chunk):
            logits = self._run(ids[first : first + self.prefill_chunk], position + first)
        assert logits is not None
        return logits

    def step(self, token: int, position: int) -> FloatArray:
        """See ``prove.runner.Runner``."""
        return self._run([token], position)

    def close(self) -> None:
        """Free the program and its cache."""
        del self._forward
        self._program.close()
