"""How a template writes JSON values, learnt from probes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import format as form
from .json_writer import write
from .probing import Place, Unexplained, common_end, common_start, mark, shown
from .segments import PromptRefused

SAMPLES: tuple[Any, ...] = (
    mark("s"),
    17,
    True,
    None,
    [mark("e")],
    {mark("k"): mark("v")},
    "",
    3.5,
    [],
    {},
    False,
    "Zz",
    [5],
    {"Q": 5},
)
_ONE, _TWO = mark("one"), mark("two")
_HARD = (
    "a'b",
    'q"q',
    "back\\slash",
    "line\nline\ttab\r",
    "\x01\x1f\x7f\b\f",
    "é漢😀\u2028",
    "<a&b>/{}[],:",
    "  sp  ",
    "",
)
_NUMBERS = (0, 1, -3, 42, 10**20, 1.5, -0.25, 100.0, 1e16, 1e-07, 123456.789)
_ORDER = ("b", "a", "A", "C", "é", "Z")


def learn_string(place: Place) -> form.StringWriter:
    """Return a string's writer.

    Raises:
        Unexplained: If the format has no such writer.
    """
    text = place.need(_ONE)
    upper = _ONE not in text
    core = _ONE.upper() if upper else _ONE
    if text.count(core) != 1:
        raise Unexplained(f"of {place.where} {shown(_ONE)} it writes {shown(text)}")
    open_, close = text.split(core)
    first: tuple[str, str, str] | None = None
    # If an empty text takes away more than itself, the record around it says so.
    hard = [t for t in _HARD if (t.isascii() or not upper) and (t or place.inner(t) is not None)]
    for escape in ("none", "json"):
        for how in ("none", "both", "start", "end"):
            if upper and escape == "json":
                continue
            writer = form.StringWriter(open=open_, close=close, escape=escape, trim=how, upper=upper)
            wrong = misfit(writer, place, hard)
            if wrong is None:
                return writer
            first = first or wrong
    assert first is not None
    raise Unexplained(f"of {shown(first[0])} as {place.where} it writes {shown(first[1])}")


def misfit(
    writer: form.Writer, place: Place, values: Any, writers: Any = None, stricter: bool = False
) -> tuple[str, str, str] | None:
    """Return the first value that comes out differently than predicted, with its text and the prediction.

    Args:
        writer: What predicts.
        place: Where the values can be put.
        values: The values to try.
        writers: What ``ref`` names.
        stricter: Whether the writer may refuse what the template takes.

    Returns:
        None if all come out as predicted.
    """
    for value in values:
        given = place.inner(value)
        try:
            wanted: str | None = write(writer, value, writers or {})
        except PromptRefused:
            wanted = None
        if given != wanted and not (stricter and wanted is None):
            return (str(value), str(given), str(wanted))
    return None


def learn_value(place: Place, name: str, writers: dict[str, form.Writer], inner: str | None = None) -> form.AnyWriter:
    """Return a writer for any JSON value.

    Args:
        place: Where values can be put.
        name: What the writer will be called in ``Tools.writers``; it is put there.
        writers: The writers so far.
        inner: The name of the writer of nested values; if None, this one.

    Raises:
        Unexplained: If not even strings can be explained. Other types are left out if they can't be.
    """
    string = learn_string(place)
    words = [place.inner(value) or None for value in (True, False)]
    if len(set(words)) < 2 or None in words:
        words = [None, None]
    null = place.inner(None) or (None if inner else _nested_null(place))
    found = form.AnyWriter(string=string, number=_learn_number(place), true=words[0], false=words[1], null=null)
    nested = writers[inner] if inner else found
    assert isinstance(nested, form.AnyWriter)
    assert isinstance(nested.string, form.StringWriter)
    reference = form.RefWriter(name=inner or name)
    list_ = _learn_list(place, nested.string, reference)
    map_ = _learn_map(place, nested.string, reference)
    for lists, maps in ((list_, map_), (None, map_), (list_, None), (None, None)):
        whole = found.model_copy(update={"list": lists, "map": maps})
        trial = {**writers, name: whole}
        tests = _nested(whole, nested if inner else whole)
        if place.inner(None) is None:
            tests = [test for test in tests if test is not None]
        if misfit(whole, place, tests, trial) is None:
            writers[name] = whole
            return whole
    raise Unexplained(f"values as {place.where} aren't written alike")  # strings alone always fit


def _nested_null(place: Place) -> str | None:
    """Return how null is written in a list, if the place itself leaves out members that are null."""
    text, others = place.inner([None]), (place.inner([_ONE]), place.inner([17]))
    if text is None or None in others:
        return None
    start, end = common_start((text, *map(str, others))), common_end((text, *map(str, others)))
    return text[len(start) : len(text) - len(end)] or None


def _learn_number(place: Place) -> form.NumberWriter | None:
    text = place.inner(71234)
    if text is None or text.count("71234") != 1:
        return None
    open_, close = text.split("71234")
    writer = form.NumberWriter(open=open_, close=close)
    return writer if misfit(writer, place, _NUMBERS) is None else None


def _leaves(writer: form.AnyWriter) -> list[Any]:
    found: list[Any] = [_ONE, "two words "]
    found += [7, 2.5] if writer.number else []
    found += [True, False] if writer.true is not None else []
    return found + ([None] if writer.null is not None else [])


def _nested(top: form.AnyWriter, writer: form.AnyWriter) -> list[Any]:
    """Return values that nest what the writers take: ``top`` takes the outermost, ``writer`` the rest."""
    leaves, found = _leaves(writer), _leaves(top)
    flat = {f"k{n}": leaf for n, leaf in enumerate(leaves)}
    lists = [[[leaves, []], _TWO]] if writer.list else []
    maps = [{"b": flat, "A": {}, "a": {"deep": {"deeper": _TWO}}}] if writer.map else []
    both = [{"k": [leaves, {"m": [{}]}]}, [flat, {}, []]] if lists and maps else []
    if top.list:
        found += [[], leaves, [*lists, *maps, *both]]
    if top.map:
        found += [{}, flat, {f"n{n}": value for n, value in enumerate([*lists, *maps, *both, _ONE])}]
    return found


def _learn_list(place: Place, string: form.StringWriter, item: form.Writer) -> form.ListWriter | None:
    one, two = place.inner([_ONE]), place.inner([_ONE, _TWO])
    first, second = write(string, _ONE, {}), write(string, _TWO, {})
    if one is None or two is None or one.count(first) != 1 or two.count(first) != 1 or two.count(second) != 1:
        return None
    open_, close = one.split(first)
    between = two[two.index(first) + len(first) : two.index(second)]
    empty = place.inner([])
    if empty is None:
        return None
    return form.ListWriter(
        open=open_, between=between, close=close, empty=None if empty == open_ + close else empty, item=item
    )


def _learn_map(place: Place, string: form.StringWriter, value: form.Writer) -> form.MapWriter | None:
    return learn_map(place, (_ONE, write(string, _ONE, {})), (_TWO, write(string, _TWO, {})), string, value)


def learn_map(
    place: Place, one: tuple[Any, str], two: tuple[Any, str], string: form.StringWriter, value: form.Writer
) -> form.MapWriter | None:
    """Return a map's writer, except for how it writes its values.

    Args:
        place: Where objects can be put.
        one: A value and its text, which comes nowhere else.
        two: Another value and its text.
        string: How strings are written nearby: keys may be written in the same way.
        value: The writer of the values, which is put in.

    Returns:
        None if there is none. If the place takes no empty object, one is written as open + close.
    """
    single, double = place.inner({"aqk": one[0]}), place.inner({"aqk": one[0], "bqk": two[0]})
    if single is None or double is None or single.count("aqk") != 1 or double.count("bqk") != 1:
        return None
    if single.count(one[1]) != 1 or double.count(one[1]) != 1 or double.count(two[1]) != 1:
        return None
    head, colon = single[: single.index("aqk")], single[single.index("aqk") + 3 : single.index(one[1])]
    close = single[single.index(one[1]) + len(one[1]) :]
    quoted = bool(string.open) and head.endswith(string.open) and colon.startswith(string.close)
    key = string.model_copy(update={"trim": "none"}) if quoted else form.StringWriter()
    open_ = head[: len(head) - len(key.open)]
    between = double[double.index(one[1]) + len(one[1]) : double.index("bqk") - len(key.open)]
    empty = place.inner({})
    for sort in ("none", "dictsort", "codepoints"):
        writer = form.MapWriter(
            open=open_,
            between=between,
            close=close,
            empty=None if empty in (None, open_ + close) else empty,
            colon=colon[len(key.close) :],
            sort=sort,
            key=key,
            value=value,
        )
        if all(_keys_fit(writer, place, keys, *one) for keys in (_ORDER, ("with space", "é"))):
            return writer
    return None


def _keys_fit(writer: form.MapWriter, place: Place, keys: Sequence[str], value: Any, text: str) -> bool:
    """Return whether an object of these keys, each with ``value`` written as ``text``, comes out as predicted."""
    plain = writer.model_copy(update={"value": form.StringWriter()})
    return place.inner(dict.fromkeys(keys, value)) == write(plain, dict.fromkeys(keys, text), {})
