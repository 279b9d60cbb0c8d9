"""Generation of goldens: the float model, run on every prompt.

The records themselves and their files are in ``golden`` and ``golden_files``; all of it can be imported from here.
"""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import CheckpointError, UsageError
from ..prompt.chats import Prompt, encode_prompt
from ..prompt.codec import Codec
from ..reference.greedy import Decoded, DecodeRequest, Sink
from ..reference.oracle import Reference
from ..util.arrays import FloatArray
from ..util.progress import Progress
from .golden import Golden, Ids32, Recorded, log_partition, log_softmax, strip_stop
from .golden_files import GOLDENS, RECORDED, load_goldens, load_recorded, save_goldens, save_recorded
from .prompts import LEAST_POSITIONS
from .run import EXPECTED_NEW

__all__ = [
    "GOLDENS",
    "MAX_NEW",
    "RECORDED",
    "TOP",
    "Golden",
    "Ids32",
    "LogitsFile",
    "Recorded",
    "load_goldens",
    "load_recorded",
    "log_softmax",
    "make_goldens",
    "save_goldens",
    "save_recorded",
    "strip_stop",
]

TOP = 64
MAX_NEW = 48


def _top(logits: FloatArray, top: int) -> Ids32:
    """Return the likeliest ids of one position; ids with equal logits are ordered by id."""
    candidates = np.argpartition(-logits, top - 1)[:top] if top < len(logits) else np.arange(len(logits))
    order = np.lexsort((candidates, -logits[candidates]))
    return candidates[order].astype(np.int32)


@dataclass(frozen=True)
class _Asked:
    """A prompt as the model sees it.

    Attributes:
        prompt: The prompt.
        rendered: Its text.
        ask: Its token ids, and how long the reply may be.
    """

    prompt: Prompt
    rendered: str
    ask: DecodeRequest


def _ask(reference: Reference, codec: Codec, prompt: Prompt, max_new: int, context: int) -> _Asked:
    rendered, ids = encode_prompt(codec, prompt)
    if not ids:
        raise CheckpointError(f"the prompt {prompt.id!r} has no tokens", hint="check the checkpoint's tokenizer")
    if max(ids) >= reference.vocab_size:
        raise CheckpointError(
            f"the tokenizer gives id {max(ids)} for the prompt {prompt.id!r}, but "
            f"the model has only {reference.vocab_size} embeddings",
            hint="use the tokenizer that belongs to this model",
        )
    room = min(max_new if prompt.expected is None else max(max_new, EXPECTED_NEW), context - len(ids))
    if room < 1 or context < LEAST_POSITIONS + 1:
        raise UsageError(
            f"the prompt {prompt.id!r} has {len(ids)} tokens, which don't fit in a context of {context}",
            hint=f"use --context {max(len(ids), LEAST_POSITIONS) + max_new} or more",
        )
    return _Asked(prompt, rendered, DecodeRequest(tuple(ids), room, LEAST_POSITIONS))


def _golden(
    codec: Codec,
    asked: _Asked,
    followed: Decoded,
    rows: Callable[[int], FloatArray],
    stop_ids: frozenset[int],
    top: int,
) -> Golden:
    prompt_ids, ids, reply = asked.ask.ids, followed.ids, followed.reply
    first, positions = _scored(len(prompt_ids), len(ids))
    width = min(top, rows(0).shape[-1])
    topk_ids = np.zeros((positions, width), np.int32)
    topk, targets = np.zeros((positions, width), np.float32), np.zeros(positions, np.float32)
    for row in range(positions):
        logits = rows(row)
        total = log_partition(logits)
        topk_ids[row] = _top(logits, width)
        topk[row] = logits[topk_ids[row]].astype(np.float64) - total
        targets[row] = float(logits[ids[first + 1 + row]]) - total
    if not np.isfinite(topk).all():
        raise CheckpointError(
            f"the float model's logits for the prompt {asked.prompt.id!r} are not numbers",
            hint="check the checkpoint's weights: they are damaged, or overflow",
        )
    words, ended = strip_stop(reply, stop_ids)
    steps = slice(len(prompt_ids) - 1 - first, len(prompt_ids) - 1 - first + len(reply))
    return Golden(
        prompt=asked.prompt,
        rendered=asked.rendered,
        prompt_ids=tuple(prompt_ids),
        ids=tuple(ids),
        first=first,
        topk_ids=topk_ids,
        topk_logprobs=topk,
        target_logprobs=targets,
        greedy_ids=tuple(reply),
        greedy_text=codec.decode(words),
        ended=ended,
        margin=topk[steps, 0] - topk[steps, 1],
    )


def _scored(prompt: int, whole: int) -> tuple[int, int]:
    """Return the first scored position and how many are scored.

    They are the reply's, and as many of the prompt's as make ``LEAST_POSITIONS``.
    """
    first = min(prompt - 1, whole - 1 - LEAST_POSITIONS)
    return first, whole - 1 - first


