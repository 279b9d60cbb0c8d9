"""Goldens: what the float model does with each prompt, and what the bundle did on the exporting host.

In all of this, position i is the one whose logits follow token ``ids[i]`` and predict ``ids[i + 1]``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import CheckpointError, ConformanceError, UsageError
from ..stages import FloatArray, Progress, Reference
from .prompts import LEAST_POSITIONS, Prompt, encode_prompt
from .template import Codec

TOP = 64
MAX_NEW = 48
GOLDENS = ("goldens/goldens.safetensors", "goldens/goldens.jsonl")
RECORDED = ("goldens/recorded.safetensors", "goldens/recorded.jsonl")
Ids32 = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Golden:
    """One prompt and what the float model makes of it. P positions are scored, P >= 32.

    rendered: the prompt's text. prompt_ids: its token ids. ids: prompt and scored continuation, its last
    id being the last target. first: the first scored position; the others follow up to ``len(ids) - 2``.
    topk_ids [P, 64] int32: the likeliest ids, likeliest first. topk_logprobs [P, 64] float32: theirs, in
    nats. target_logprobs [P] float32: those of ``ids[first + 1:]``. greedy_ids: the float model's reply, with
    the stop id if it was reached (``ended``). greedy_text: the reply without that. margin [len(greedy_ids)]
    float32: log-probability of the likeliest minus that of the second at each step of the reply, nats.
    """

    prompt: Prompt
    rendered: str
    prompt_ids: tuple[int, ...]
    ids: tuple[int, ...]
    first: int
    topk_ids: Ids32
    topk_logprobs: FloatArray
    target_logprobs: FloatArray
    greedy_ids: tuple[int, ...]
    greedy_text: str
    ended: bool
    margin: FloatArray

    @property
    def positions(self) -> int:
        """How many positions are scored: P."""
        return len(self.topk_ids)


@dataclass(frozen=True, eq=False)
class Recorded:
    """What a bundle did with one golden.

    logprobs [P, 64] float32: its log-probabilities of the float model's top-64 ids. target_logprobs [P]
    float32: of the actual next ids. top1 [P] int32: its likeliest ids. greedy_ids, greedy_text, ended: its
    reply, as in ``Golden``.
    """

    logprobs: FloatArray
    target_logprobs: FloatArray
    top1: Ids32
    greedy_ids: tuple[int, ...]
    greedy_text: str
    ended: bool


def log_softmax(logits: FloatArray) -> npt.NDArray[np.float64]:
    """Log-probabilities [..., V] float64 of logits [..., V]; not-a-number stays that."""
    wide = logits.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        wide -= wide.max(axis=-1, keepdims=True)
        wide -= np.log(np.exp(wide).sum(axis=-1, keepdims=True))
    return wide


def strip_stop(ids: Sequence[int], stop_ids: Iterable[int]) -> tuple[list[int], bool]:
    """A reply without its stop id, and whether it ended with one."""
    ended = bool(ids) and ids[-1] in set(stop_ids)
    return list(ids[:-1] if ended else ids), ended


def _top(logprobs: npt.NDArray[np.float64], top: int) -> tuple[Ids32, FloatArray]:
    """The likeliest ids of one position, equal ones by id."""
    candidates = np.argpartition(-logprobs, top - 1)[:top] if top < len(logprobs) else np.arange(len(logprobs))
    order = np.lexsort((candidates, -logprobs[candidates]))
    ids = candidates[order].astype(np.int32)
    return ids, logprobs[ids].astype(np.float32)


def _continuation(
    reference: Reference, prompt: Prompt, prompt_ids: list[int], stop_ids: frozenset[int], max_new: int, context: int
) -> tuple[list[int], list[int]]:
    """The scored sequence and the greedy reply; where both are too short, goes on past the stop."""
    room = min(max_new, context - len(prompt_ids))
    if room < 1 or context < LEAST_POSITIONS + 1:
        raise UsageError(
            f"the prompt {prompt.id!r} has {len(prompt_ids)} tokens; a context of {context} has no room for it",
            hint=f"--context {max(len(prompt_ids), LEAST_POSITIONS) + max_new} or more",
        )
    reply = list(reference.generate(prompt_ids, room, stop_ids))
    lacking = LEAST_POSITIONS + 1 - len(prompt_ids) - len(reply)
    ids = prompt_ids + reply
    while lacking > 0:  # generate() gives at least one id.
        ids = ids + list(reference.generate(ids, lacking, frozenset()))
        lacking = LEAST_POSITIONS + 1 - len(ids)
    return ids, reply


def _golden(
    reference: Reference,
    codec: Codec,
    prompt: Prompt,
    stop_ids: frozenset[int],
    max_new: int,
    top: int,
    context: int,
) -> tuple[Golden, FloatArray]:
    rendered, prompt_ids = encode_prompt(codec, prompt)
    if not prompt_ids:
        raise CheckpointError(f"the prompt {prompt.id!r} has no tokens", hint="look at the tokenizer")
    if max(prompt_ids) >= reference.vocab_size:
        raise CheckpointError(
            f"the tokenizer gives id {max(prompt_ids)} for the prompt {prompt.id!r}; "
            f"the model has {reference.vocab_size} embeddings",
            hint="the tokenizer is not this model's",
        )
    ids, reply = _continuation(reference, prompt, prompt_ids, stop_ids, max_new, context)
    first = min(len(prompt_ids) - 1, len(ids) - 1 - LEAST_POSITIONS)
    logits = np.asarray(reference.logits(ids[:-1], first), dtype=np.float32)
    width = min(top, logits.shape[-1])
    positions = len(ids) - 1 - first
    topk_ids = np.zeros((positions, width), np.int32)
    topk, targets = np.zeros((positions, width), np.float32), np.zeros(positions, np.float32)
    for row in range(positions):
        logprobs = log_softmax(logits[row])
        topk_ids[row], topk[row] = _top(logprobs, width)
        targets[row] = logprobs[ids[first + 1 + row]]
    if not np.isfinite(topk).all():
        raise CheckpointError(
            f"the float model's logits for the prompt {prompt.id!r} are not numbers",
            hint="the checkpoint's weights are damaged, or overflow",
        )
    words, ended = strip_stop(reply, stop_ids)
    steps = slice(len(prompt_ids) - 1 - first, len(prompt_ids) - 1 - first + len(reply))
    golden = Golden(
        prompt=prompt,
        rendered=rendered,
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

    def open(self) -> FloatArray:
        """The rows, memory-mapped."""
        return np.memmap(self.path, dtype="<f4", mode="r", shape=(self.rows, self.vocab_size))


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
    found = []
    for done, prompt in enumerate(prompts, 1):
        golden, rows = _golden(reference, codec, prompt, stops, max_new, top, context)
        found.append(golden)
        if logits is not None:
            logits.append(rows)
        if progress is not None:
            progress.update(done, len(prompts), prompt.id)
    return tuple(found)


def _lines(entries: Iterable[Mapping[str, Any]]) -> bytes:
    return "".join(json.dumps(e, sort_keys=True, ensure_ascii=False) + "\n" for e in entries).encode()


def _ints(parts: Iterable[Sequence[int]]) -> Ids32:
    return np.concatenate([np.asarray(part, np.int32) for part in parts])


def save_goldens(goldens: Sequence[Golden]) -> dict[str, bytes]:
    """The goldens as files: content by name in the bundle. The same goldens give the same bytes."""
    from safetensors.numpy import save

    tensors = {
        "ids": _ints(g.ids for g in goldens),
        "greedy_ids": _ints(g.greedy_ids for g in goldens),
        "topk_ids": np.concatenate([g.topk_ids for g in goldens]),
        "topk_logprobs": np.concatenate([g.topk_logprobs for g in goldens]),
        "target_logprobs": np.concatenate([g.target_logprobs for g in goldens]),
        "margin": np.concatenate([g.margin for g in goldens]),
    }
    lines = _lines(
        {
            "id": g.prompt.id,
            "kind": g.prompt.kind,
            "messages": g.prompt.messages,
            "tools": g.prompt.tools,
            "text": g.prompt.text,
            "add_generation_prompt": g.prompt.add_generation_prompt,
            "rendered": g.rendered,
            "prompt_length": len(g.prompt_ids),
            "length": len(g.ids),
            "first": g.first,
            "greedy_length": len(g.greedy_ids),
            "greedy_text": g.greedy_text,
            "ended": g.ended,
        }
        for g in goldens
    )
    return {GOLDENS[0]: save(tensors), GOLDENS[1]: lines}


def save_recorded(recorded: Sequence[Recorded]) -> dict[str, bytes]:
    """A bundle's own outputs as files, in the order of the goldens."""
    from safetensors.numpy import save

    tensors = {
        "logprobs": np.concatenate([r.logprobs for r in recorded]),
        "target_logprobs": np.concatenate([r.target_logprobs for r in recorded]),
        "top1": np.concatenate([r.top1 for r in recorded]),
        "greedy_ids": _ints(r.greedy_ids for r in recorded),
    }
    lines = _lines(
        {
            "positions": len(r.logprobs),
            "greedy_length": len(r.greedy_ids),
            "greedy_text": r.greedy_text,
            "ended": r.ended,
        }
        for r in recorded
    )
    return {RECORDED[0]: save(tensors), RECORDED[1]: lines}


