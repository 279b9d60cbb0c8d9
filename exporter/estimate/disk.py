"""Bytes on the disk: of a bundle, and of what lies beside it while it is made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .constants import constants

if TYPE_CHECKING:
    from .shapes import Shapes

# Files of the checkpoint that a bundle carries as they are (see ``packing``).
_CARRIED = ("tokenizer.model", "tokenizer_config.json", "special_tokens_map.json")
# Bytes; tensors and constants below lie in memory (see ``scratch`` and ExecuTorch's ``spill``).
SMALLEST_TENSOR, _SMALLEST_CONSTANT = 1 << 20, 1 << 18
_FLOAT = 4


@dataclass(frozen=True)
class Files:
    """Bytes. program: its file. bundle: all files. logits: the float model's for one row of each golden, which lie
    beside it to the end.

    lowering: tensors and constants that lie beside it while it is lowered. tokenizer_known: its size is that of the
    checkpoint's files, not guessed from the vocabulary.
    """

    program: int
    bundle: int
    logits: int
    lowering: int
    tokenizer_known: bool

    def disk(self, form: str = "dir", least: bool = False) -> int:
        """Most bytes at the output's place at once; a zip lies there beside the files that went into it.

        ``least``: where every reply of the float model is short.
        """
        goldens = constants().goldens
        return (
            self.logits * (goldens.least if least else goldens.kept)
            + self.bundle
            + max(self.lowering, self.bundle if form == "zip" else 0)
        )


def files_of(shapes: Shapes, folder: Path) -> Files:
    """The files of a model whose checkpoint, or config.json alone, lies in ``folder``."""
    known = constants().files
    program = shapes.stored + known.module * shapes.modules + known.program
    tokenizer, sure = _tokenizer(folder, shapes.vocabulary)
    goldens = constants().goldens
    bundle = program + tokenizer + known.papers + goldens.bytes * goldens.prompts * goldens.reply
    logits = goldens.prompts * shapes.vocabulary * _FLOAT
    return Files(program, bundle, logits, _lowering(shapes), sure)


def _lowering(shapes: Shapes) -> int:
    """The quantized tensors, which lie there until the program is written, and its constants."""
    tensors = sum(size for w in shapes.weights for size in w.unpacked if size >= SMALLEST_TENSOR)
    kept = sum(w.stored for w in shapes.weights if w.stored >= _SMALLEST_CONSTANT)
    return tensors + kept


def _tokenizer(folder: Path, vocabulary: int) -> tuple[int, bool]:
    known, own = constants().files, folder / "tokenizer.json"
    carried = sum((folder / name).stat().st_size for name in _CARRIED if (folder / name).is_file())
    if own.is_file():
        return int(known.compact * own.stat().st_size) + carried, True
    return known.token * vocabulary, False
