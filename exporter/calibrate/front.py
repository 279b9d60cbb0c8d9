"""Mixed bits under a budget: which matrices get eight bits, so that a bundle has a size or a divergence.

Every matrix can be raised from four bits to eight, each step at so many bytes and nats, and steps add up: taken in the
order of nats per byte they give the front of all mixes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..errors import UnsupportedError
from ..util.text import size_text

FEW, MANY = "int4", "int8"


@dataclass(frozen=True)
class TensorSensitivity:
    """One matrix, or tables that share their values.

    Attributes:
        names: The modules that it belongs to: one, or a tied embedding and head.
        kind: Its tensor class.
        parameters: Its elements.
        bytes: Bytes in the program by weight format.
        nats: What each weight format adds to the mean KL divergence, estimated.
    """

    names: tuple[str, ...]
    kind: str
    parameters: int
    bytes: dict[str, int]
    nats: dict[str, float]

    @property
    def gain(self) -> float:
        """Nats that a megabyte takes away, if it is raised from four bits to eight; 0.0 if it can't be."""
        if FEW not in self.bytes:
            return 0.0
        return (self.nats[FEW] - self.nats[MANY]) / max(1, self.bytes[MANY] - self.bytes[FEW]) * 1e6


@dataclass(frozen=True)
class Measured:
    """A mix of bits whose divergence was measured.

    Attributes:
        raised: How many steps of the front were taken.
        nats: The mean KL divergence from the float model, on text that was not calibrated on.
    """

    raised: int
    nats: float


@dataclass(frozen=True)
class Sensitivity:
    """A model's matrices.

    Attributes:
        tensors: All that can be quantized, but those of experts.
        activations: Nats that int8 activations add, which no weight format changes, estimated.
        measured: Some mixes, from the fewest bits to the most.
        tokens: How many tokens of text it was measured on.
    """

    tensors: tuple[TensorSensitivity, ...]
    activations: float
    measured: tuple[Measured, ...]
    tokens: int

    def steps(self) -> list[TensorSensitivity]:
        """Return the tensors that can be raised to eight bits, the one that a byte is best spent on first."""
        return sorted((one for one in self.tensors if one.gain > 0), key=lambda one: -one.gain)


@dataclass(frozen=True)
class Point:
    """A mix on the front.

    Attributes:
        raised: How many steps are taken.
        last: The modules that the last step raised; empty for the first point.
        bytes: Bytes that it adds to the smallest mix.
        nats: Its mean KL divergence from the float model, estimated between measured mixes.
    """

    raised: int
    last: tuple[str, ...]
    bytes: int
    nats: float


@dataclass(frozen=True)
class Limits:
    """What a mix must keep; None for no limit. bytes: those of a bundle. nats: mean KL divergence."""

    bytes: int | None = None
    nats: float | None = None

    @property
    def name(self) -> str:
        """The limits in a word, for a file's name."""
        size = f"{self.bytes / 1e6:g}MB" if self.bytes is not None else ""
        return "-".join(filter(None, [size, f"{self.nats:g}nats" if self.nats is not None else ""]))


def front(sensitivity: Sensitivity) -> tuple[Point, ...]:
    """Return the front, from the smallest mix to the one in which all is raised."""
    steps = sensitivity.steps()
    gains = [0.0]
    for step in steps:
        gains.append(gains[-1] + step.nats[FEW] - step.nats[MANY])
    nats = list(_scaled(gains, sensitivity))
    added, points = 0, [Point(0, (), 0, nats[0])]
    for at, step in enumerate(steps, 1):
        added += step.bytes[MANY] - step.bytes[FEW]
        points.append(Point(at, step.names, added, nats[at]))
    return tuple(points)


def _scaled(gains: Sequence[float], sensitivity: Sensitivity) -> Iterator[float]:
    """The nats of each point: of measured ones theirs, of those between them in proportion to estimated gains."""
    measured = sensitivity.measured
    for at, gain in enumerate(gains):
        after = next(number for number, one in enumerate(measured) if one.raised >= at)
        one = measured[after]
        if one.raised == at:
            yield one.nats
            continue
        before = measured[after - 1]
        share = (gain - gains[before.raised]) / (gains[one.raised] - gains[before.raised])
        yield before.nats + share * (one.nats - before.nats)


def choose(points: Sequence[Point], smallest: int, limits: Limits) -> Point:
    """Return the point that a budget asks for: the best under a size, or the smallest under a divergence.

    Args:
        points: The front.
        smallest: Bytes of the bundle at its first point.
        limits: At least one of them is set; with both, the smallest that keeps the divergence must have the size.

    Raises:
        UnsupportedError: There is none; the message says what is nearest.
    """
    fitting = [one for one in points if limits.bytes is None or smallest + one.bytes <= limits.bytes]
    if not fitting:
        raise UnsupportedError(
            f"A bundle of {size_text(limits.bytes or 0)} isn't possible: the smallest is {size_text(smallest)}, with "
            f"{points[0].nats:.3g} nats.",
            hint="Ask for a larger --max-size, or take a smaller model.",
        )
    if limits.nats is None:
        return min(fitting, key=lambda one: one.nats)
    good = [one for one in fitting if one.nats <= limits.nats]
    if good:
        return good[0]
    best, last = min(fitting, key=lambda one: one.nats), min(points, key=lambda one: one.nats)
    within = f" in {size_text(limits.bytes)}" if limits.bytes is not None else ""
    raise UnsupportedError(
        f"{limits.nats:g} nats aren't possible{within}: the best is {best.nats:.3g} nats at "
        f"{size_text(smallest + best.bytes)}.",
        hint=f"The best of all mixes has {last.nats:.3g} nats at {size_text(smallest + last.bytes)}; "
        "int8 activations are what is left of the error then.",
    )
