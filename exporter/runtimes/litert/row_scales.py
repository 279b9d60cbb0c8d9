"""Scales of rows that stand in a flatbuffer once, however many tensors have them.

A program has a tensor for each use of a table in each signature. Scale and zero point of a row take 12 bytes, so that
those of the embedding and the head of Gemma 3 270M, 262,144 rows, would take 25 MB of a program with four signatures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def written_once(scales: npt.NDArray[np.float32]) -> Any:
    """Return quantization parameters that are packed once into a flatbuffer; later tensors refer to the same ones.

    References in a flatbuffer are offsets, and several may lead to one table
    (https://flatbuffers.dev/internals/#format-components).

    Args:
        scales: The scale of each row, float32 [rows]; zero points are 0.
    """
    import numpy as np
    from ai_edge_litert import schema_py_generated as schema

    class WrittenOnce(schema.QuantizationParametersT):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self._packed: tuple[Any, int] | None = None

        def Pack(self, builder: Any) -> int:
            if self._packed is None or self._packed[0] is not builder:
                self._packed = builder, super().Pack(builder)
            return self._packed[1]

    found = WrittenOnce()
    found.quantizedDimension = 0
    found.scale, found.zeroPoint = scales, np.zeros(len(scales), dtype=np.int64)
    return found
