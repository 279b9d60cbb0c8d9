"""How a template writes objects with known members, such as a schema: which, in what order, and with what between."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from .format import RecordField, RecordWriter
from .probing import common_end, common_start

_LONGEST = 12


@dataclass(frozen=True)
class Observed:
    """An object as it was written.

    Attributes:
        keys: Its members in the order of the text.
        gaps: The texts before, between and after them.
    """

    keys: tuple[str, ...]
    gaps: tuple[str, ...]


def _separators(seen: Sequence[Observed], before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Return what could stand between two fields, shortest first; the empty text comes last."""
    found = set()
    for each in seen:
        for (one, two), gap in zip(itertools.pairwise(each.keys), each.gaps[1:-1], strict=True):
            rest = gap.removesuffix(before.get(two, "")).removeprefix(after.get(one, ""))
            found |= {rest[-n:] for n in range(1, min(len(rest), _LONGEST) + 1)}
            found |= {rest[:n] for n in range(1, min(len(rest), _LONGEST) + 1)}
    return [*sorted(found, key=lambda text: (len(text), text)), ""]


def _assignments(keys: Sequence[str]) -> Iterator[dict[str, bool]]:
    """Yield which fields are joined: all of them first, then all but one, and so on."""
    for count in range(len(keys) + 1):
        for alone in itertools.combinations(keys, count):
            yield {key: key not in alone for key in keys}


def solve(keys: Sequence[str], seen: Sequence[Observed]) -> RecordWriter | None:
    """Return a record that gives all that was seen, without its fields' writers; None if there is none.

    Args:
        keys: The fields in the order of the text.
        seen: Objects with these fields, each field in at least one of them.
    """
    open_ = common_start(each.gaps[0] for each in seen)
    close = common_end(each.gaps[-1] for each in seen if each.keys)
    before = {each.keys[0]: each.gaps[0][len(open_) :] for each in seen if each.keys}
    after = {each.keys[-1]: each.gaps[-1][: len(each.gaps[-1]) - len(close)] for each in seen if each.keys}
    for between in _separators(seen, before, after):
        for joined in _assignments(keys) if between else [dict.fromkeys(keys, True)]:
            found = _fill(seen, between, joined, dict(before), dict(after))
            if found is not None:
                fields = tuple(
                    RecordField(key=key, before=found[0].get(key, ""), after=found[1].get(key, ""), joined=joined[key])
                    for key in keys
                )
                return RecordWriter(open=open_, between=between, close=close, fields=fields)
    return None


def _fill(
    seen: Sequence[Observed], between: str, joined: Mapping[str, bool], before: dict[str, str], after: dict[str, str]
) -> tuple[dict[str, str], dict[str, str]] | None:
    """Return the texts before and after each field under one assumption; None if it contradicts what was seen."""
    gaps: dict[tuple[str, str, str], str] = {}
    for each in seen:
        for at, (one, two) in enumerate(itertools.pairwise(each.keys)):
            separated = joined[two] and any(joined[key] for key in each.keys[: at + 1])
            triple = (one, two, between if separated else "")
            if gaps.setdefault(triple, each.gaps[at + 1]) != each.gaps[at + 1]:
                return None
    open_gaps = dict(gaps)
    while open_gaps:
        ready = [t for t in open_gaps if t[0] in after or t[1] in before]
        if not ready:
            _guess(open_gaps, before)
            continue
        for one, two, separator in ready:
            gap = open_gaps.pop((one, two, separator))
            if one in after:
                head = after[one] + separator
                if not gap.startswith(head) or before.setdefault(two, gap[len(head) :]) != gap[len(head) :]:
                    return None
            else:
                tail = separator + before[two]
                if not gap.endswith(tail):
                    return None
                after[one] = gap[: len(gap) - len(tail)]
    return before, after


def _guess(gaps: Mapping[tuple[str, str, str], str], before: dict[str, str]) -> None:
    """Take what all texts into one field end with as its own, but for the separator: any split that fits will do."""
    targets = [two for _, two, _ in gaps]
    chosen = max(targets, key=targets.count)
    ending = common_end(gap for (_, two, _), gap in gaps.items() if two == chosen)
    separator = next(separator for _, two, separator in gaps if two == chosen)
    before[chosen] = ending.partition(separator)[2] if separator and separator in ending else ending
