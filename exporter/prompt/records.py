"""Records learnt from probes: which members of an object a template writes, in what order, and with what between."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from . import format as form
from .json_writer import write
from .objects import Observed, solve
from .probing import Place, Unexplained, common_start, mark, shown
from .schema_samples import EMPTY, OTHERS, UNKNOWN, VALUES, Object


class Members(Protocol):
    """What learns the values of a record's members.

    Attributes:
        writers: The writers that were learnt so far, by name.
        always: Members that are written even if the object doesn't have them: the place and the key.
    """

    writers: dict[str, form.Writer]
    always: set[tuple[str, str]]

    def value_writer(self, place: Place, base: Object, key: str) -> form.Writer | None:
        """Return the writer of one member's value; None if its text is always the same."""

    def value_place(self, place: Place, base: Object, key: str) -> Place:
        """Return the place where one member's values go."""

    def check(self, writer: form.Writer, place: Place, objects: Iterable[Object], stricter: bool = False) -> None:
        """Check that a writer gives the template's texts of some objects.

        Args:
            writer: The writer to check.
            place: Where the objects can be put.
            objects: The objects to try.
            stricter: Whether the writer may refuse what the template writes.

        Raises:
            Unexplained: If a text differs.
        """


class RecordLearner:
    """Learns records.

    Args:
        members: What learns their members.
    """

    def __init__(self, members: Members) -> None:
        self._members = members

    def learn(self, place: Place, base: Object, keys: Sequence[str]) -> form.RecordWriter:
        """Return the writer of a record.

        Args:
            place: Where the objects can be put.
            base: An object whose first member is always there.
            keys: The members that the record may have.

        Raises:
            Unexplained: If no record of the format explains what the template writes.
        """
        (fixed,) = list(base)[:1]
        base = {fixed: base[fixed]}
        first: Unexplained | None = None
        for always in (None, "description", "properties", "items"):
            # At first it is assumed that a member that isn't there leaves no text behind.
            if always is not None and (always not in keys or not self._touches(place, base, always)):
                continue
            noted = {(place.where, always)} - self._members.always if always else set()
            self._members.always |= noted
            try:
                return self._record_with(place, base, [k for k in keys if k != fixed], always)
            except Unexplained as reason:
                first = first or reason
                self._members.always -= noted
        assert first is not None
        raise first

    def _touches(self, place: Place, base: Object, key: str) -> bool:
        """Return whether a member has an effect."""
        value = VALUES[key][0] if key in VALUES else OTHERS[key] if key in OTHERS else mark("x")
        return place.put({**base, key: value}) not in (place.put(base), None)

    def _record_with(self, place: Place, base: Object, keys: Sequence[str], always: str | None) -> form.RecordWriter:
        """Return a record in which one member may always be written."""
        filled = {**base, **({always: VALUES[always][0]} if always else {})}
        active = [key for key in keys if key == always or self._touches(place, filled, key)]
        record = self._solved(place, base, active, [always] if always else [])
        plain = place.put(filled)
        refuses = tuple(k for k, v in OTHERS.items() if k not in keys and place.put({**filled, k: v}) != plain)
        idle = [*(key for key in keys if key not in active), *OTHERS, UNKNOWN]
        loose = always is not None and any(self._touches(place, base, k) for k in idle if k not in refuses)
        found = self._when(record.model_copy(update={"refuses": refuses}), place, base, active, always)
        if not loose:
            return found
        # Without it, the template reads the other members differently.
        fields = (f.model_copy(update={"when": "required"}) if f.key == always else f for f in found.fields)
        return found.model_copy(update={"fields": tuple(fields)})

    def _needle(self, place: Place, base: Object, key: str, writer: form.Writer | None) -> str:
        """Return the text by which a member's value is found: the one that its writer gives."""
        if writer is not None:
            return self._members.value_place(place, base, key).need(VALUES[key][0])
        without, with_ = place.need(base), place.need({**base, key: True})
        start = len(common_start((without, with_)))
        return re.sub(r"^\W+|\W+$", "", with_[start : len(with_) - len(without) + start])

    def _solved(self, place: Place, base: Object, active: Sequence[str], mandatory: Sequence[str]) -> form.RecordWriter:
        """Return the record that explains all combinations of its members, with those of ``mandatory`` always there."""
        (fixed,) = base
        writers = {key: self._members.value_writer(place, base, key) for key in active}
        writers[fixed] = self._members.value_writer(place, {}, fixed)
        needles = {key: self._needle(place, base, key, writers[key]) for key in active}
        own = writers[fixed]
        needles[fixed] = write(own, base[fixed], self._members.writers) if own else ""
        optional = [key for key in active if key not in mandatory]
        sets = itertools.chain.from_iterable(itertools.combinations(optional, n) for n in range(len(optional) + 1))
        seen = [self._observed(place, base, [*base, *mandatory, *chosen], needles) for chosen in sets]
        order = max(seen, key=lambda each: len(each.keys)).keys
        found = None
        if all(sorted(each.keys, key=order.index) == list(each.keys) for each in seen):
            found = solve(order, seen)
        if found is None:
            raise Unexplained(f"what stands between the members of {place.where} ({', '.join(order)}) has no rule")
        fields = tuple(
            # A member without a writer is all literal.
            f.model_copy(update={"writer": writers[f.key]} if writers[f.key] else {"before": f.before + needles[f.key]})
            for f in found.fields
        )
        return found.model_copy(update={"fields": fields})

    def _observed(self, place: Place, base: Object, present: Sequence[str], needles: Mapping[str, str]) -> Observed:
        text = place.need({**base, **{key: VALUES[key][0] for key in present if key not in base}})
        if any(text.count(needles[key]) != 1 for key in present):
            raise Unexplained(f"{place.where} with {', '.join(present)} is written as {shown(text, 160)}")
        spans = sorted((text.index(needles[key]), key) for key in present)
        at, gaps = 0, []
        for start, key in spans:
            gaps.append(text[at:start])
            at = start + len(needles[key])
        return Observed(tuple(key for _, key in spans), (*gaps, text[at:]))

    def _when(
        self, record: form.RecordWriter, place: Place, base: Object, active: Sequence[str], always: str | None
    ) -> form.RecordWriter:
        """Find out what becomes of members that are empty or absent, and check the whole."""
        full = {**base, **{key: VALUES[key][0] for key in active}}
        for key in (*active, *base):
            without = {k: v for k, v in full.items() if k != key}
            tests: list[Object] = [without, *([{**full, key: EMPTY[key]}] if key in EMPTY else [])]
            if key in active:
                # What is always written stands here too, as its own rule may not be known yet.
                bare = {**base, **({always: VALUES[always][0]} if always and always != key else {})}
                tests += [bare, *([{**bare, key: EMPTY[key]}] if key in EMPTY else [])]
            for when in ("truthy", "present", "always", "required"):
                fields = tuple(f.model_copy(update={"when": when}) if f.key == key else f for f in record.fields)
                trial = record.model_copy(update={"fields": fields})
                rest: Callable[[Object], bool] = lambda o: self._fits(trial, place, base, o)  # noqa: E731, B023
                if all(map(rest, tests)):
                    record = trial
                    break
            else:
                raise Unexplained(f"what becomes of an empty '{key}' in {place.where} has no rule")
        subsets = [{**base, **{key: VALUES[key][0] for key in pair}} for pair in itertools.combinations(active, 2)]
        self._members.check(record, place, [full, *subsets], stricter=True)
        return record

    def _fits(self, record: form.RecordWriter, place: Place, base: Object, value: Object) -> bool:
        return self._structure(record, place, base, value) == place.inner(value) or self._refused(record, value)

    def _refused(self, record: form.RecordWriter, value: Object) -> bool:
        return any(value.get(f.key) is None and f.when == "required" for f in record.fields)

    def _structure(self, record: form.RecordWriter, place: Place, base: Object, value: Object) -> str:
        """Return the record's text with the members' texts from the template, as their writers may be incomplete."""
        text, joined = record.open, False
        for f in record.fields:
            given = value.get(f.key)
            if (given is None and f.when != "always") or (not given and f.when == "truthy"):
                continue
            if f.joined:
                text, joined = text + (record.between if joined else ""), True
            inner = "" if given is None or f.writer is None else self._text_of(place, base, f.key, given, f.writer)
            text += f.before + inner + f.after
        return text + record.close

    def _text_of(self, place: Place, base: Object, key: str, value: Any, writer: form.Writer) -> str:
        if key in VALUES and key not in base:
            return self._members.value_place(place, base, key).inner(value) or ""
        return write(writer, value, self._members.writers)
