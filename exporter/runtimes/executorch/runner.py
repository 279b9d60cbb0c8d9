"""The Python reference runner: the packed ``.pte`` in ExecuTorch's own runtime, fed as its LLM runners feed it."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...errors import ConformanceError, LackingError
from ...util.arrays import FloatArray


@functools.cache
def load_kernels() -> None:
    """Loads the operator libraries that programs of ours call, once per process.

    Where torch isn't loaded yet its OpenMP is kept to one thread: ``custom_sdpa`` multiplies through torch's BLAS,
    which would otherwise start threads inside every thread of the runtime's pool.
    """
    if "torch" not in sys.modules:
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        import executorch.extension.llm.custom_ops.custom_ops
        import executorch.kernels.quantized  # noqa: F401  (registers quantized_decomposed::*)
    except ImportError as error:
        raise LackingError(
            f"ExecuTorch's runtime can't be imported: {error}.", hint="pip install 'gemcut[executorch]'"
        ) from error


def set_threads(threads: int) -> None:
    """Sets the size of the runtime's process-wide thread pool."""
    from executorch.extension.pybindings import portable_lib

    portable_lib._unsafe_reset_threadpool(threads)


class ExecuTorchRunner:
    """A loaded program with its KV cache (see ``prove.runner.Runner``)."""

    def __init__(self, program: Path, threads: int | None = None) -> None:
        load_kernels()
        from executorch.runtime import Runtime

        if not program.is_file():
            raise ConformanceError(f"{program} is missing.", hint="Export the bundle again.")
        set_threads(threads or len(os.sched_getaffinity(0)))
        try:
            self._program = Runtime.get().load_program(program)
            method = self._program.load_method("forward")
        except RuntimeError as error:
            raise ConformanceError(
                f"ExecuTorch refuses {program.name}: {error}",
                hint="The file is damaged, or needs a kernel this runtime lacks. "
                "'gemcut validate' checks the bundle's hashes; --verbose shows the runtime's own log.",
            ) from error
        if method is None:
            raise ConformanceError(f"{program.name} has no method 'forward'.", hint="Export the bundle again.")
        self._forward = method
        self.prefill_chunk = int(self.constant("get_max_seq_len"))
        self.max_context = int(self.constant("get_max_context_len"))
        self.vocab_size = int(self.constant("get_vocab_size"))

    def constant(self, name: str) -> int:
        """The value of a constant method such as ``get_max_context_len``."""
        method = self._program.load_method(name)
        if method is None:
            raise ConformanceError(f"The program has no method '{name}'.", hint="Export the bundle again.")
        return int(method.execute([])[0])

    def _run(self, ids: Sequence[int], position: int) -> FloatArray:
        import torch

        tokens = torch.tensor([list(ids)], dtype=torch.long)
        try:
            outputs = self._forward.execute([tokens, torch.tensor([position], dtype=torch.long)])
        except RuntimeError as error:
            raise ConformanceError(
                f"The program failed at position {position} with {len(ids)} tokens: {error}",
                hint="--verbose shows the runtime's own log.",
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
        """Frees the program and its cache."""
        del self._forward, self._program
