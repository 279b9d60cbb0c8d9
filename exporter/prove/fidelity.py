"""Fidelity: the bundle compared with the float model, position by position, on teacher-forced goldens.

KL divergence is KL(float || bundle) = sum p (log p - log q) in nats (Kullback and Leibler, 1951); the
perplexity ratio is exp(mean nll of the bundle - mean nll of the float model) on the same tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from ..errors import ConformanceError
from ..util.arrays import FloatArray
from .golden import Golden, Recorded, log_partition

Form = Literal["full-vocabulary", "top-64"]
Array = npt.NDArray[np.float64]
_REST_FLOOR = 1e-7  # Sums of 64 float32 probabilities are no more exact than that.
WORST_SHOWN = 10


@dataclass(frozen=True)
class Place:
    """One scored position of one prompt.

    Attributes:
        prompt: The prompt's id.
        position: The position in the prompt and its continuation.
        kl: The KL divergence there, in nats.
        logprob_diff: The largest absolute difference of a log-probability among the float model's top 64, in nats.
        agrees: Whether both models' likeliest token is the same.
    """

    prompt: str
    position: int
    kl: float
    logprob_diff: float
    agrees: bool


@dataclass(frozen=True)
class PromptFidelity:
    """The figures of one prompt.

    Attributes:
        prompt: The prompt's id.
        positions: How many positions were scored.
        mean_kl: The mean KL divergence, in nats.
        top1: The share of positions where both models' likeliest token is the same, 0..1.
        worst: The position with the largest KL.
    """

    prompt: str
    positions: int
    mean_kl: float
    top1: float
    worst: Place


@dataclass(frozen=True)
class Fidelity:
    """All figures over all prompts.

    Attributes:
        form: Whether the KL is over the full vocabulary, or over the float model's top 64 and one bucket for the rest
            (a lower bound of the former).
        prompts: How many prompts there are.
        positions: How many positions were scored.
        mean_kl: The mean KL divergence, in nats.
        p99_kl: The 99th percentile of the KL divergence, in nats.
        top1: The share of positions where both models' likeliest token is the same, 0..1.
        perplexity_ratio: The bundle's perplexity divided by the float model's.
        max_logprob_diff: The largest absolute difference of a log-probability among the float model's top 64, in nats.
        max_logit_diff: The largest absolute difference of any raw logit; only in the full form.
        worst: The positions with the largest KL, worst first.
        by_prompt: The figures of each prompt.
        worst_logit: The position with the largest difference of a raw logit; only in the full form.
    """

    form: Form
    prompts: int
    positions: int
    mean_kl: float
    p99_kl: float
    top1: float
    perplexity_ratio: float
    max_logprob_diff: float
    max_logit_diff: float | None
    worst: tuple[Place, ...]
    by_prompt: tuple[PromptFidelity, ...]
    worst_logit: Place | None = None

    def figures(self) -> dict[str, float | None]:
        """Return the figures by name, as the manifest and the gate have them."""
        return {
            "mean_kl": self.mean_kl,
            "p99_kl": self.p99_kl,
            "top1": self.top1,
            "perplexity_ratio": self.perplexity_ratio,
            "max_logprob_diff": self.max_logprob_diff,
            "max_logit_diff": self.max_logit_diff,
        }

    @property
    def finite(self) -> bool:
        """Whether all of the bundle's logits were numbers."""
        return all(value is None or math.isfinite(value) for value in self.figures().values())


def kl_full(float_logits: FloatArray, bundle_logits: FloatArray) -> float:
    """Return KL(float || bundle) in nats from one position's logits [V] each; infinite if one isn't a number."""
    with np.errstate(invalid="ignore", over="ignore"):
        weights = float_logits.astype(np.float64)
        highest = float(weights.max())
        weights -= highest
        np.exp(weights, out=weights)
        differences = np.subtract(float_logits, bundle_logits, dtype=np.float64)
        if not np.isfinite(float_logits).all():
            differences[weights == 0.0] = 0.0  # Where p = 0 the term is 0.
        total = float(weights.sum())
        mean = float(np.einsum("i,i->", weights, differences)) / total
        return _number(mean - (highest + float(np.log(total)) - log_partition(bundle_logits)))


def kl_buckets(float_logprobs: FloatArray, bundle_logprobs: FloatArray) -> Array:
    """Return KL(float || bundle) in nats over the float model's top 64 and one bucket for all the rest.

    Joining events into one is a map of the outcome, and no map raises a KL divergence (the data-processing
    inequality; Cover and Thomas, Elements of Information Theory, section 2.8), so this is a lower bound of
    the KL over the full vocabulary.

    Args:
        float_logprobs: [P, K] float32, the float model's log-probabilities of its likeliest ids.
        bundle_logprobs: [P, K] float32, the bundle's log-probabilities of the same ids.

    Returns:
        [P] float64.
    """
    p, q = float_logprobs.astype(np.float64), bundle_logprobs.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        rest_p = np.maximum(1.0 - np.exp(p).sum(axis=-1), 0.0)
        rest_q = np.maximum(1.0 - np.exp(q).sum(axis=-1), _REST_FLOOR)
        rest_term = np.where(
            rest_p > _REST_FLOOR, rest_p * (np.log(np.maximum(rest_p, _REST_FLOOR)) - np.log(rest_q)), 0
        )
        total = (np.exp(p) * (p - q)).sum(axis=-1) + rest_term
    return np.where(np.isnan(total), np.inf, np.maximum(total, 0.0))


def _number(value: float) -> float:
    """Return a KL divergence: not-a-number counts as infinitely wrong, rounding below zero as zero."""
    return math.inf if math.isnan(value) else max(value, 0.0)


def _worst_of(values: Array) -> int:
    return int(np.argmax(np.where(np.isnan(values), np.inf, values)))


