"""Conformance: what a bundle does here, compared with what the exporting host recorded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import ConformanceError
from .fidelity import fidelity_top64, kl_buckets
from .golden import Golden, Recorded

# Other kernels round differently, and a rounding that falls to the other side moves a quantized activation by one step.
# With four-bit weights that is a small part of what quantization itself did, since the weights' error is the same
# everywhere: half of the noise is far more than kernels that compute the same thing differ by (measured: a tenth, of
# the KL a hundredth), and far less than what a wrong one does.
SHARE = 0.5
# With weights of eight bits the noise is that of the activations' roundings. A first one that falls to the other side
# makes others do the same in every layer after it, until two machines' roundings have nothing to do with each other:
# the difference of two independent errors is larger than each by the square root of two.
INDEPENDENT = 2.0**0.5
_FEW_BITS = frozenset({"int2", "int3", "int4"})
LOGPROB_FLOOR = 1e-3
KL_FLOOR = 1e-6


@dataclass(frozen=True)
class Tolerance:
    """How far two machines may differ, in nats, and the noise that this was derived from.

    Attributes:
        logprob: The limit on the difference of a log-probability; at least 1e-3, which float32 kernels keep.
        kl: The limit on the mean KL.
        noise: The largest difference of a log-probability between the host's bundle and the float model.
        noise_kl: The mean KL between the host's bundle and the float model.
    """

    logprob: float
    kl: float
    noise: float
    noise_kl: float


@dataclass(frozen=True)
class Difference:
    """One golden, here against the host.

    Attributes:
        prompt: The prompt's id.
        max_logprob_diff: The largest absolute difference of a log-probability among the float model's top 64, in nats.
        position: Where that difference is.
        kl: The mean KL(host || here) over the golden's positions, in nats, over the top 64 and the rest.
        first_step: The first step at which the replies differ; None if they don't.
        margin: How much likelier the likelier token was there, in nats; None if it isn't known.
        tie: Whether that margin is within the tolerance, or unknown (see ``compare``).
    """

    prompt: str
    max_logprob_diff: float
    position: int
    kl: float
    first_step: int | None
    margin: float | None
    tie: bool


@dataclass(frozen=True)
class Conformance:
    """All goldens, here against the host.

    Attributes:
        tolerance: How far the two may differ.
        differences: How far they differ, golden by golden.
        max_logprob_diff: The largest absolute difference of a log-probability, in nats.
        mean_kl: The mean KL(host || here) over all positions, in nats.
        failures: What is beyond the tolerance, in words.
    """

    tolerance: Tolerance
    differences: tuple[Difference, ...]
    max_logprob_diff: float
    mean_kl: float
    failures: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether this machine does what the host did."""
        return not self.failures


def share_of(schemes: Iterable[tuple[str, str]]) -> float:
    """Return the share of the quantization noise by which two machines may differ, in log-probabilities.

    Args:
        schemes: Weight and activation of each of the recipe's rules, as the manifest names them (``int4``,
            ``int8-dynamic``).

    Returns:
        ``INDEPENDENT`` if activations are quantized and no weight has fewer than eight bits; ``SHARE`` otherwise.
    """
    pairs = tuple(schemes)
    rounded = any(activation.startswith("int8") for _, activation in pairs)
    return INDEPENDENT if rounded and not any(weight in _FEW_BITS for weight, _ in pairs) else SHARE


def tolerance_of(goldens: Sequence[Golden], host: Sequence[Recorded], share: float = SHARE) -> Tolerance:
    """Derive the tolerance from the quantization noise: the host's bundle against the float model.

    A difference of f times the noise in the log-probabilities is one of f squared in the KL, which is
    quadratic in them to the first order that counts (Kullback, Information Theory and Statistics, 2.6).
    Logits that are not numbers have no noise to derive from: then the floors hold.

    Args:
        goldens: The float model's side.
        host: What the exporting machine recorded.
        share: The share of the quantization noise; see ``share_of``.

    Raises:
        ConformanceError: If ``host`` doesn't fit the goldens.
    """
    found = fidelity_top64(goldens, host)
    noise = found.max_logprob_diff if np.isfinite(found.max_logprob_diff) else 0.0
    noise_kl = found.mean_kl if np.isfinite(found.mean_kl) else 0.0
    return Tolerance(
        logprob=max(LOGPROB_FLOOR, share * noise),
        kl=max(KL_FLOOR, share * share * noise_kl),
        noise=found.max_logprob_diff,
        noise_kl=found.mean_kl,
    )