class _Tensors:
    """Takes one prompt's share after the other from concatenated tensors."""

    def __init__(self, data: bytes) -> None:
        from safetensors.numpy import load

        self._tensors = load(data)
        self._at = dict.fromkeys(self._tensors, 0)

    def take(self, name: str, count: int) -> npt.NDArray[Any]:
        start = self._at[name]
        part = self._tensors[name][start : start + count]
        if len(part) != count:
            raise ValueError(f"{name} has {start + len(part)} rows, {start + count} are wanted")
        self._at[name] += count
        return part

    def ids(self, name: str, count: int) -> tuple[int, ...]:
        return tuple(int(value) for value in self.take(name, count))

    def done(self) -> None:
        """Raises ValueError if anything is left."""
        for name, at in self._at.items():
            if at != len(self._tensors[name]):
                raise ValueError(f"{name} has {len(self._tensors[name])} rows, {at} are wanted")


def _damaged(names: tuple[str, str], error: Exception) -> ConformanceError:
    return ConformanceError(
        f"{names[0]} and {names[1]} are damaged or don't belong together: {error}",
        hint="copy or export the bundle again",
    )


def load_goldens(read: Mapping[str, bytes]) -> tuple[Golden, ...]:
    """Reads what ``save_goldens`` wrote.

    Raises:
        ConformanceError: If the files are damaged.
    """
    from safetensors import SafetensorError

    found = []
    try:
        tensors = _Tensors(read[GOLDENS[0]])
        for line in read[GOLDENS[1]].decode().splitlines():
            found.append(_load_golden(json.loads(line), tensors))
        tensors.done()
    except (ValueError, KeyError, TypeError, SafetensorError) as error:
        raise _damaged(GOLDENS, error) from error
    return tuple(found)


