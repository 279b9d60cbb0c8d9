"""The limits of ``--fail-on``: a small grammar, and how a comparison is held to them.

::

    limits    = limit { "," limit }
    limit     = AREA | FIGURE (">" | "<") [ "+" | "-" ] NUMBER [ UNIT ]
    UNIT      = "%" | "B" | "kB" | "MB" | "GB"

An area alone means any change in it. With a sign the number is a change from the first bundle to the second, with
``%`` relative to the first's figure; without a sign it is the second bundle's own figure.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ..errors import UsageError, nearest
from ..util.text import size_text
from .document import AREAS, DiffResult, ThresholdLine

# Each figure, and what it measures.
FIGURES: Mapping[str, str] = MappingProxyType(
    {
        "size": "bytes of all files",
        "program": "bytes of the program's file",
        "mean_kl": "mean KL divergence from the float model, nats",
        "p99_kl": "99th percentile of the KL, nats",
        "top1": "share of positions with the float model's likeliest token",
        "perplexity_ratio": "perplexity relative to the float model's",
        "max_logprob_diff": "largest log-probability difference, nats",
        "tool_calls": "share of tool calls that are exactly the float model's",
        "expected": "share of the expected answers that are given",
        "coverage": "share of the work in delegates",
        "texts": "replies that differ between the two",
        "matters": "areas in which a change matters",
    }
)
# Why a bundle may have no such figure.
_LACKING = {
    "tool_calls": "its float model makes no tool call",
    "expected": "none of its prompts has an expected answer",
}
_BYTES = frozenset({"size", "program"})
_COUNTS = frozenset({"texts", "matters"})  # counts of the comparison itself, which no single bundle has
_UNITS = {"": 1.0, "B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9}
_LIMIT = re.compile(
    r"(?P<name>[A-Za-z_][\w-]*)\s*(?:(?P<sign>[<>])\s*(?P<plus>[+-])?\s*"
    r"(?P<number>\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)\s*(?P<unit>%|[A-Za-z]*))?"
)
_EXAMPLES = "size>+5%, size>10MB, mean_kl>+0.001, top1<-0.01, texts>0, operators"
_HINT = f"write a limit such as {_EXAMPLES}; gemcut diff --help lists all names"


@dataclass(frozen=True)
class Threshold:
    """One limit.

    Attributes:
        text: The limit as it was written.
        name: The figure or area.
        over: Whether more than the value breaks the limit, rather than less.
        change: Whether the value is a change from the first bundle to the second.
        relative: Whether that change is a share of the first bundle's figure.
        value: The value; None means that any change breaks the limit.
    """

    text: str
    name: str
    over: bool = True
    change: bool = False
    relative: bool = False
    value: float | None = None


def parse_thresholds(written: Iterable[str]) -> tuple[Threshold, ...]:
    """Read what was written after ``--fail-on``, any number of times.

    Raises:
        UsageError: If it doesn't follow the grammar; an unknown name is reported with the nearest one.
    """
    return tuple(_parse(one.strip()) for some in written for one in some.split(","))


def _parse(text: str) -> Threshold:
    found = _LIMIT.fullmatch(text)
    if found is None:
        what = "has an empty limit" if not text else f"{text!r} can't be read"
        raise UsageError(f"--fail-on {what}", hint=_HINT)
    name = found["name"]
    if name not in FIGURES and name not in AREAS:
        raise UsageError(f"--fail-on: unknown name {name!r}: {nearest(name, {*FIGURES, *AREAS})}", hint=_HINT)
    if found["sign"] is None:
        if name not in AREAS and name != "matters":
            raise UsageError(f"--fail-on {name}: a figure needs a limit", hint=f"write, for example, {name}>+0.001")
        return Threshold(text, name)
    if name not in FIGURES:
        raise UsageError(
            f"--fail-on {text}: {name!r} is not a figure", hint=f"use --fail-on {name} to fail on any change in it"
        )
    return _figure(text, found)


def _figure(text: str, found: re.Match[str]) -> Threshold:
    name, unit, signed = found["name"], found["unit"], found["plus"] is not None
    if name in _COUNTS and (signed or unit):
        raise UsageError(
            f"--fail-on {text}: {name} is a count and takes neither sign nor unit", hint=f"write, for example, {name}>0"
        )
    if unit == "%" and not signed:
        raise UsageError(
            f"--fail-on {text}: a percentage needs a sign, as it is a change from the first bundle",
            hint=f"write, for example, {name}>+5%",
        )
    if unit not in ("%", *_UNITS) or (unit not in ("", "%") and name not in _BYTES):
        known = ("%", *(one for one in _UNITS if one)) if name in _BYTES else ("%",)
        raise UsageError(f"--fail-on {text}: unknown unit {unit!r}: {nearest(unit, known)}", hint=_HINT)
    value = float(found["number"]) * (0.01 if unit == "%" else _UNITS[unit])
    return Threshold(text, name, found["sign"] == ">", signed, unit == "%", -value if found["plus"] == "-" else value)


def hold(limit: Threshold, found: DiffResult) -> ThresholdLine:
    """Check whether a comparison keeps one limit; what can't be measured doesn't."""
    if limit.value is None:
        return _any_change(limit, found)
    if limit.name in _COUNTS:
        return _counted(limit, found)
    a, b = _values(limit.name, found)
    if b is None or (limit.change and a is None):
        side = "second" if b is None else "first"
        why = f": {_LACKING[limit.name]}" if limit.name in _LACKING else ""
        return _line(limit, False, None, f"can't be measured: the {side} bundle has no {limit.name}{why}")
    if not limit.change or a is None:
        return _line(limit, not _past(limit, b), b, f"{limit.name} is {_shown(limit, b)}")
    measured = b - a
    if limit.relative:
        measured = measured / abs(a) if a else math.copysign(math.inf, measured) if measured else 0.0
    way = "stayed" if not measured else "rose by" if measured > 0 else "fell by"
    how = "" if not measured else f" {_shown(limit, abs(measured))}"
    message = f"{limit.name} {way}{how}: {_plain(limit, a)} -> {_plain(limit, b)}"
    return _line(limit, not _past(limit, measured), measured, message)


def _past(limit: Threshold, measured: float) -> bool:
    assert limit.value is not None
    return measured > limit.value if limit.over else measured < limit.value


def _line(limit: Threshold, passed: bool, measured: float | None, message: str) -> ThresholdLine:
    return ThresholdLine(limit.text, limit.name, passed, measured, limit.value, message)


def _values(name: str, found: DiffResult) -> tuple[float | None, float | None]:
    if name == "size":
        return found.sizes.a, found.sizes.b
    if name == "program":
        return found.sizes.program_a, found.sizes.program_b
    if name == "tool_calls":
        return found.behaviour.tool_calls_a, found.behaviour.tool_calls_b
    if name == "expected":
        return found.behaviour.expected_a, found.behaviour.expected_b
    if name == "coverage":
        return found.coverage_a, found.coverage_b
    line = next((one for one in found.behaviour.figures if one.name == name), None)
    return (line.a, line.b) if line else (None, None)


def _counted(limit: Threshold, found: DiffResult) -> ThresholdLine:
    if limit.name == "texts":
        if not found.behaviour.chats:
            return _line(limit, False, None, "can't be measured: the bundles have no prompt in common")
        count, what = len(found.behaviour.texts), f"of {found.behaviour.chats} replies differ"
    else:
        areas = [one.area for one in found.changes if one.severity == "matters"]
        count, what = len(areas), f"areas with a change that matters{': ' if areas else ''}{', '.join(areas)}"
    return _line(limit, not _past(limit, count), count, f"{count} {what}")


def _any_change(limit: Threshold, found: DiffResult) -> ThresholdLine:
    if limit.name == "matters":
        return _counted(Threshold(limit.text, "matters", value=0.0), found)
    change = found.change(limit.name)
    if change is None:
        why = next((note for note in found.uncompared if limit.name in note), "the bundles are too different")
        return _line(limit, False, None, f"can't be compared: {why}")
    if change.severity == "same":
        return _line(limit, True, None, f"{limit.name.replace('_', ' ')}: no change")
    return _line(limit, False, None, f"{change.what} ({change.severity}: {change.reason})")


def _shown(limit: Threshold, value: float) -> str:
    return f"{value:.2%}" if limit.relative else _plain(limit, value)


def _plain(limit: Threshold, value: float) -> str:
    return f"{size_text(value)}" if limit.name in _BYTES else f"{value:.4g}"
