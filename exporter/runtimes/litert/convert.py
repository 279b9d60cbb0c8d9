"""From signatures to a skeleton: a ``.tflite`` whose matrices are still inputs, small at any model size."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ...util.progress import Progress
from .signatures import Signature

_TFL_DECOMPOSITIONS = "LITERT_TORCH_FULL_TFL_DECOMPS"  # litert-torch 0.10, backend/export.py


@contextmanager
def _lowered_to_tfl(wanted: bool) -> Iterator[None]:
    """Makes litert-torch lower to TensorFlow Lite's operators directly: the others take no dynamic sizes."""
    before = os.environ.get(_TFL_DECOMPOSITIONS)
    if wanted:
        os.environ[_TFL_DECOMPOSITIONS] = "1"
    try:
        yield
    finally:
        if wanted and before is None:
            del os.environ[_TFL_DECOMPOSITIONS]


def convert(signatures: Sequence[Signature], out: Path, progress: Progress) -> None:
    """Convert signatures with litert-torch and write the skeleton.

    Args:
        signatures: From ``program.make_signatures``.
        out: Where the ``.tflite`` goes.
        progress: Told of each step.
    """
    import litert_torch

    converter = litert_torch.Converter()
    for signature in signatures:
        converter.add_signature(
            signature.name, signature.module, sample_kwargs=signature.inputs, dynamic_shapes=signature.dynamic
        )
    names = ", ".join(signature.name for signature in signatures)
    progress.update(0, 2, f"converting {names}")
    with warnings.catch_warnings(), _lowered_to_tfl(any(signature.dynamic for signature in signatures)):
        warnings.simplefilter("ignore")
        model = converter.convert()
    progress.update(1, 2, "writing the skeleton")
    out.write_bytes(model.model_content())  # its own writer ends the process if the disk is full