def _load_golden(entry: Mapping[str, Any], tensors: _Tensors) -> Golden:
    ids = tensors.ids("ids", entry["length"])
    positions = len(ids) - 1 - int(entry["first"])
    prompt = Prompt(
        id=entry["id"],
        kind=entry["kind"],
        messages=tuple(entry["messages"]),
        tools=tuple(entry["tools"]),
        add_generation_prompt=entry["add_generation_prompt"],
        text=entry["text"],
    )
    return Golden(
        prompt=prompt,
        rendered=entry["rendered"],
        prompt_ids=ids[: entry["prompt_length"]],
        ids=ids,
        first=entry["first"],
        topk_ids=tensors.take("topk_ids", positions),
        topk_logprobs=tensors.take("topk_logprobs", positions),
        target_logprobs=tensors.take("target_logprobs", positions),
        greedy_ids=tensors.ids("greedy_ids", entry["greedy_length"]),
        greedy_text=entry["greedy_text"],
        ended=entry["ended"],
        margin=tensors.take("margin", entry["greedy_length"]),
    )


def load_recorded(read: Mapping[str, bytes]) -> tuple[Recorded, ...]:
    """Reads what ``save_recorded`` wrote.

    Raises:
        ConformanceError: If the files are damaged.
    """
    from safetensors import SafetensorError

    found = []
    try:
        tensors = _Tensors(read[RECORDED[0]])
        for line in read[RECORDED[1]].decode().splitlines():
            entry = json.loads(line)
            found.append(
                Recorded(
                    logprobs=tensors.take("logprobs", entry["positions"]),
                    target_logprobs=tensors.take("target_logprobs", entry["positions"]),
                    top1=tensors.take("top1", entry["positions"]),
                    greedy_ids=tensors.ids("greedy_ids", entry["greedy_length"]),
                    greedy_text=entry["greedy_text"],
                    ended=entry["ended"],
                )
            )
        tensors.done()
    except (ValueError, KeyError, TypeError, SafetensorError) as error:
        raise _damaged(RECORDED, error) from error
    return tuple(found)
