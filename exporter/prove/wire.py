"""What a golden runner reads and writes: one order with all goldens, and one result.

A golden runner is a command with three verbs, on every device and for every runtime:

``facts``
    prints one JSON object: ``kernels``, ``backends`` (names), ``version``, ``features`` (of the CPU), where known.
``run PROGRAM ORDER RESULT THREADS``
    opens the program, runs the goldens as ``prove.run`` does (what comes before the first scored position in chunks,
    then token by token; a reply greedily, equal logits to the lower id), writes the result, and prints one JSON object:
    ``load``, ``prefill`` and ``decode`` (seconds), ``tokens`` and ``steps`` (how many), and memory as
    ``util.process_memory.MemoryUse`` has it. Where it can't, it exits with 1 and prints ``{"error": text, "code":
    number}``, the runtime's own number or 0.
``bench PROGRAM THREADS CHUNK DEPTH PROMPTS GENERATIONS``
    opens the program, warms up, feeds prompts of these lengths (``128,512``; ``-`` for none) in chunks, and after
    ``DEPTH`` tokens single steps of these numbers; ends as ``run`` does, and prints what ``runtimes.runs.Run`` has,
    with ``threads``: how many there were, or 0 if it can't say.

Both files are little-endian, 32-bit integers and floats, so that a C program without a library can read them::

    order:   "GCORDER1" goldens chunk context stops stop[stops]
             then for each golden: prompt ids first rows width most id[ids] top[rows * width]
    result:  "GCRESULT" goldens
             then for each golden: logprob[rows * width] target[rows] top1[rows] reply reply_id[reply]

chunk: tokens of one prefill call at most. prompt: how many of the ids are the prompt's. first: the first scored
position; row r scores position first + r. most: tokens that a reply may have, its stop included.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ConformanceError
from .golden import Golden, Recorded, strip_stop
from .run import reply_budget

ORDER_MAGIC = b"GCORDER1"
RESULT_MAGIC = b"GCRESULT"


def last_object(text: str) -> dict[str, Any]:
    """Return the last line of a golden runner's stdout that is a JSON object; empty if there is none."""
    for line in reversed(text.splitlines()):
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict):
            return found
    return {}


def write_order(
    goldens: Sequence[Golden],
    chunk: int,
    context: int,
    stop_ids: Iterable[int],
    path: Path,
    host: Sequence[Recorded] = (),
) -> None:
    """Writes an order for all goldens.

    Args:
        goldens: What to run.
        chunk: Tokens of one prefill call at most.
        context: Tokens that the program's cache holds.
        stop_ids: Ids that end a reply.
        path: Where to.
        host: What the exporting machine recorded: a reply that its budget cut short there is cut at the same place.
    """
    stops = sorted(set(stop_ids))
    lengths = [len(one.greedy_ids) if not one.ended else None for one in host] or [None] * len(goldens)
    parts: list[Sequence[int] | npt.NDArray[np.int32]] = [[len(goldens), chunk, context, len(stops)], stops]
    for golden, length in zip(goldens, lengths, strict=True):
        rows, width = golden.topk_ids.shape
        most = reply_budget(golden, context) if length is None else length
        parts += [[len(golden.prompt_ids), len(golden.ids), golden.first, rows, width, most]]
        parts += [golden.ids, golden.topk_ids.reshape(-1)]
    path.write_bytes(ORDER_MAGIC + np.concatenate([np.asarray(part, "<i4") for part in parts]).tobytes())


class _Reader:
    def __init__(self, data: bytes, name: str) -> None:
        self._data, self._at, self._name = data, len(RESULT_MAGIC), name
        if not data.startswith(RESULT_MAGIC):
            raise ConformanceError(f"{name} is no result of a golden runner")

    def take(self, kind: str, count: int) -> npt.NDArray[np.generic]:
        end = self._at + 4 * count
        if count < 0 or end > len(self._data):
            raise ConformanceError(f"{self._name} is truncated", hint="the device lost it, or its disk is full")
        found = np.frombuffer(self._data, kind, count, self._at)
        self._at = end
        return found

    def integer(self) -> int:
        return int(self.take("<i4", 1)[0])

    def done(self) -> None:
        if self._at != len(self._data):
            raise ConformanceError(f"{self._name} has {len(self._data) - self._at} bytes too many")


def read_result(
    path: Path, goldens: Sequence[Golden], stop_ids: Iterable[int], decode: Callable[[Sequence[int]], str]
) -> tuple[Recorded, ...]:
    """Reads what a golden runner wrote.

    Args:
        path: The result's file.
        goldens: The order's.
        stop_ids: Ids that end a reply.
        decode: Text of token ids, special tokens included.

    Raises:
        ConformanceError: It is truncated, or of another order.
    """
    reader, stops = _Reader(path.read_bytes(), path.name), frozenset(stop_ids)
    if (count := reader.integer()) != len(goldens):
        raise ConformanceError(f"{path.name} is of {count} goldens, not of {len(goldens)}")
    found = []
    for golden in goldens:
        rows, width = golden.topk_ids.shape
        logprobs = reader.take("<f4", rows * width).reshape(rows, width).astype(np.float32)
        targets = reader.take("<f4", rows).astype(np.float32)
        top1 = reader.take("<i4", rows).astype(np.int32)
        reply = tuple(int(token) for token in reader.take("<i4", reader.integer()))
        words, ended = strip_stop(reply, stops)
        found.append(Recorded(logprobs, targets, top1, reply, decode(words), ended))
    reader.done()
    return tuple(found)
