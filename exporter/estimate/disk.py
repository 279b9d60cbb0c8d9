"""Bytes on the disk: of a bundle, and of what is beside it while it is made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .constants import constants

if TYPE_CHECKING:
    from .shapes import Shapes

# Files of the checkpoint that a bundle carries unchanged (see ``pipeline.packaging``).
_CARRIED = ("tokenizer.model", "tokenizer_config.json", "special_tokens_map.json")
# Bytes; smaller tensors and constants stay in memory (see ``util.file_tensors`` and ExecuTorch's ``spill``).
SMALLEST_TENSOR, _SMALLEST_CONSTANT = 1 << 20, 1 << 18
_FLOAT = 4


@dataclass(frozen=True)
class Files:
    """Bytes of files.

    Attributes:
        program: Bytes of the program's file.
        tokenizer: Bytes of the tokenizer's files.
        proof: Bytes of goldens and manifest.
        bundle: Bytes of all files of the bundle.
        logits: Bytes of the float model's logits for one row of each golden, which are beside the bundle to the end.
        lowering: Bytes of tensors and constants that are beside the program while it is lowered.
        tokenizer_known: Whether the tokenizer's size is that of the checkpoint's files rather than a guess from the
            vocabulary.
    """

    program: int
    tokenizer: int
    proof: int
    bundle: int
    logits: int
    lowering: int
    tokenizer_known: bool

    def disk(self, form: str = "dir", least: bool = False) -> int:
        """Return the most bytes at the output's place at once; a zip is beside the files that went into it.

        Args:
            form: 'dir' or 'zip'.
            least: Assume that every reply of the float model is short.
        """
        goldens = constants().goldens
        return (
            self.logits * (goldens.least if least else goldens.kept)
            + self.bundle
            + max(self.lowering, self.bundle if form == "zip" else 0)
        )


def files_of(shapes: Shapes, folder: Path, tokenizer_json: int | None = None) -> Files:
    """Return the bytes of a model's files.

    Args:
        shapes: The model's.
        folder: Has its checkpoint, or only config.json.
        tokenizer_json: Bytes of the bundle's tokenizer.json; None to estimate them.
    """
    known = constants().files
    program = shapes.stored + known.module * shapes.modules + known.program
    tokenizer, sure = _tokenizer(folder, shapes.vocabulary, tokenizer_json)
    goldens = constants().goldens
    proof = known.papers + goldens.bytes * goldens.prompts * goldens.reply
    logits = goldens.prompts * shapes.vocabulary * _FLOAT
    return Files(program, tokenizer, proof, program + tokenizer + proof, logits, _lowering(shapes), sure)


def _lowering(shapes: Shapes) -> int:
    """The quantized tensors, which are there until the program is written, and the program's constants."""
    tensors = sum(size for w in shapes.weights for size in w.unpacked if size >= SMALLEST_TENSOR)
    kept = sum(w.stored for w in shapes.weights if w.stored >= _SMALLEST_CONSTANT)
    return tensors + kept


def _tokenizer(folder: Path, vocabulary: int, size: int | None) -> tuple[int, bool]:
    known, own = constants().files, folder / "tokenizer.json"
    carried = sum((folder / name).stat().st_size for name in _CARRIED if (folder / name).is_file())
    if size is not None:
        return size + carried, True
    if own.is_file():
        return int(known.compact * own.stat().st_size) + carried, True
    return known.token * vocabulary, False
