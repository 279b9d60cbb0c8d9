"""The Python reference runner: a ``.tflite`` in LiteRT's own Interpreter, fed as LiteRT-LM's engine feeds it.

The program may lie inside a ``.litertlm``: it is then read from there, at its offset, and not unpacked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import ConformanceError, LackingError
from ...prove.runner import Method, TensorSpec
from ...util.arrays import Array, FloatArray
from ...util.platform import host_threads
from .signature_names import CACHE_PREFIX, DECODE, DYNAMIC_PREFILL, PREFILL

# The engine fills masked places with -0.7 times float32's largest number; any number far below zero will do.
_MASKED = np.float32(-1.0e9)


def chunks(count: int, lengths: Sequence[int]) -> list[int]:
    """Cut a prompt as the engine does: as many of the longest as fit, the rest by the next shorter, and so on.

    Args:
        count: Tokens of the prompt.
        lengths: Lengths of the prefill signatures.

    Returns:
        Tokens of each call; only the last may be shorter than a signature.
    """
    parts: list[int] = []
    for length in sorted(lengths, reverse=True):
        parts += [length] * (count // length)
        count %= length
    return [*parts, count] if count else parts


class LiteRTProgram:
    """A loaded program, signature by signature (see ``prove.runner.LoadedProgram``).

    Args:
        program: A ``.tflite`` or a ``.litertlm``.
        threads: Threads of XNNPACK; None for ``host_threads``.

    Raises:
        ConformanceError: The runtime refuses the program.
        LackingError: The runtime isn't installed.
    """

    def __init__(self, program: Path, threads: int | None = None) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            from ...util.packages import install_command

            raise LackingError(
                f"LiteRT's runtime can't be imported: {error}.", hint=install_command("litert")
            ) from error
        self.name = program.name
        self._content = _content(program)
        try:
            self._interpreter = Interpreter(model_content=self._content, num_threads=threads or host_threads())
            self.signatures = list(self._interpreter.get_signature_list())
        except (ValueError, RuntimeError) as error:
            raise self.refused(error) from error
        self._runners: dict[str, Any] = {}

    def refused(self, error: Exception) -> ConformanceError:
        """Return the error that reports a refusal by the runtime."""
        return ConformanceError(
            f"LiteRT refuses {self.name}: {error}",
            hint="The file is damaged, or needs a kernel that this runtime lacks. "
            "Check the bundle's hashes with 'gemcut validate'.",
        )

    def signature(self, name: str) -> Any:
        """Return LiteRT's own ``SignatureRunner``.

        Raises:
            ConformanceError: The program has no signature of that name, or the runtime refuses it.
        """
        if name not in self._runners:
            try:
                self._runners[name] = self._interpreter.get_signature_runner(name)
            except (ValueError, RuntimeError) as error:
                raise self.refused(error) from error
        return self._runners[name]

    @property
    def methods(self) -> Mapping[str, Method]:
        """See ``prove.runner.LoadedProgram``."""
        return {name: _described(name, self.signature(name)) for name in self.signatures}

    def call(self, method: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """See ``prove.runner.LoadedProgram``."""
        try:
            found: dict[str, Array] = self.signature(method)(**inputs)
        except (ValueError, RuntimeError) as error:
            raise ConformanceError(
                f"'{method}' of {self.name} failed: {error}", hint="Show the runtime's own log with --verbose."
            ) from error
        return found

    def close(self) -> None:
        """Free the program."""
        self._runners.clear()
        del self._interpreter, self._content


def _described(name: str, signature: Any) -> Method:
    def specs(details: Mapping[str, Any]) -> tuple[TensorSpec, ...]:
        return tuple(
            TensorSpec(
                key, np.dtype(each["dtype"]).name, tuple(None if n < 0 else int(n) for n in each["shape_signature"])
            )
            for key, each in details.items()
        )

    return Method(name, specs(signature.get_input_details()), specs(signature.get_output_details()))


class LiteRTRunner:
    """A loaded program with its KV cache (see ``prove.runner.Runner``).

    Args:
        program: A ``.tflite`` or a ``.litertlm``.
        threads: Threads of XNNPACK; None for ``host_threads``.
        context: The most tokens that the program holds; None for what its container says, or its mask has slots for.

    Raises:
        ConformanceError: The runtime refuses the program, or it lacks a signature.
    """

    def __init__(self, program: Path, threads: int | None = None, context: int | None = None) -> None:
        self._program = LiteRTProgram(program, threads)
        names = self._program.signatures
        self._decode = self._program.signature(DECODE)
        stem = PREFILL.format("")
        self._prefill = {
            int(name.removeprefix(stem)): self._program.signature(name) for name in names if name.startswith(stem)
        }
        self._dynamic = DYNAMIC_PREFILL in names
        if self._dynamic:
            self._prefill = {0: self._program.signature(DYNAMIC_PREFILL)}
        inputs, outputs = self._decode.get_input_details(), self._decode.get_output_details()
        if not self._prefill or "mask" not in inputs or "logits" not in outputs:
            raise ConformanceError(
                f"{program.name} is not a language model's program: it lacks a prefill signature, a mask, or logits.",
                hint="Export the bundle again.",
            )
        slots = int(inputs["mask"]["shape_signature"][-1])
        context = context or _context(program)
        self._slots = context or 0 if slots < 0 else slots
        if self._slots < 1:
            raise ConformanceError(
                f"{program.name} takes a cache of any length, and nothing says how long it is to be."
            )
        self.vocab_size = int(outputs["logits"]["shape"][-1])
        self.prefill_chunk = max(self._prefill) or self._slots
        # A prefill writes as many rows as its signature has; past this position even the shortest's don't fit.
        most = self._slots - max(0, min(self._prefill) - 1)
        self.max_context = min(context or most, most)
        self._caches = {
            name: np.zeros([self._slots if size < 0 else size for size in detail["shape_signature"]], detail["dtype"])
            for name, detail in inputs.items()
            if name.startswith(CACHE_PREFIX)
        }

    def prefill(self, ids: Sequence[int], position: int) -> FloatArray:
        """See ``prove.runner.Runner``. The very last token goes through ``decode``, because prefill gives no logits."""
        if not ids:
            raise ValueError("nothing to prefill")
        end = 0
        for part in [len(ids)] if self._dynamic else chunks(len(ids), list(self._prefill)):
            begin, end = max(0, end - 1), end + part
            if end - 1 > begin:  # The engine keeps each part's last token back for the next call.
                self._feed(list(ids[begin : end - 1]), position + begin)
        return self.step(ids[-1], position + len(ids) - 1)

    def _feed(self, ids: list[int], position: int) -> None:
        signature = 0 if self._dynamic else min(n for n in self._prefill if n >= len(ids))
        length = signature or len(ids)
        tokens, places = np.zeros((1, length), np.int32), np.zeros(length, np.int32)
        tokens[0, : len(ids)] = ids
        places[: len(ids)] = np.arange(position, position + len(ids))
        self._caches = self._call(self._prefill[signature], tokens, places, len(ids))

    def step(self, token: int, position: int) -> FloatArray:
        """See ``prove.runner.Runner``."""
        found = self._call(self._decode, np.array([[token]], np.int32), np.array([position], np.int32), 1)
        logits: FloatArray = found.pop("logits")
        self._caches = found
        return logits.reshape(-1)

    def _call(
        self, signature: Any, tokens: npt.NDArray[np.int32], places: npt.NDArray[np.int32], count: int
    ) -> dict[str, FloatArray]:
        if places[count - 1] >= self.max_context:
            raise ConformanceError(
                f"position {places[count - 1]} is past the program's context of {self.max_context} tokens",
                hint="Export with a larger --context.",
            )
        mask = np.full((1, 1, len(places), self._slots), _MASKED, np.float32)
        for row in range(count):
            mask[0, 0, row, : places[row] + 1] = 0.0
        try:
            found: dict[str, FloatArray] = signature(tokens=tokens, input_pos=places, mask=mask, **self._caches)
        except (ValueError, RuntimeError) as error:
            raise ConformanceError(
                f"The program failed at position {places[0]} with {count} tokens: {error}",
                hint="Show the runtime's own log with --verbose.",
            ) from error
        return found

    def close(self) -> None:
        """Free the program and its cache."""
        del self._decode, self._prefill, self._caches
        self._program.close()


def _context(program: Path) -> int | None:
    """Tokens that fit by the container's metadata, prompt and reply together; None for a bare program."""
    if program.suffix == ".tflite" or not program.is_file():
        return None
    from google.protobuf.message import DecodeError
    from litert_lm_builder.runtime.proto import llm_metadata_pb2

    from ...formats.litertlm import LLM_METADATA, find_section, mapped

    try:
        stated = llm_metadata_pb2.LlmMetadata.FromString(bytes(mapped(program, find_section(program, LLM_METADATA))))
    except DecodeError as error:
        raise ConformanceError(
            f"{program.name}: its {LLM_METADATA} section is damaged: {error}", hint="Export the bundle again."
        ) from error
    return stated.max_num_tokens or None


def _content(program: Path) -> bytes:
    """The ``.tflite`` as bytes: the Interpreter takes no other buffer (ai-edge-litert 2.3)."""
    from ...formats.litertlm import mapped, program_section

    if not program.is_file():
        raise ConformanceError(f"{program} is missing.", hint="Export the bundle again.")
    if program.suffix == ".tflite":
        return program.read_bytes()
    return bytes(mapped(program, program_section(program)))
