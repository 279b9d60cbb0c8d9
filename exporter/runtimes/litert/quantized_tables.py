"""Matrices as LiteRT stores them, quantized a few rows at a time so that none is in memory twice.

int4 values lie two to a byte, the even one in the low half. Scales of rows are float32 in the flatbuffer; those of
groups are bfloat16 values stored as float16, in a separate buffer (ai-edge-quantizer 0.10,
transformations/quantize_tensor.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import torch

from ...quantize.methods import method_of
from ...quantize.recipe import Scheme
from ...quantize.stored import StoredWeight

TYPES = {"float32": "FLOAT32", "int8": "INT8", "int4": "INT4"}
SCALE_TYPE = "FLOAT16"
_BITS = {"float32": 32, "int8": 8, "int4": 4}
_ROWS_BYTES = 1 << 25


@dataclass(frozen=True, eq=False)
class Table:
    """A matrix of the model as it goes to the file.

    Attributes:
        module: Name of the module that it belongs to.
        weight: The matrix, [rows, columns].
        scheme: How it is stored.
        scales: Index of the buffer of the groups' scales; None if there are no groups, or none was chosen yet.
        stored: What calibration has chosen; None if the scheme's method quantizes the matrix.
    """

    module: str
    weight: torch.Tensor
    scheme: Scheme
    scales: int | None = None
    stored: StoredWeight | None = None

    @property
    def key(self) -> tuple[int, int, int, str, int]:
        """Equal for two tables that are the same in the file: data pointer, rows, columns, weight type, group."""
        source = self.weight if self.stored is None else self.stored.values
        return (source.data_ptr(), self.rows, self.columns, self.scheme.weight, self.scheme.group)

    @property
    def rows(self) -> int:
        """Rows of the matrix."""
        return int(self.weight.shape[0])

    @property
    def columns(self) -> int:
        """Columns of the matrix."""
        return int(self.weight.shape[1])

    @property
    def value_bytes(self) -> int:
        """Bytes of the values in the file."""
        return (self.rows * self.columns * _BITS[self.scheme.weight] + 7) // 8

    @property
    def scale_bytes(self) -> int:
        """Bytes of the groups' scales in the file; 0 if there are no groups."""
        return 2 * self.rows * (self.columns // self.scheme.group) if self.scheme.group else 0

    @cached_property
    def _row_scales(self) -> npt.NDArray[np.float32]:
        return torch.cat([scales.reshape(-1) for _, scales in self.quantized()]).numpy()

    def row_scales(self) -> npt.NDArray[np.float32]:
        """Return the rows' scales, float32 [rows]; each pass over the matrix gives the same."""
        return self._row_scales

    def parts(self) -> list[torch.Tensor]:
        """Return the matrix a few rows at a time."""
        return list(torch.split(self.weight, self._rows_at_a_time))

    def quantized(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield values and scales a few rows at a time, as ``QuantizationMethod.quantize`` returns them."""
        if self.stored is not None:
            rows = self._rows_at_a_time
            yield from zip(torch.split(self.stored.values, rows), torch.split(self.stored.scales, rows), strict=True)
            return
        for part in self.parts():
            yield method_of(self.scheme).quantize(part, self.scheme)

    @property
    def _rows_at_a_time(self) -> int:
        return max(1, _ROWS_BYTES // (4 * self.columns))


def table_bytes(table: Table) -> int:
    """Return the bytes of a matrix in the file, scales included."""
    rows = 0 if table.scheme.weight == "float32" or table.scheme.group else 4 * table.rows
    return table.value_bytes + table.scale_bytes + rows


def write_table(file: BinaryIO, table: Table, scales: bool) -> None:
    """Write a matrix's values, or its groups' scales."""
    if table.scheme.weight == "float32":
        for part in table.parts():
            file.write(_raw(part.detach().float()))
        return
    for values, factors in table.quantized():
        if scales:
            file.write(_raw(factors.to(torch.float16)))
        elif table.scheme.weight == "int8":
            file.write(_raw(values))
        else:
            file.write(_two_to_a_byte(values).data)


def _raw(values: torch.Tensor) -> memoryview:
    array: npt.NDArray[np.uint8] = values.contiguous().numpy().reshape(-1).view(np.uint8)
    return array.data


def _two_to_a_byte(values: torch.Tensor) -> npt.NDArray[np.uint8]:
    flat: npt.NDArray[np.uint8] = values.reshape(-1).contiguous().numpy().view(np.uint8)
    pairs: npt.NDArray[np.uint8] = (flat[0::2] & np.uint8(0x0F)) | (flat[1::2] << np.uint8(4))
    return pairs
