"""Making goldens: the float model, run on every prompt.

The records themselves and their files are in ``records`` and ``golden_files``; all of it is imported from here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import CheckpointError, UsageError
from ..stages import FloatArray, Progress, Reference
from .golden_files import GOLDENS, RECORDED, load_goldens, load_recorded, save_goldens, save_recorded
from .prompts import LEAST_POSITIONS, Prompt, encode_prompt
from .records import Golden, Ids32, Recorded, log_partition, log_softmax, strip_stop
from .template import Codec

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
    """The likeliest ids of one position, equal ones by id."""
    candidates = np.argpartition(-logits, top - 1)[:top] if top < len(logits) else np.arange(len(logits))
    order = np.lexsort((candidates, -logits[candidates]))
    return candidates[order].astype(np.int32)


@dataclass(frozen=True)
class _Asked:
    """A prompt as the model sees it, and how long its reply may be."""

    prompt: Prompt
    rendered: str
    ids: list[int]
    room: int


def _ask(reference: Reference, codec: Codec, prompt: Prompt, max_new: int, context: int) -> _Asked:
    rendered, ids = encode_prompt(codec, prompt)
    if not ids:
        raise CheckpointError(f"the prompt {prompt.id!r} has no tokens", hint="look at the tokenizer")
    if max(ids) >= reference.vocab_size:
        raise CheckpointError(
            f"the tokenizer gives id {max(ids)} for the prompt {prompt.id!r}; "
            f"the model has {reference.vocab_size} embeddings",
            hint="the tokenizer is not this model's",
        )
    room = min(max_new, context - len(ids))
    if room < 1 or context < LEAST_POSITIONS + 1:
        raise UsageError(
            f"the prompt {prompt.id!r} has {len(ids)} tokens; a context of {context} has no room for it",
            hint=f"--context {max(len(ids), LEAST_POSITIONS) + max_new} or more",
        )
    return _Asked(prompt, rendered, ids, room)


def _lengthened(reference: Reference, ids: list[int]) -> list[int]:
    """The scored sequence; where it is too short, greedily on past the stop."""
    while (lacking := LEAST_POSITIONS + 1 - len(ids)) > 0:  # generate() gives at least one id.
        ids = ids + reference.generate([ids], lacking, frozenset())[0]
    return ids


def _golden(
    reference: Reference, codec: Codec, asked: _Asked, reply: list[int], stop_ids: frozenset[int], top: int
) -> tuple[Golden, FloatArray]:
    prompt, prompt_ids = asked.prompt, asked.ids
    ids = _lengthened(reference, prompt_ids + reply)
    first = min(len(prompt_ids) - 1, len(ids) - 1 - LEAST_POSITIONS)
    logits = np.asarray(reference.logits(ids[:-1], first), dtype=np.float32)
    width = min(top, logits.shape[-1])
    positions = len(ids) - 1 - first
    topk_ids = np.zeros((positions, width), np.int32)
    topk, targets = np.zeros((positions, width), np.float32), np.zeros(positions, np.float32)
    for row in range(positions):
        total = log_partition(logits[row])
        topk_ids[row] = _top(logits[row], width)
        topk[row] = logits[row][topk_ids[row]].astype(np.float64) - total
        targets[row] = float(logits[row][ids[first + 1 + row]]) - total
    if not np.isfinite(topk).all():
        raise CheckpointError(
            f"the float model's logits for the prompt {prompt.id!r} are not numbers",
            hint="the checkpoint's weights are damaged, or overflow",
        )
    words, ended = strip_stop(reply, stop_ids)
    steps = slice(len(prompt_ids) - 1 - first, len(prompt_ids) - 1 - first + len(reply))
    golden = Golden(
        prompt=prompt,
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
    return golden, logits


class LogitsFile:
    """The float model's logits of all scored positions [N, V] float32, in one file, a row after the other.

    Only for export, in the work directory: the goldens of the bundle keep 64 of each row.
    """

    def __init__(self, path: Path, vocab_size: int) -> None:
        self.path = path
        self.vocab_size = vocab_size
        self.rows = 0
        path.write_bytes(b"")

    def append(self, logits: FloatArray) -> None:
        """Adds rows [P, V] float32."""
        with self.path.open("ab") as file:
            file.write(np.ascontiguousarray(logits, dtype="<f4").tobytes())
        self.rows += len(logits)

    def open(self) -> LogitsFile:
        """The rows, read one at a time: mapped whole they would count as this process's memory."""
        return self

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, row: int) -> FloatArray:
        """Row [V] float32."""
        at = 4 * self.vocab_size * range(self.rows)[row]
        return np.fromfile(self.path, dtype="<f4", count=self.vocab_size, offset=at).astype(np.float32, copy=False)


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
    """Runs the float model on every prompt.

    Scored are the model's own greedy reply and as many of the prompt's last positions as make 32; where
    prompt and reply are shorter than that, the reply goes on past its stop.

    Args:
        reference: The float model.
        codec: Its template and tokenizer.
        prompts: What to run.
        stop_ids: Ids that end a reply.
        context: Length of the bundle's cache in tokens: no sequence gets longer.
        max_new: Length of a reply in tokens, at most.
        top: How many log-probabilities to keep of each position.
        logits: Where all the logits go, for the fidelity over the full vocabulary.
        progress: Told after each prompt.

    Raises:
        CheckpointError: If the model's logits aren't numbers, or the tokenizer isn't the model's.
        UsageError: If the context is too short.
    """
    stops = frozenset(stop_ids)
    asked = [_ask(reference, codec, prompt, max_new, context) for prompt in prompts]
    replies = reference.generate([one.ids for one in asked], max(one.room for one in asked), stops)
    found = []
    for done, (one, reply) in enumerate(zip(asked, replies, strict=True), 1):
        golden, rows = _golden(reference, codec, one, list(reply[: one.room]), stops, top)
        found.append(golden)
        if logits is not None:
            logits.append(rows)
        if progress is not None:
            progress.update(done, len(asked), one.prompt.id)
    return tuple(found)