def _first_step(
    golden: Golden, host: Recorded, here: Recorded, tolerance: float
) -> tuple[int | None, float | None, bool]:
    """Return where the replies part, the margin there, and whether it was a tie."""
    ours, theirs = here.greedy_ids, host.greedy_ids
    step = next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), None)
    if step is None:
        return (None, None, True) if len(ours) == len(theirs) else (min(len(ours), len(theirs)), None, False)
    if step >= len(golden.greedy_ids) or theirs[:step] != golden.greedy_ids[:step]:
        return step, None, True
    margin = float(golden.margin[step])
    row = len(golden.prompt_ids) - 1 - golden.first + step
    known = {int(token): at for at, token in enumerate(golden.topk_ids[row])}
    if ours[step] in known and theirs[step] in known:
        logprobs = host.logprobs[row]
        margin = min(margin, abs(float(logprobs[known[theirs[step]]] - logprobs[known[ours[step]]])))
    return step, margin, margin <= tolerance


def _difference(golden: Golden, host: Recorded, here: Recorded, tolerance: Tolerance) -> Difference:
    with np.errstate(invalid="ignore"):
        wide = np.abs(host.logprobs.astype(np.float64) - here.logprobs)
    same = host.logprobs == here.logprobs  # Two equal infinities differ by nothing.
    by_row = np.where(same, 0.0, np.where(np.isnan(wide), np.inf, wide)).max(axis=1)
    worst = int(by_row.argmax())
    kl = 0.0 if np.array_equal(host.logprobs, here.logprobs) else kl_buckets(host.logprobs, here.logprobs).mean()
    step, margin, tie = _first_step(golden, host, here, tolerance.logprob)
    return Difference(golden.prompt.id, float(by_row[worst]), golden.first + worst, float(kl), step, margin, tie)


def _failures(differences: Sequence[Difference], tolerance: Tolerance, mean_kl: float) -> list[str]:
    worst = max(differences, key=lambda d: d.max_logprob_diff)
    failures = []
    if not worst.max_logprob_diff <= tolerance.logprob:
        failures.append(
            f"prompt {worst.prompt!r}, position {worst.position}: a log-probability differs by "
            f"{worst.max_logprob_diff:.3g} nats, tolerance {tolerance.logprob:.3g}"
        )
    if not mean_kl <= tolerance.kl:
        highest = max(differences, key=lambda d: d.kl)
        failures.append(f"mean KL {mean_kl:.3g} nats, tolerance {tolerance.kl:.3g} (worst: prompt {highest.prompt!r})")
    for difference in differences:
        if difference.first_step is not None and not difference.tie:
            margin = "" if difference.margin is None else f", where the margin was {difference.margin:.3g} nats"
            failures.append(
                f"prompt {difference.prompt!r}: the reply differs from token {difference.first_step} on{margin}"
            )
    return failures


def compare(
    goldens: Sequence[Golden], host: Sequence[Recorded], here: Sequence[Recorded], share: float = SHARE
) -> Conformance:
    """Compare this machine's run with the host's.

    Replies may part at a tie: where one of the two tokens was the likelier by no more than the tolerance, for
    the float model or, as far as its record shows, for the bundle on the host. After the host's own reply has
    left the float model's, the margin isn't known; such a parting is reported and not judged, since the
    log-probabilities are compared on the float model's path in any case.

    Args:
        goldens: The float model's side.
        host: What the exporting machine recorded.
        here: What ``run_bundle`` gave on this machine.
        share: The share of the quantization noise; see ``share_of``.

    Raises:
        ConformanceError: If the three aren't of the same goldens. A failed comparison raises nothing; see
            ``Conformance.passed``.
    """
    tolerance = tolerance_of(goldens, host, share)
    if [r.logprobs.shape for r in host] != [r.logprobs.shape for r in here]:
        raise ConformanceError("the two runs are not of the same goldens", hint="copy or export the bundle again")
    trios = zip(goldens, host, here, strict=True)
    differences = tuple(_difference(*trio, tolerance) for trio in trios)
    counts = [golden.positions for golden in goldens]
    mean_kl = float(np.average([d.kl for d in differences], weights=counts))
    largest = max(d.max_logprob_diff for d in differences)
    failures = _failures(differences, tolerance, mean_kl)
    return Conformance(tolerance, differences, largest, mean_kl, tuple(failures))