def _logprob_diff(golden: Golden, recorded: Recorded) -> Array:
    """Return [P] float64, the largest absolute difference of each position; infinite where one isn't a number."""
    with np.errstate(invalid="ignore"):
        wide = np.abs(golden.topk_logprobs.astype(np.float64) - recorded.logprobs)
    largest: Array = np.where(np.isnan(wide), np.inf, wide).max(axis=1)
    return largest


def _summary(
    form: Form,
    goldens: Sequence[Golden],
    recorded: Sequence[Recorded],
    kls: Sequence[Array],
    logit_diffs: Sequence[Array] | None,
) -> Fidelity:
    places: list[Place] = []
    by_prompt = []
    for golden, bundle, kl in zip(goldens, recorded, kls, strict=True):
        agrees, diff = bundle.top1 == golden.topk_ids[:, 0], _logprob_diff(golden, bundle)
        here = [
            Place(golden.prompt.id, golden.first + row, float(kl[row]), float(diff[row]), bool(agrees[row]))
            for row in range(len(kl))
        ]
        worst = here[_worst_of(kl)]
        by_prompt.append(PromptFidelity(golden.prompt.id, len(kl), float(kl.mean()), float(agrees.mean()), worst))
        places += here
    every = np.concatenate(list(kls))
    with np.errstate(invalid="ignore", over="ignore"):
        nll = np.concatenate([g.target_logprobs for g in goldens]).astype(np.float64) - np.concatenate(
            [r.target_logprobs for r in recorded]
        )
        ratio = float(np.exp(nll.mean()))
    logit = None if logit_diffs is None else np.concatenate(list(logit_diffs))
    return Fidelity(
        form=form,
        prompts=len(goldens),
        positions=len(every),
        mean_kl=float(every.mean()),
        p99_kl=_quantile(every, 0.99),
        top1=sum(place.agrees for place in places) / len(places),
        perplexity_ratio=math.inf if math.isnan(ratio) else ratio,
        max_logprob_diff=max(place.logprob_diff for place in places),
        max_logit_diff=None if logit is None else float(logit.max()),
        worst=tuple(sorted(places, key=lambda place: -place.kl)[:WORST_SHOWN]),
        by_prompt=tuple(by_prompt),
        worst_logit=None if logit is None else places[_worst_of(logit)],
    )


def _quantile(values: Array, at: float) -> float:
    """Return the quantile; for infinite values an infinite one, not the nan that interpolation gives."""
    return float(np.quantile(values, at, method="higher" if np.isinf(values).any() else "linear"))


def _matching(goldens: Sequence[Golden], recorded: Sequence[Recorded]) -> None:
    shapes = [g.topk_logprobs.shape for g in goldens], [r.logprobs.shape for r in recorded]
    if not goldens or shapes[0] != shapes[1]:
        raise ConformanceError(
            "the recorded outputs don't belong to these goldens", hint="copy or export the bundle again"
        )


def fidelity_top64(goldens: Sequence[Golden], recorded: Sequence[Recorded]) -> Fidelity:
    """Return the fidelity from what a bundle holds: its KLs are lower bounds (see ``kl_buckets``).

    Raises:
        ConformanceError: If ``recorded`` doesn't fit the goldens.
    """
    _matching(goldens, recorded)
    kls = [kl_buckets(g.topk_logprobs, r.logprobs) for g, r in zip(goldens, recorded, strict=True)]
    return _summary("top-64", goldens, recorded, kls, None)


class LogitRows(Protocol):
    """The float model's logits of all scored positions, a row [V] float32 each; an array [N, V] is one."""

    def __len__(self) -> int: ...

    def __getitem__(self, row: int, /) -> FloatArray: ...


class FullFidelity:
    """Fidelity over the full vocabulary, fed one position at a time as the bundle gives it.

    Args:
        goldens: The goldens, in the order of ``float_logits``.
        float_logits: The float model's logits [N, V] float32 of all scored positions, as
            ``LogitsFile.open`` maps them. Only one row is in memory at a time.
    """

    def __init__(self, goldens: Sequence[Golden], float_logits: LogitRows) -> None:
        self._goldens = goldens
        self._logits = float_logits
        counts = [golden.positions for golden in goldens]
        if sum(counts) != len(float_logits):
            raise ValueError(f"{len(float_logits)} rows of logits for {sum(counts)} scored positions")
        self._starts = np.cumsum([0, *counts])
        self._kl = [np.full(count, np.nan) for count in counts]
        self._diff = [np.full(count, np.nan) for count in counts]

    def row(self, golden: int, row: int, logits: FloatArray) -> None:
        """Take the bundle's logits [V] float32 of scored position ``row`` of golden number ``golden``.

        Raises:
            ConformanceError: If they are of another vocabulary.
        """
        wanted = self._logits[self._starts[golden] + row]
        if logits.shape != wanted.shape:
            raise ConformanceError(
                f"the program has a vocabulary of {logits.shape[-1]}, the float model one of {wanted.shape[-1]}",
                hint="export again: program and goldens are from different models",
            )
        self._kl[golden][row] = kl_full(wanted, logits)
        with np.errstate(invalid="ignore"):
            differences = np.abs(wanted - logits)[np.isfinite(wanted)]
        self._diff[golden][row] = _number(float(differences.max()))

    def result(self, recorded: Sequence[Recorded]) -> Fidelity:
        """Return the figures, once every row has been taken.

        Raises:
            ConformanceError: If ``recorded`` doesn't fit the goldens.
            ValueError: If rows are missing.
        """
        _matching(self._goldens, recorded)
        if any(np.isnan(kl).any() for kl in self._kl):
            raise ValueError("not every scored position was run")
        return _summary("full-vocabulary", self._goldens, recorded, self._kl, self._diff)
