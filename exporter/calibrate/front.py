"""Mixed bits under a budget: which matrices get eight bits, so that a bundle has a size or a divergence.

Every matrix can be raised from four bits to eight, each step at so many bytes and nats, and steps add up: taken in the
order of nats per byte they give the front of all mixes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

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
class Mix:
    """A mix of four and eight bits.

    Attributes:
        raised: The modules with eight bits.
        bytes: Bytes that it adds to the smallest mix.
        nats: Its mean KL divergence from the float model, estimated.
    """

    raised: tuple[str, ...]
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
    points = [Point(0, (), 0, _nats([], sensitivity))]
    for at, step in enumerate(steps, 1):
        points.append(Point(at, step.names, points[-1].bytes + _bytes(step), _nats(steps[:at], sensitivity)))
    return tuple(points)


def _bytes(step: TensorSensitivity) -> int:
    return step.bytes[MANY] - step.bytes[FEW]


def _nats(steps: Sequence[TensorSensitivity], sensitivity: Sensitivity) -> float:
    """The nats of a mix: between the two measured ones whose estimated gains are next to its own, in proportion."""
    order = sensitivity.steps()
    gain = sum(step.nats[FEW] - step.nats[MANY] for step in steps)
    known = []
    for one in sensitivity.measured:
        known.append((sum(step.nats[FEW] - step.nats[MANY] for step in order[: one.raised]), one.nats))
    for (before, high), (after, low) in pairwise(known):
        if gain <= after:
            return high + (gain - before) / (after - before) * (low - high) if after > before else low
    return known[-1][1]


def choose(sensitivity: Sensitivity, smallest: int, limits: Limits) -> Mix:
    """Return the mix that a budget asks for: the best under a size, or the smallest under a divergence.

    Steps are taken in the order of what a byte is worth. Under a size, one that doesn't fit is left out, and those
    after it may fit; under a divergence, those that turn out not to be needed are taken back, the largest first.

    Args:
        sensitivity: Of a model.
        smallest: Bytes of a bundle of the smallest mix.
        limits: At least one of them is set; with both, the smallest that keeps the divergence must have the size.

    Raises:
        UnsupportedError: There is none; the message says what is nearest.
    """
    room = None if limits.bytes is None else limits.bytes - smallest
    if room is not None and room < 0:
        raise UnsupportedError(
            f"A bundle of {size_text(limits.bytes or 0)} isn't possible: the smallest is {size_text(smallest)}, with "
            f"{_nats([], sensitivity):.3g} nats.",
            hint="Ask for a larger --max-size, or take a smaller model.",
        )
    taken: list[TensorSensitivity] = []
    size, nats = 0, _nats([], sensitivity)
    for step in sensitivity.steps():
        if limits.nats is not None and nats <= limits.nats:
            break
        if room is None or size + _bytes(step) <= room:
            taken.append(step)
            size, nats = size + _bytes(step), _nats(taken, sensitivity)
    if limits.nats is not None and nats > limits.nats:
        raise _impossible(sensitivity, smallest, limits, smallest + size, nats)
    for step in sorted(taken, key=lambda one: -_bytes(one)) if limits.nats is not None else ():
        rest = [one for one in taken if one is not step]
        if _nats(rest, sensitivity) <= (limits.nats or 0.0):
            taken = rest
    names = tuple(name for step in taken for name in step.names)
    return Mix(names, sum(map(_bytes, taken)), _nats(taken, sensitivity))


def _impossible(sensitivity: Sensitivity, smallest: int, limits: Limits, size: int, nats: float) -> UnsupportedError:
    last = front(sensitivity)[-1]
    within = f" in {size_text(limits.bytes)}" if limits.bytes is not None else ""
    return UnsupportedError(
        f"{limits.nats:g} nats aren't possible{within}: the best is {nats:.3g} nats at {size_text(size)}.",
        hint=f"The best of all mixes has {last.nats:.3g} nats at {size_text(smallest + last.bytes)}; "
        "int8 activations are what is left of the error then.",
    )
