"""Running of a bundle on the goldens: teacher-forced for the figures, and greedily for what a user would see."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import numpy as np

from ..errors import ConformanceError
from ..util.arrays import FloatArray
from ..util.progress import Progress
from .golden import Golden, Ids32, Recorded, log_partition, strip_stop
from .runner import Runner

SLACK = 16
EXPECTED_NEW = 256  # most tokens of a reply that is held against an expected answer, which may be a long one


class RowSink(Protocol):
    """Takes each row of logits as it comes; ``FullFidelity`` is one."""

    def row(self, golden: int, row: int, logits: FloatArray) -> None:
        """Take the logits [V] float32 of scored position ``row`` of golden number ``golden``."""


def reply_budget(golden: Golden, context: int) -> int:
    """Return how many tokens the bundle may reply with.

    If the float model's reply stopped, twice its length and 16 more, so that a reply that quantization made a little
    longer still finds its stop; otherwise as many as the float model's. Where an answer is expected, 256 at least: the
    float model may not be the one who gives it.
    """
    wanted = 2 * len(golden.greedy_ids) + SLACK if golden.ended else len(golden.greedy_ids)
    asked = wanted if golden.prompt.expected is None else max(wanted, EXPECTED_NEW)
    return max(0, min(asked, context - len(golden.prompt_ids)))


def greedy(runner: Runner, ids: Sequence[int], max_new: int, stop_ids: frozenset[int]) -> list[int]:
    """Return the runner's greedy reply, with the stop id if it was reached; equal logits go to the lower id."""
    reply: list[int] = []
    if max_new < 1:
        return reply
    logits = runner.prefill(ids, 0)
    while True:
        token = int(np.argmax(logits))
        reply.append(token)
        if token in stop_ids or len(reply) >= max_new:
            return reply
        logits = runner.step(token, len(ids) + len(reply) - 1)


def _checked(logits: FloatArray, golden: Golden) -> FloatArray:
    largest = max(int(golden.topk_ids.max()), max(golden.ids))
    if logits.ndim != 1 or len(logits) <= largest:
        raise ConformanceError(
            f"the program gives logits of shape {list(logits.shape)}, but the goldens name token {largest}",
            hint="copy or export the bundle again: program and goldens are from different models",
        )
    return logits


def _forced(runner: Runner, golden: Golden, number: int, sink: RowSink | None) -> tuple[FloatArray, FloatArray, Ids32]:
    """Feed the scored sequence; return logprobs [P, K], target logprobs [P] and likeliest ids [P]."""
    count, width = golden.topk_ids.shape
    logprobs, targets = np.zeros((count, width), np.float32), np.zeros(count, np.float32)
    top1 = np.zeros(count, np.int32)
    for row in range(count):
        at = golden.first + row
        logits = runner.prefill(golden.ids[: at + 1], 0) if row == 0 else runner.step(golden.ids[at], at)
        total = log_partition(_checked(logits, golden))
        logprobs[row] = logits[golden.topk_ids[row]].astype(np.float64) - total
        targets[row] = float(logits[golden.ids[at + 1]]) - total
        top1[row] = np.argmax(logits)
        if sink is not None:
            sink.row(number, row, logits)
    return logprobs, targets, top1


def run_bundle(
    runner: Runner,
    goldens: Sequence[Golden],
    stop_ids: Iterable[int],
    decode: Callable[[Sequence[int]], str],
    sink: RowSink | None = None,
    progress: Progress | None = None,
) -> tuple[Recorded, ...]:
    """Run every golden through the bundle. No more than one row of logits is kept at a time.

    Args:
        runner: The packed program.
        goldens: What to run.
        stop_ids: The ids that end a reply.
        decode: Returns the text of token ids, special tokens included.
        sink: Takes each scored position's logits.
        progress: Told after each golden.

    Raises:
        ConformanceError: If the program isn't for these goldens: it has another vocabulary, or too short a cache.
    """
    stops = frozenset(stop_ids)
    found = []
    for number, golden in enumerate(goldens):
        if len(golden.ids) - 1 > runner.max_context:
            raise ConformanceError(
                f"the golden {golden.prompt.id!r} has {len(golden.ids)} tokens, but the program's cache holds only "
                f"{runner.max_context}",
                hint="copy or export the bundle again: program and goldens are from different exports",
            )
        logprobs, targets, top1 = _forced(runner, golden, number, sink)
        reply = greedy(runner, golden.prompt_ids, reply_budget(golden, runner.max_context), stops)
        words, ended = strip_stop(reply, stops)
        found.append(Recorded(logprobs, targets, top1, tuple(reply), decode(words), ended))
        if progress is not None:
            progress.update(number + 1, len(goldens), golden.prompt.id)
    return tuple(found)