class LogitsFile:
    """The float model's logits of all scored positions [N, V] float32, in a file for each golden.

    They are only for export, in the work directory: the goldens of the bundle keep 64 of each row. A file holds the
    rows from the ask's ``start`` on; which of them are scored is known once the reply is.

    Args:
        folder: Where the files are; it is created if it doesn't exist.
        vocab_size: V.
    """

    def __init__(self, folder: Path, vocab_size: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.vocab_size = vocab_size
        self._rows: list[tuple[int, int]] = []  # golden and row in its file, by number

    @classmethod
    def of(cls, folder: Path, vocab_size: int, goldens: Iterable[Golden]) -> LogitsFile:
        """Return the rows that ``make_goldens`` left in ``folder`` with these goldens."""
        file = cls(folder, vocab_size)
        for number, golden in enumerate(goldens):
            ask = DecodeRequest(golden.prompt_ids, 0, LEAST_POSITIONS)
            file.score(number, golden.first - ask.start, golden.positions)
        return file

    def put(self, golden: int, row: int, logits: FloatArray) -> None:
        """Keep rows [P, V] float32 as row ``row`` and the following rows of golden number ``golden``."""
        handle = os.open(self._path(golden), os.O_WRONLY | os.O_CREAT, 0o644)
        with os.fdopen(handle, "wb") as file:  # opened like this, the file isn't emptied
            file.seek(4 * self.vocab_size * row)
            file.write(np.ascontiguousarray(logits, dtype="<f4").tobytes())

    def score(self, golden: int, row: int, count: int) -> None:
        """Take ``count`` rows of a golden from ``row`` on as the next scored ones."""
        self._rows += [(golden, row + each) for each in range(count)]

    def open(self) -> LogitsFile:
        """Return the rows, read one at a time: mapped whole they would count as this process's memory."""
        return self

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, row: int) -> FloatArray:
        """Return a row [V] float32."""
        golden, at = self._rows[row]
        rows = np.fromfile(self._path(golden), "<f4", count=self.vocab_size, offset=4 * self.vocab_size * at)
        return rows.astype(np.float32, copy=False)

    def _path(self, golden: int) -> Path:
        return self.folder / f"{golden:04d}.f32"


def make_goldens(
    reference: Reference,
    codec: Codec,
    prompts: Sequence[Prompt],
    stop_ids: Iterable[int],
    context: int,
    max_new: int = MAX_NEW,
    top: int = TOP,
    logits: LogitsFile | None = None,
    progress: Progress | None = None,
) -> tuple[Golden, ...]:
    """Run the float model on every prompt.

    The model's own greedy reply is scored, and as many of the prompt's last positions as make 32; if prompt and
    reply are shorter than that, the reply goes on past its stop.

    Args:
        reference: The float model.
        codec: Its template and tokenizer.
        prompts: What to run.
        stop_ids: The ids that end a reply.
        context: Length of the bundle's cache in tokens; no sequence gets longer.
        max_new: Greatest length of a reply in tokens.
        top: How many log-probabilities to keep of each position.
        logits: Where all the logits stay, for the fidelity over the full vocabulary; None drops them.
        progress: Told how much is done.

    Raises:
        CheckpointError: If the model's logits aren't numbers, or the tokenizer isn't the model's.
        UsageError: If the context is too short.
    """
    asked = [_ask(reference, codec, prompt, max_new, context) for prompt in prompts]
    with tempfile.TemporaryDirectory(prefix="gemcut-") as dropped:
        kept = LogitsFile(Path(dropped), reference.vocab_size) if logits is None else logits
        return tuple(_followed(reference, codec, asked, frozenset(stop_ids), top, kept, progress))


def _followed(
    reference: Reference,
    codec: Codec,
    asked: Sequence[_Asked],
    stop_ids: frozenset[int],
    top: int,
    logits: LogitsFile,
    progress: Progress | None,
) -> Iterator[Golden]:
    sinks = [_sink(logits, number, one.ask) for number, one in enumerate(asked)]
    followed = reference.decode([one.ask for one in asked], stop_ids, sinks, progress)
    for number, (one, found) in enumerate(zip(asked, followed, strict=True)):
        before = len(logits)
        first, positions = _scored(len(one.ask.ids), len(found.ids))
        logits.score(number, first - one.ask.start, positions)
        yield _golden(codec, one, found, functools.partial(_row, logits, before), stop_ids, top)


def _row(logits: LogitsFile, before: int, row: int) -> FloatArray:
    return logits[before + row]


def _sink(logits: LogitsFile, number: int, ask: DecodeRequest) -> Sink:
    return lambda position, rows: logits.put(number, position - ask.start, rows)
