"""Two replies side by side, with the first difference marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ....prove.fidelity import Fidelity
    from ....prove.golden import Golden, Recorded

MOST = 20  # prompts of a bundle that are shown with their texts
_LONGEST = 6000  # characters of one text


@dataclass(frozen=True)
class Text:
    """A reply in three parts.

    Attributes:
        same: What both replies share at the beginning.
        marked: The first difference, which is marked.
        rest: The rest.
        cut: Whether something was left out.
    """

    same: str
    marked: str
    rest: str
    cut: bool


@dataclass(frozen=True)
class Pair:
    """One prompt with both replies.

    Attributes:
        prompt: The prompt's id.
        kind: The prompt's kind.
        rendered: The prompt's text.
        float_text: The float model's reply.
        bundle_text: The bundle's reply.
        step: The first token where the replies differ, from 1; None if they don't.
        character: The first character where the texts differ, from 1; None if they don't.
        position: Where the KL divergence is highest.
        kl: The KL divergence there, in nats.
        mean_kl: The mean KL divergence, in nats.
        top1: The share of positions where both models' likeliest token is the same, 0..1.
        failed: The names of the checks that failed on it.
    """

    prompt: str
    kind: str
    rendered: str
    float_text: Text
    bundle_text: Text
    step: int | None
    character: int | None
    position: int
    kl: float
    mean_kl: float
    top1: float
    failed: str


def pairs(
    goldens: Sequence[Golden],
    recorded: Sequence[Recorded],
    fidelity: Fidelity,
    failed: dict[str, list[str]],
) -> tuple[Pair, ...]:
    """Return the worst prompts: those that failed a check, then those whose reply differs, then by their highest KL.

    Args:
        goldens: The float model's side.
        recorded: The bundle's side, in the same order.
        fidelity: The figures, prompt by prompt.
        failed: The names of the checks that failed, by prompt.
    """
    figures = {one.prompt: one for one in fidelity.by_prompt}
    found = []
    for golden, bundle in zip(goldens, recorded, strict=True):
        prompt, figure = golden.prompt, figures[golden.prompt.id]
        step = _first(golden.greedy_ids, bundle.greedy_ids)
        ours, theirs, character = _marked(golden.greedy_text, bundle.greedy_text)
        pair = Pair(
            prompt.id,
            prompt.kind,
            _shortened(golden.rendered),
            ours,
            theirs,
            step,
            character,
            figure.worst.position,
            figure.worst.kl,
            figure.mean_kl,
            figure.top1,
            ", ".join(dict.fromkeys(failed.get(prompt.id, ()))),
        )
        found.append(pair)
    found.sort(key=lambda one: (not one.failed, one.step is None, -np.nan_to_num(one.kl, nan=np.inf)))
    return tuple(found[:MOST])


def _first(ours: Sequence[int], theirs: Sequence[int]) -> int | None:
    """Return the first step, from 1, at which two replies differ."""
    if tuple(ours) == tuple(theirs):
        return None
    shared = next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), None)
    return (min(len(ours), len(theirs)) if shared is None else shared) + 1


def _marked(ours: str, theirs: str) -> tuple[Text, Text, int | None]:
    """Return both texts, each with the first differing word marked, and the first differing character, from 1."""
    if ours == theirs:
        whole = _cut(ours, "", "")
        return whole, whole, None
    at = next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), min(len(ours), len(theirs)))
    return _around(ours, at), _around(theirs, at), at + 1


def _around(text: str, at: int) -> Text:
    end = at
    while end < len(text) and (end == at or text[end].isalnum()):
        end += 1
    return _cut(text[:at], text[at:end], text[end:])


def _cut(same: str, marked: str, rest: str) -> Text:
    """Return no more than is readable: the shared beginning is cut in its middle, the rest at its end."""
    cut = len(same) > _LONGEST or len(rest) > _LONGEST
    if len(same) > _LONGEST:
        same = f"{same[: _LONGEST // 2]}\n[...]\n{same[-_LONGEST // 2 :]}"
    return Text(same, marked, rest[:_LONGEST], cut)


def _shortened(text: str) -> str:
    return text if len(text) <= 2 * _LONGEST else f"{text[:_LONGEST]}\n[...]\n{text[-_LONGEST:]}"
