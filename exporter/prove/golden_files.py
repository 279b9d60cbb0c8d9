"""Goldens and recorded outputs as files of a bundle: tensors in safetensors, the rest in JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ConformanceError
from ..prompt.chats import Prompt
from .golden import Golden, Ids32, Recorded
from .prompt_file import expected_of

GOLDENS = ("goldens/goldens.safetensors", "goldens/goldens.jsonl")
RECORDED = ("goldens/recorded.safetensors", "goldens/recorded.jsonl")


def _lines(entries: Iterable[Mapping[str, Any]]) -> bytes:
    return "".join(json.dumps(e, sort_keys=True, ensure_ascii=False) + "\n" for e in entries).encode()


def _split(data: bytes) -> list[str]:
    """Return the lines, not by ``splitlines``, which also cuts at U+2028, which a text may hold."""
    return [line for line in data.decode().split("\n") if line]


def _ints(parts: Iterable[Sequence[int]]) -> Ids32:
    return np.concatenate([np.asarray(part, np.int32) for part in parts])


def save_goldens(goldens: Sequence[Golden]) -> dict[str, bytes]:
    """Return the goldens as files: content by name in the bundle. The same goldens give the same bytes."""
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
            **({"thinking": True} if g.prompt.thinking else {}),
            **({"expected": g.prompt.expected.entry()} if g.prompt.expected else {}),
        }
        for g in goldens
    )
    return {GOLDENS[0]: save(tensors), GOLDENS[1]: lines}


def save_recorded(recorded: Sequence[Recorded]) -> dict[str, bytes]:
    """Return a bundle's own outputs as files, in the order of the goldens."""
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
    """Concatenated tensors, from which one prompt's share after the other is taken."""

    def __init__(self, data: bytes) -> None:
        from safetensors.numpy import load

        self._tensors = load(data)
        self._at = dict.fromkeys(self._tensors, 0)

    def take(self, name: str, count: int) -> npt.NDArray[Any]:
        start = self._at[name]
        part = self._tensors[name][start : start + count]
        if len(part) != count:
            raise ValueError(f"{name} has {start + len(part)} rows instead of {start + count}")
        self._at[name] += count
        return part

    def ids(self, name: str, count: int) -> tuple[int, ...]:
        return tuple(int(value) for value in self.take(name, count))

    def done(self) -> None:
        """Check that nothing is left.

        Raises:
            ValueError: If something is.
        """
        for name, at in self._at.items():
            if at != len(self._tensors[name]):
                raise ValueError(f"{name} has {len(self._tensors[name])} rows instead of {at}")


def _damaged(names: tuple[str, str], error: Exception) -> ConformanceError:
    return ConformanceError(
        f"{names[0]} and {names[1]} are damaged or don't belong together: {error}",
        hint="copy or export the bundle again",
    )


def load_goldens(read: Mapping[str, bytes]) -> tuple[Golden, ...]:
    """Read what ``save_goldens`` wrote.

    Raises:
        ConformanceError: If the files are damaged.
    """
    from safetensors import SafetensorError

    found = []
    try:
        tensors = _Tensors(read[GOLDENS[0]])
        for line in _split(read[GOLDENS[1]]):
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
        thinking=entry.get("thinking", False),
        expected=expected_of(entry.get("expected")),
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
    """Read what ``save_recorded`` wrote.

    Raises:
        ConformanceError: If the files are damaged.
    """
    from safetensors import SafetensorError

    found = []
    try:
        tensors = _Tensors(read[RECORDED[0]])
        for line in _split(read[RECORDED[1]]):
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
