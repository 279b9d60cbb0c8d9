"""Where in a TOML file each key is. tomllib reads values without their lines; tree-sitter has the lines."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tree_sitter import Node

Path = tuple[str, ...]
_KEYS = ("bare_key", "quoted_key", "dotted_key")
_TABLES = ("table", "table_array_element")
_AT = re.compile(r"\(at line (\d+), column \d+\)")


def lines_of(text: str) -> dict[Path, int]:
    """Return the first line of every table and key, from 1; an array's item has its number as part of its path.

    Args:
        text: A text that tomllib could read, so that the two agree on what is a key.
    """
    found: dict[Path, int] = {}
    for path, line in _written(text):
        for depth in range(1, len(path) + 1):  # [bundles.phone.budgets] also makes bundles.phone
            found.setdefault(path[:depth], line)
    return found


def line_of(lines: dict[Path, int], path: Path) -> int:
    """Return the line of ``path``, or of the nearest thing around it that is in the file; 1 if nothing is."""
    return next((lines[path[:depth]] for depth in range(len(path), 0, -1) if path[:depth] in lines), 1)


def mistake_of(text: str, error: tomllib.TOMLDecodeError) -> tuple[int, str]:
    """Return line and message for a file that isn't TOML.

    tomllib notices a repeated table or key once it has passed it, and says "at end of document" without a line if a
    bracket or a quote is never closed; the line is then that of the repeated key, or the first that can't be parsed.
    """
    said = _AT.search(str(error))
    reason = re.sub(r"\s*\(at [^)]*\)$", "", str(error))
    repeated = _repeated(text)
    if repeated is not None and reason.startswith("Cannot"):
        path, line, first = repeated
        return line, f"'{'.'.join(path)}' is defined twice, first in line {first}"
    if said is not None:
        return int(said[1]), reason
    return _broken(_parse(text)) or max(1, len(text.splitlines())), reason


def _parse(text: str) -> Node:
    import tree_sitter_toml
    from tree_sitter import Language, Parser

    return Parser(Language(tree_sitter_toml.language())).parse(text.encode()).root_node


def _written(text: str) -> Iterator[tuple[Path, int]]:
    """Every key as it is written, with its full path and line, in the file's order."""
    counts: dict[Path, int] = {}
    for node in _parse(text).named_children:
        if node.type == "pair":
            yield from _pair(node, ())
        elif node.type in _TABLES:
            table = _path(next(child for child in node.children if child.type in _KEYS))
            if node.type == "table_array_element":
                counts[table] = counts.get(table, -1) + 1
                table = (*table, str(counts[table]))
            yield table, _line(node)
            for pair in (child for child in node.children if child.type == "pair"):
                yield from _pair(pair, table)


def _pair(node: Node, around: Path) -> Iterator[tuple[Path, int]]:
    key, value = node.children[0], node.children[-1]
    if value.type == "comment":  # a comment after the value
        value = next(child for child in reversed(node.children) if child.type != "comment")
    path = (*around, *_path(key))
    yield path, _line(node)
    yield from _value(value, path)


def _value(node: Node, path: Path) -> Iterator[tuple[Path, int]]:
    if node.type == "inline_table":
        for pair in (child for child in node.children if child.type == "pair"):
            yield from _pair(pair, path)
    elif node.type == "array":
        items = [child for child in node.named_children if child.type != "comment"]
        for index, item in enumerate(items):
            yield (*path, str(index)), _line(item)
            yield from _value(item, (*path, str(index)))


def _path(key: Node) -> Path:
    """The parts of a key as tomllib reads them, quoted ones without their quotes."""
    data: Any = tomllib.loads(f"{(key.text or b'').decode()} = 0")
    parts = []
    while isinstance(data, dict):
        ((part, data),) = data.items()
        parts.append(part)
    return tuple(parts)


def _line(node: Node) -> int:
    return node.start_point[0] + 1


def _repeated(text: str) -> tuple[Path, int, int] | None:
    """The first key or table that is defined a second time, its line, and that of the first."""
    seen: dict[Path, int] = {}
    try:
        for path, line in _written(text):
            if path in seen:
                return path, line, seen[path]
            seen[path] = line
    except (tomllib.TOMLDecodeError, StopIteration, ValueError):
        return None
    return None


def _broken(node: Node) -> int | None:
    """The line of the first thing that isn't TOML."""
    if node.type == "ERROR" or node.is_missing:
        return _line(node)
    return next((line for child in node.children if (line := _broken(child)) is not None), None)
