"""Tensors in files instead of in memory.

A page that is mapped from a file is written out and dropped when the system needs room, so that large intermediate
results cost disk and not memory. The files have no name once they are mapped: they are gone with the last tensor in
them, however the process ends.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

# Bytes; below, a tensor costs less in memory than a file of its own.
SMALLEST = 1 << 20


class Scratch:
    """A maker of tensors in the files of a folder.

    Args:
        folder: Where the files go; on a disk, because files on a tmpfs are memory.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def empty(self, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        """Return a contiguous tensor of zeros, to be filled; small ones are in memory.

        Args:
            shape: The tensor's shape.
            dtype: Its dtype.

        Raises:
            OSError: The disk is full.
        """
        elements = math.prod(shape)
        nbytes = elements * dtype.itemsize
        if nbytes < SMALLEST:
            return torch.zeros(tuple(shape), dtype=dtype)
        handle, name = tempfile.mkstemp(prefix="tensor-", dir=self.folder)
        try:
            os.posix_fallocate(handle, 0, nbytes)  # otherwise a full disk would kill the process as it writes
            tensor = torch.from_file(name, shared=True, size=elements, dtype=dtype)
        finally:
            os.close(handle)
            os.unlink(name)
        return tensor.view(tuple(shape))

    def kept(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return a copy of ``tensor`` [...] in a file; a small one is returned as it is."""
        if tensor.nbytes < SMALLEST:
            return tensor
        return self.empty(tensor.shape, tensor.dtype).copy_(tensor)


class InMemory(Scratch):
    """A maker of tensors in memory, for code that takes a ``Scratch``."""

    def __init__(self) -> None:
        super().__init__(Path())

    def empty(self, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        """Return a contiguous tensor of zeros, to be filled."""
        return torch.zeros(tuple(shape), dtype=dtype)
