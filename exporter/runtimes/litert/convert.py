"""From signatures to a skeleton: a ``.tflite`` whose matrices are still inputs, so a few megabytes at any model size."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

from ...stages import Progress
from .program import Signature


def convert(signatures: Sequence[Signature], out: Path, progress: Progress) -> None:
    """Converts signatures through litert-torch and writes the skeleton.

    Args:
        signatures: from ``program.make_signatures``.
        out: where the ``.tflite`` goes.
        progress: told of each step.
    """
    import litert_torch

    converter = litert_torch.Converter()
    for signature in signatures:
        converter.add_signature(signature.name, signature.module, sample_kwargs=signature.inputs)
    names = ", ".join(signature.name for signature in signatures)
    progress.update(0, 2, f"converting {names}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = converter.convert()
    progress.update(1, 2, "writing the skeleton")
    model.export(str(out))
