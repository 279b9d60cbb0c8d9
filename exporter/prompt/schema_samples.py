"""The tool, schemas and values with which declarations are probed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .probing import mark

Object = dict[str, Any]
TYPES = ("string", "integer", "number", "boolean", "array", "object")
UNKNOWN = "qzxkey"
OTHERS: Mapping[str, Any] = {
    "title": mark("t"),
    "default": mark("t"),
    "format": mark("t"),
    "minimum": 3,
    "maximum": 4,
    "minLength": 3,
    "maxLength": 4,
    "pattern": mark("t"),
    "minItems": 3,
    "maxItems": 4,
    "uniqueItems": True,
    "const": mark("t"),
    "additionalProperties": False,
    "anyOf": [{"type": "string"}],
    "oneOf": [{"type": "string"}],
    "allOf": [{"type": "string"}],
    "examples": [mark("t")],
    "$ref": mark("t"),
    "$defs": {"T": {"type": "string"}},
    "strict": True,
    "response": {"type": "object", "description": mark("t")},
    "returns": mark("t"),
    "return": mark("t"),
    "id": mark("t"),
}
PROPERTIES: tuple[Object, ...] = (
    {"type": "string"},
    {"type": "integer", "description": mark("d")},
    {"description": "x", "type": mark("t")},
    {"type": "string", "enum": [mark("e")]},
    {"type": "boolean", "nullable": True},
)
ITEMS: tuple[Object, ...] = (
    {"type": mark("ia")},
    {"type": "zz", "description": mark("d")},
    {"description": "x"},
    {"qzxany": 5},
)
# Values for each member of a schema. Records are observed with the first, which holds a mark.
VALUES: Mapping[str, Sequence[Any]] = {
    "description": (mark("desc"), "Zz", "other"),
    "enum": ([mark("enum")], [5], [True], ["z", mark("enumb")]),
    "required": ([mark("req")], ["z", "yw"]),
    "items": ITEMS,
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
EMPTY: Mapping[str, Any] = {
    "description": "",
    "enum": [],
    "required": [],
    "items": {},
    "properties": {},
    "nullable": False,
    "parameters": {},
}


def sample_tool(tag: str = "") -> Object:
    """Return a tool whose words are all marks; another ``tag`` gives other marks."""
    properties = {mark(f"tp{tag}"): {"type": "string", "description": mark(f"td{tag}")}}
    parameters = {"type": "object", "properties": properties, "required": [mark(f"tp{tag}")]}
    function = {"name": mark(f"tn{tag}"), "description": mark(f"tf{tag}"), "parameters": parameters}
    return {"type": "function", "function": function}
