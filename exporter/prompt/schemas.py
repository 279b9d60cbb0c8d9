"""How a template writes tool declarations, learnt from probes: as a dump of the JSON, or field by field."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import format as form
from .json_writer import write
from .probing import Place, Unexplained, mark, shown
from .records import RecordLearner
from .schema_samples import PROPERTIES, TYPES, UNKNOWN, VALUES, Object, sample_tool
from .values import SAMPLES, learn_map, learn_string, learn_value, misfit


@dataclass
class SchemaLearner:
    """Learns the writers of declarations.

    Attributes:
        writers: The writers that were learnt so far, by name.
        learning: The names of the writers whose learning has begun.
        always: Members that are written even if the object doesn't have them: the place and the key.
    """

    writers: dict[str, form.Writer] = field(default_factory=dict)
    learning: set[str] = field(default_factory=set)
    always: set[tuple[str, str]] = field(default_factory=set)

    def tool(self, place: Place) -> form.Writer:
        """Return the writer of ``{"type": "function", "function": {...}}``.

        Raises:
            Unexplained: If there is none.
        """
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
        """Return whether a member that no template knows is written."""
        return mark("dump") in (place.put({**base, UNKNOWN: mark("dump")}) or "")

    def _dump(self, place: Place, base: Object, others: Iterable[Object] = ()) -> form.Writer:
        """Return the writer of an object whose members are all written, known or not."""
        # A member that leaves no trace if its value is null would hide where values begin.
        kept = [v for v in SAMPLES if v is not None or UNKNOWN in (place.put({UNKNOWN: v}) or "")]
        free = Place(lambda v: place.put({UNKNOWN: v}), kept, "a member of a schema")
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
        for key, values in (*VALUES.items(), ("type", ("string", mark("type")))):
            if misfit(found, place, [{key: value} for value in values], self.writers) is not None:
                by_key[key] = self._member(place, found, key)
        found = found.model_copy(update={"by_key": by_key})
        self.check(found, place, [base, *others])
        return ref if found == value.map else found

    def _member(self, place: Place, map_: form.MapWriter, key: str) -> form.Writer:
        """Return the writer of a member that a dump writes differently from the rest."""
        before = place.before + map_.open + write(map_.key, key, {}) + map_.colon
        inner = Place.between(lambda v: place.put({key: v}), before, map_.close + place.after, f"'{key}'")
        if key == "type":
            return learn_string(inner)
        if key in ("enum", "required"):
            return self._list(inner, key)
        if key == "properties":
            return self._properties(inner)
        raise Unexplained(f"'{key}' of {place.where} is written differently from other members")

    def _named(self, name: str, place: Place) -> str:
        """Learn a value's writer and return its name; that of an equal one if it was learnt before."""
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
        """Return the writer of a dump, or of a record of ``keys``."""
        if self._dumps(place, base):
            return self._dump(place, base)
        return self._record(place, base, keys)

    def _schema(self, name: str, place: Place) -> form.Writer:
        """Return the writer of a property's schema or of a list's items, by its type if that matters."""
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
            # Another way to read the surroundings may be tried next: nothing half-learnt may stay.
            self.learning.discard(name)
            self.writers.clear()
            self.writers.update(known)
            raise
        self.writers[name] = found
        return form.RefWriter(name=name)

    def check_references(self) -> None:
        """Check that every writer that is referred to was learnt.

        Raises:
            Unexplained: If one wasn't.
        """
        lost = self.learning - set(self.writers)
        if lost:
            raise Unexplained(f"no writer was found for {', '.join(sorted(lost))}")

    def value_writer(self, place: Place, base: Object, key: str) -> form.Writer | None:
        """Return the writer of one member's value; None if its text is always the same.

        Raises:
            Unexplained: If there is none.
        """
        where = f"'{key}' of {place.where}"
        if key == "type":
            names = ("string", "integer", "boolean", mark("type"))
            return learn_string(Place(lambda v: place.put({**base, key: v}), names, where))
        if key == "nullable":
            return None
        inner = self.value_place(place, base, key)
        if key in ("description", "name"):
            return learn_string(inner)
        if key in ("enum", "required"):
            return self._list(inner, key)
        if key == "properties":
            return self._properties(inner)
        if key == "items":
            # The place may be nested in the schema itself: then the writer is known by its name.
            return self._schema("items", inner)
        return self._object(
            "parameters",
            inner,
            {"type": "object", **VALUES["parameters"][0]},
            ("type", "description", "properties", "required"),
        )

    def value_place(self, place: Place, base: Object, key: str) -> Place:
        """Return the place where one member's values go.

        An empty value belongs to the samples if the template writes it as such.
        """

        def put(value: Any) -> str | None:
            return place.put({**base, key: value})

        samples = list(VALUES[key])
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
        inner = Place(lambda v: place.put({mark("pn"): v}), PROPERTIES, "a property")
        value = self._schema("property", inner)
        pairs = []
        for name in ("one", "two"):
            schema = {"type": "string", "description": mark(name)}
            pairs.append((schema, inner.need(schema)))
        found = learn_map(place, pairs[0], pairs[1], form.StringWriter(), value)
        if found is None:
            raise Unexplained(f"{place.where} aren't written alike")
        known = [key for key in (*VALUES, "type", "title", "default", "format") if key != "parameters"]
        refuses = []
        for key in known:
            plain = found.model_copy(update={"value": form.StringWriter()})
            wanted = write(plain, {key: pairs[0][1], "aqk": pairs[1][1]}, {})
            if place.inner({key: pairs[0][0], "aqk": pairs[1][0]}) != wanted:
                refuses.append(key)
        return found.model_copy(update={"refuses": tuple(refuses)})

    def check(self, writer: form.Writer, place: Place, objects: Iterable[Object], stricter: bool = False) -> None:
        """Check that a writer gives the template's texts of some objects.

        A writer that refers to itself is checked by generated chats instead, once it is complete.

        Args:
            writer: The writer to check.
            place: Where the objects can be put.
            objects: The objects to try.
            stricter: Whether the writer may refuse what the template writes.

        Raises:
            Unexplained: If a text differs.
        """
        if self.learning - set(self.writers):
            return
        wrong = misfit(writer, place, objects, self.writers, stricter)
        if wrong is not None:
            raise Unexplained(
                f"of {shown(wrong[0], 160)} as {place.where} it writes {shown(wrong[1], 160)}, "
                f"not {shown(wrong[2], 160)}"
            )

    def _record(self, place: Place, base: Object, keys: Sequence[str]) -> form.RecordWriter:
        return RecordLearner(self).learn(place, base, keys)
