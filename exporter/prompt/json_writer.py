"""Writing of JSON values with the writers of ``prompt.json``."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from . import format as form
from .segments import PromptRefused

Writers = Mapping[str, form.Writer]
# str.strip()'s white space. Written out, since docs/concepts/prompt.md promises these and no others.
SPACE = (
    "".join(
        map(chr, (*range(0x09, 0x0E), *range(0x1C, 0x21), 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029))
    )
    + "\u202f\u205f\u3000"
)
_DEEPEST = 64


def trim(text: str, how: str) -> str:
    """Return a text without the white space on some of its sides.

    Args:
        text: Any text.
        how: Which sides: none, start, end or both.
    """
    if how in ("start", "both"):
        text = text.lstrip(SPACE)
    return text.rstrip(SPACE) if how in ("end", "both") else text


def number_text(value: int | float) -> str:
    """Return a number's text as docs/concepts/prompt.md has it.

    Raises:
        PromptRefused: If it is infinite or not a number.
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise PromptRefused(f"{value} is not a JSON number")
    return repr(value)


def _refuse(value: Any, wanted: str = "") -> PromptRefused:
    shown = json.dumps(value, ensure_ascii=False, default=str)
    shown = shown if len(shown) <= 60 else shown[:57] + "..."
    return PromptRefused(f"the template can't write {shown} here" + (f": it takes {wanted}" if wanted else ""))


def write(writer: form.Writer, value: Any, writers: Writers, depth: int = 0) -> str:
    """Return the text of a JSON value.

    Args:
        writer: The writer to use.
        value: The value: str, int, float, bool, None, lists and dicts.
        writers: The writers that a ``ref`` names: ``Tools.writers``.
        depth: How deeply the value is nested in others.

    Raises:
        PromptRefused: If the writer doesn't take the value.
    """
    if depth > 4 * _DEEPEST:
        raise PromptRefused("a tool or a call is nested too deeply")
    return _BY_KIND[writer.write](writer, value, writers, depth)


def _string(writer: form.StringWriter, value: Any, writers: Writers, depth: int) -> str:
    if not isinstance(value, str):
        raise _refuse(value, "text")
    text = trim(value, writer.trim)
    if writer.upper:
        if not text.isascii():
            raise _refuse(value, "ASCII text")
        text = text.upper()
    if writer.escape == "json":
        text = json.dumps(text, ensure_ascii=False)[1:-1]
    return writer.open + text + writer.close


def _number(writer: form.NumberWriter, value: Any, writers: Writers, depth: int) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _refuse(value, "a number")
    return writer.open + number_text(value) + writer.close


def _list(writer: form.ListWriter, value: Any, writers: Writers, depth: int) -> str:
    if not isinstance(value, (list, tuple)):
        raise _refuse(value, "a list")
    if not value and writer.empty is not None:
        return writer.empty
    return writer.open + writer.between.join(write(writer.item, v, writers, depth + 1) for v in value) + writer.close


_ORDERS: dict[str, Callable[[str], str] | None] = {"none": None, "codepoints": str, "dictsort": str.lower}


def _map(writer: form.MapWriter, value: Any, writers: Writers, depth: int) -> str:
    if not isinstance(value, Mapping):
        raise _refuse(value, "an object")
    _no_refused(writer.refuses, value)
    keys = [key for key in value if not (writer.skip_null and value[key] is None)]
    order = _ORDERS[writer.sort]
    if order is not None:
        keys.sort(key=order)
    if not keys and writer.empty is not None:
        return writer.empty
    members = (
        write(writer.key, key, writers, depth + 1)
        + writer.colon
        + write(writer.by_key.get(key, writer.value), value[key], writers, depth + 1)
        for key in keys
    )
    return writer.open + writer.between.join(members) + writer.close


def _no_refused(refuses: Sequence[str], value: Mapping[str, Any]) -> None:
    for key in refuses:
        if value.get(key) is not None:
            raise PromptRefused(f"what the template does with '{key}' here isn't compiled", hint=f"leave out '{key}'")


def _record(writer: form.RecordWriter, value: Any, writers: Writers, depth: int) -> str:
    if not isinstance(value, Mapping):
        raise _refuse(value, "an object")
    refuses = writer.refuses
    if writer.others == "refuse":
        refuses = (*refuses, *sorted(set(value) - {field.key for field in writer.fields}))
    _no_refused(refuses, value)
    text, joined = writer.open, False
    for field in writer.fields:
        given = value.get(field.key)
        if given is None and field.when == "required":
            raise PromptRefused(f"'{field.key}' is missing: the template can't do without it")
        if (given is None and field.when != "always") or (not given and field.when == "truthy"):
            continue
        if field.joined:
            text, joined = text + (writer.between if joined else ""), True
        inner = "" if given is None or field.writer is None else write(field.writer, given, writers, depth + 1)
        text += field.before + inner + field.after
    return text + writer.close


def _cases(writer: form.CasesWriter, value: Any, writers: Writers, depth: int) -> str:
    if not isinstance(value, Mapping):
        raise _refuse(value, "an object")
    which = value.get(writer.key)
    if not isinstance(which, str):
        raise _refuse(value, f"an object whose '{writer.key}' is text")
    chosen = writer.cases.get(which.lower(), writer.other)
    if chosen is None:
        raise PromptRefused(f"the template can't write '{writer.key}': '{which}' here")
    return write(chosen, value, writers, depth + 1)


def _any(writer: form.AnyWriter, value: Any, writers: Writers, depth: int) -> str:
    if value is None or isinstance(value, bool):
        word = writer.null if value is None else writer.true if value else writer.false
        if word is None:
            raise _refuse(value)
        return word
    kinds = ((str, writer.string), ((int, float), writer.number), ((list, tuple), writer.list), (Mapping, writer.map))
    for kind, inner in kinds:
        if isinstance(value, kind) and inner is not None:
            return write(inner, value, writers, depth + 1)
    raise _refuse(value)


def _ref(writer: form.RefWriter, value: Any, writers: Writers, depth: int) -> str:
    if writer.name not in writers:
        raise PromptRefused(f"prompt.json has no writer named '{writer.name}'", hint="export the bundle again")
    return write(writers[writer.name], value, writers, depth + 1)


_BY_KIND: dict[str, Callable[[Any, Any, Writers, int], str]] = {
    "string": _string,
    "number": _number,
    "list": _list,
    "map": _map,
    "record": _record,
    "cases": _cases,
    "any": _any,
    "ref": _ref,
}
