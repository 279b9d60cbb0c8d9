"""How a template writes tool declarations, learnt from probes: as a dump of the JSON, or field by field."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import format as form
from .json_writer import write
from .objects import Observed, solve
from .probing import Place, Unexplained, common_start, mark, shown
from .values import SAMPLES, learn_map, learn_string, learn_value, misfit

Object = dict[str, Any]
TYPES = ("string", "integer", "number", "boolean", "array", "object")
_UNKNOWN = "qzxkey"
_OTHERS: Mapping[str, Any] = {
    "title": mark("t"), "default": mark("t"), "format": mark("t"), "minimum": 3, "maximum": 4, "minLength": 3,
    "maxLength": 4, "pattern": mark("t"), "minItems": 3, "maxItems": 4, "uniqueItems": True, "const": mark("t"),
    "additionalProperties": False, "anyOf": [{"type": "string"}], "oneOf": [{"type": "string"}],
    "allOf": [{"type": "string"}], "examples": [mark("t")], "$ref": mark("t"), "$defs": {"T": {"type": "string"}},
    "strict": True, "response": {"type": "object", "description": mark("t")}, "returns": mark("t"),
    "return": mark("t"), "id": mark("t"),
}  # fmt: skip
_PROPERTIES: tuple[Object, ...] = (
    {"type": "string"}, {"type": "integer", "description": mark("d")}, {"description": "x", "type": mark("t")},
    {"type": "string", "enum": [mark("e")]}, {"type": "boolean", "nullable": True},
)  # fmt: skip
_ITEMS: tuple[Object, ...] = (
    {"type": mark("ia")},
    {"type": "zz", "description": mark("d")},
    {"description": "x"},
    {"qzxany": 5},
)
# Values for each member of a schema. The first is the one that records are observed with: it holds a mark.
_VALUES: Mapping[str, Sequence[Any]] = {
    "description": (mark("desc"), "Zz", "other"),
    "enum": ([mark("enum")], [5], [True], ["z", mark("enumb")]),
    "required": ([mark("req")], ["z", "yw"]),
    "items": _ITEMS,
    "properties": (
        {mark("prop"): {"type": mark("pa")}},
        {"Zz": {"type": "integer", "description": "x"}},
        {"a": {"type": "string"}, "b": {"type": "boolean"}},
    ),
    "nullable": (True,),
    "parameters": (
        {"type": "object", "properties": {mark("prop"): {"type": mark("pa")}}},
        {"type": "object", "properties": {"Zz": {"type": "string", "description": "x"}}, "required": ["Zz"]},
        {"type": "object", "description": mark("pd"), "properties": {"b": {"type": "integer"}}},
        {"type": "zz"},
    ),
    "name": (mark("name"), "Zz", "other"),
}
_EMPTY: Mapping[str, Any] = {"description": "", "enum": [], "required": [], "items": {}, "properties": {},
                             "nullable": False, "parameters": {}}  # fmt: skip


def sample_tool(tag: str = "") -> Object:
    """A tool whose words are all marks."""
    properties = {mark(f"tp{tag}"): {"type": "string", "description": mark(f"td{tag}")}}
    parameters = {"type": "object", "properties": properties, "required": [mark(f"tp{tag}")]}
    function = {"name": mark(f"tn{tag}"), "description": mark(f"tf{tag}"), "parameters": parameters}
    return {"type": "function", "function": function}


@dataclass
class SchemaLearner:
    """Learns the writers of declarations. writers: what was learnt under a name."""

    writers: dict[str, form.Writer] = field(default_factory=dict)
    learning: set[str] = field(default_factory=set)
    # Members that are written even where they aren't there: the place and the key.
    always: set[tuple[str, str]] = field(default_factory=set)

    def tool(self, place: Place) -> form.Writer:
        """The writer of ``{"type": "function", "function": {...}}``. Raises Unexplained if there is none."""
        whole = sample_tool()
        if self._dumps(place, whole):
            return self._dump(place, whole, (sample_tool("b"),))
        inner = Place(
            lambda v: place.put({"type": "function", "function": v}),
            [whole["function"], {"name": "Zz"}, {"name": "a", "description": mark("d")}, sample_tool("b")["function"]],
            "a function",
        )
        # The text around the function is the declaration's own.
        before, after = inner.before[len(place.before) :], inner.after[: len(inner.after) - len(place.after)]
        writer = self._object("function", inner, {"name": mark("name")}, ("name", "description", "parameters"))
        wrapped = form.RecordField(key="function", before=before, after=after, when="required", writer=writer)
        return form.RecordWriter(open="", between="", close="", fields=(wrapped,))

    def _dumps(self, place: Place, base: Object) -> bool:
        """Whether a member that no template knows is written."""
        return mark("dump") in (place.put({**base, _UNKNOWN: mark("dump")}) or "")

    def _dump(self, place: Place, base: Object, others: Iterable[Object] = ()) -> form.Writer:
        """A writer of an object whose members are all written, known or not."""
        # A member that leaves no trace where its value is null would hide where values begin.
        kept = [v for v in SAMPLES if v is not None or _UNKNOWN in (place.put({_UNKNOWN: v}) or "")]
        free = Place(lambda v: place.put({_UNKNOWN: v}), kept, "a member of a schema")
        name = self._named("json", free)
        value = self.writers[name]
        assert isinstance(value, form.AnyWriter)
        assert isinstance(value.string, form.StringWriter)
        ref = form.RefWriter(name=name)
        texts = [(mark(n), write(value.string, mark(n), {})) for n in ("one", "two")]
        found = learn_map(place, texts[0], texts[1], value.string, ref)
        if found is None:
            raise Unexplained(f"the members of {place.where} aren't written alike")
        if place.inner({"aqk": 1, "bqk": None}) == place.inner({"aqk": 1}) is not None:
            found = found.model_copy(update={"skip_null": True})
        by_key = {}
        for key, values in (*_VALUES.items(), ("type", ("string", mark("type")))):
            if misfit(found, place, [{key: value} for value in values], self.writers) is not None:
                by_key[key] = self._member(place, found, key)
        found = found.model_copy(update={"by_key": by_key})
        self._check(found, place, [base, *others])
        return ref if found == value.map else found

    def _member(self, place: Place, map_: form.MapWriter, key: str) -> form.Writer:
        """The writer of a member that a dump writes otherwise than the rest."""
        before = place.before + map_.open + write(map_.key, key, {}) + map_.colon
        inner = Place.between(lambda v: place.put({key: v}), before, map_.close + place.after, f"'{key}'")
        if key == "type":
            return learn_string(inner)
        if key in ("enum", "required"):
            return self._list(inner, key)
        if key == "properties":
            return self._properties(inner)
        raise Unexplained(f"'{key}' of {place.where} is written otherwise than other members")

    def _named(self, name: str, place: Place) -> str:
        """Learns a value's writer under a name, or finds the like of it."""
        trial = dict(self.writers)
        for count in itertools.count(1):
            own = name if count == 1 else f"{name}{count}"
            trial.pop(own, None)
            found = learn_value(place, own, trial)
            if own not in self.writers or self.writers[own] == found:
                self.writers[own] = found
                return own
        raise AssertionError

    def _object(self, name: str, place: Place, base: Object, keys: Sequence[str]) -> form.Writer:
        """A dump, or a record of ``keys``."""
        if self._dumps(place, base):
            return self._dump(place, base)
        return self._record(place, base, keys)

    def _schema(self, name: str, place: Place) -> form.Writer:
        """The writer of a property's schema or of a list's items, by its type where that matters."""
        if name in self.learning:
            return form.RefWriter(name=name)
        self.learning.add(name)
        known = dict(self.writers)
        keys = ("type", "description", "enum", "items", "properties", "required", "nullable")
        try:
            if self._dumps(place, {"type": "string"}):
                found: form.Writer = self._dump(place, {"type": "string"})
            else:
                cases = {kind: self._record(place, {"type": kind}, keys) for kind in TYPES}
                alike = all(case == cases["string"] for case in cases.values())
                found = cases["string"] if alike else form.CasesWriter(key="type", cases=dict(cases))
        except Unexplained:
            # Another way to read what is around may be tried yet: nothing half-learnt may stay.
            self.learning.discard(name)
            self.writers.clear()
            self.writers.update(known)
            raise
        self.writers[name] = found
        return form.RefWriter(name=name)

    def check_references(self) -> None:
        """Checks that every writer that is named was learnt."""
        lost = self.learning - set(self.writers)
        if lost:
            raise Unexplained(f"no writer was found for {', '.join(sorted(lost))}")

    def _field(self, place: Place, base: Object, key: str) -> form.Writer | None:
        """The writer of one member's value; None where its text is always the same."""
        where = f"'{key}' of {place.where}"
        if key == "type":
            names = ("string", "integer", "boolean", mark("type"))
            return learn_string(Place(lambda v: place.put({**base, key: v}), names, where))
        if key == "nullable":
            return None
        inner = self._place(place, base, key)
        if key in ("description", "name"):
            return learn_string(inner)
        if key in ("enum", "required"):
            return self._list(inner, key)
        if key == "properties":
            return self._properties(inner)
        if key == "items":
            # The place may be a schema's own nested one: then the writer is known by its name.
            return self._schema("items", inner)
        return self._object("parameters", inner, {"type": "object", **_VALUES["parameters"][0]},
                            ("type", "description", "properties", "required"))  # fmt: skip

    def _place(self, place: Place, base: Object, key: str) -> Place:
        """Where a member's values go. An empty one belongs to the samples where the template writes it as such."""

        def put(value: Any) -> str | None:
            return place.put({**base, key: value})

        samples = list(_VALUES[key])
        if key in ("items", "properties", "parameters"):
            empty = put({})
            if empty is not None and (empty != place.put(base) or (place.where, key) in self.always):
                samples.append({})
        return Place(put, samples, f"'{key}' of {place.where}")

    def _list(self, place: Place, key: str) -> form.Writer:
        samples = ("Zz", mark("e")) if key == "required" else ("Zz", mark("e"), 17, True, None, [5], {"k": "v"}, 3.5)
        item = Place(lambda v: place.put([v]), samples, f"one of {place.where}")
        required = key == "required"
        writer: form.Writer = learn_string(item) if required else form.RefWriter(name=self._named("choice", item))
        one, two = (write(writer, mark(n), self.writers) for n in ("one", "two"))
        single, double = place.need([mark("one")]), place.need([mark("one"), mark("two")])
        if single.count(one) != 1 or double.count(one) != 1 or double.count(two) != 1:
            raise Unexplained(f"{place.where} is written as {shown(double)}")
        open_, close = single.split(one)
        between = double[double.index(one) + len(one) : double.index(two)]
        return form.ListWriter(open=open_, between=between, close=close, item=writer)

    def _properties(self, place: Place) -> form.Writer:
        inner = Place(lambda v: place.put({mark("pn"): v}), _PROPERTIES, "a property")
        value = self._schema("property", inner)
        pairs = []
        for name in ("one", "two"):
            schema = {"type": "string", "description": mark(name)}
            pairs.append((schema, inner.need(schema)))
        found = learn_map(place, pairs[0], pairs[1], form.StringWriter(), value)
        if found is None:
            raise Unexplained(f"{place.where} aren't written alike")
        known = [key for key in (*_VALUES, "type", "title", "default", "format") if key != "parameters"]
        refuses = []
        for key in known:
            plain = found.model_copy(update={"value": form.StringWriter()})
            wanted = write(plain, {key: pairs[0][1], "aqk": pairs[1][1]}, {})
            if place.inner({key: pairs[0][0], "aqk": pairs[1][0]}) != wanted:
                refuses.append(key)
        return found.model_copy(update={"refuses": tuple(refuses)})

    def _check(self, writer: form.Writer, place: Place, objects: Iterable[Object], stricter: bool = False) -> None:
        if self.learning - set(self.writers):
            return  # A writer that refers to itself is checked by generated chats, once it is whole.
        wrong = misfit(writer, place, objects, self.writers, stricter)
        if wrong is not None:
            raise Unexplained(
                f"of {shown(wrong[0], 160)} as {place.where} it writes {shown(wrong[1], 160)}, "
                f"not {shown(wrong[2], 160)}"
            )

    def _record(self, place: Place, base: Object, keys: Sequence[str]) -> form.RecordWriter:
        """A record: which members have an effect, in what order, with what between."""
        (fixed,) = list(base)[:1]
        base = {fixed: base[fixed]}
        first: Unexplained | None = None
        for always in (None, "description", "properties", "items"):
            # At first each member counts as one that leaves nothing behind where it is not there.
            if always is not None and (always not in keys or not self._touches(place, base, always)):
                continue
            noted = {(place.where, always)} - self.always if always else set()
            self.always |= noted
            try:
                return self._record_with(place, base, [k for k in keys if k != fixed], always)
            except Unexplained as reason:
                first = first or reason
                self.always -= noted
        assert first is not None
        raise first

    def _touches(self, place: Place, base: Object, key: str) -> bool:
        """Whether a member has an effect."""
        value = _VALUES[key][0] if key in _VALUES else _OTHERS[key] if key in _OTHERS else mark("x")
        return place.put({**base, key: value}) not in (place.put(base), None)

    def _record_with(self, place: Place, base: Object, keys: Sequence[str], always: str | None) -> form.RecordWriter:
        """A record one of whose members may always be written."""
        filled = {**base, **({always: _VALUES[always][0]} if always else {})}
        active = [key for key in keys if key == always or self._touches(place, filled, key)]
        record = self._solved(place, base, active, [always] if always else [])
        plain = place.put(filled)
        refuses = tuple(k for k, v in _OTHERS.items() if k not in keys and place.put({**filled, k: v}) != plain)
        idle = [*(key for key in keys if key not in active), *_OTHERS, _UNKNOWN]
        loose = always is not None and any(self._touches(place, base, k) for k in idle if k not in refuses)
        found = self._when(record.model_copy(update={"refuses": refuses}), place, base, active, always)
        if not loose:
            return found
        # Without it, the template reads the other members in another way.
        fields = (f.model_copy(update={"when": "required"}) if f.key == always else f for f in found.fields)
        return found.model_copy(update={"fields": tuple(fields)})

    def _needle(self, place: Place, base: Object, key: str, writer: form.Writer | None) -> str:
        """The text by which a member's value is found: that which its writer gives."""
        if writer is not None:
            return self._place(place, base, key).need(_VALUES[key][0])
        without, with_ = place.need(base), place.need({**base, key: True})
        start = len(common_start((without, with_)))
        return re.sub(r"^\W+|\W+$", "", with_[start : len(with_) - len(without) + start])

    def _solved(self, place: Place, base: Object, active: Sequence[str], mandatory: Sequence[str]) -> form.RecordWriter:
        """The record that explains all combinations of its members, those of ``mandatory`` always there."""
        (fixed,) = base
        writers = {key: self._field(place, base, key) for key in active}
        writers[fixed] = self._field(place, {}, fixed)
        needles = {key: self._needle(place, base, key, writers[key]) for key in active}
        own = writers[fixed]
        needles[fixed] = write(own, base[fixed], self.writers) if own else ""
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
        text = place.need({**base, **{key: _VALUES[key][0] for key in present if key not in base}})
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
        """Finds out what becomes of members that are empty or not there, and checks the whole."""
        full = {**base, **{key: _VALUES[key][0] for key in active}}
        for key in (*active, *base):
            without = {k: v for k, v in full.items() if k != key}
            tests: list[Object] = [without, *([{**full, key: _EMPTY[key]}] if key in _EMPTY else [])]
            if key in active:
                # What is always written stands here too, as its own rule may not be known yet.
                bare = {**base, **({always: _VALUES[always][0]} if always and always != key else {})}
                tests += [bare, *([{**bare, key: _EMPTY[key]}] if key in _EMPTY else [])]
            for when in ("truthy", "present", "always", "required"):
                fields = tuple(f.model_copy(update={"when": when}) if f.key == key else f for f in record.fields)
                trial = record.model_copy(update={"fields": fields})
                rest: Callable[[Object], bool] = lambda o: self._fits(trial, place, base, o)  # noqa: E731, B023
                if all(map(rest, tests)):
                    record = trial
                    break
            else:
                raise Unexplained(f"what becomes of an empty '{key}' in {place.where} has no rule")
        subsets = [{**base, **{key: _VALUES[key][0] for key in pair}} for pair in itertools.combinations(active, 2)]
        self._check(record, place, [full, *subsets], stricter=True)
        return record

    def _fits(self, record: form.RecordWriter, place: Place, base: Object, value: Object) -> bool:
        return self._structure(record, place, base, value) == place.inner(value) or self._refused(record, value)

    def _refused(self, record: form.RecordWriter, value: Object) -> bool:
        return any(value.get(f.key) is None and f.when == "required" for f in record.fields)

    def _structure(self, record: form.RecordWriter, place: Place, base: Object, value: Object) -> str:
        """The record's text with the members' own texts read from the template, as their writers may not be whole."""
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
        if key in _VALUES and key not in base:
            return self._place(place, base, key).inner(value) or ""
        return write(writer, value, self.writers)
