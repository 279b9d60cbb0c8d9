"""Tables of flatbuffers with their fields by number: enough to read what a file needs, without its generated classes.

Fields are numbered in the order of the schema, which flatbuffers never changes; a union takes two of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..errors import LackingError


class Flat:
    """A table. Numbers are little-endian; a field that is missing has its default, 0.

    Args:
        data: The flatbuffer's bytes.
        place: Where in them the table begins.
    """

    def __init__(self, data: Any, place: int) -> None:
        from flatbuffers import table

        self._table = table.Table(data, place)

    @classmethod
    def root(cls, data: Any, start: int = 0) -> Flat:
        """Return the root table of a flatbuffer that begins at ``start``.

        Raises:
            LackingError: Python's flatbuffers isn't installed.
        """
        import struct

        try:
            import flatbuffers  # noqa: F401
        except ImportError as error:
            raise LackingError("flatbuffers isn't installed.", hint="pip install flatbuffers") from error
        return cls(data, start + struct.unpack_from("<I", data, start)[0])

    def has(self, field: int) -> bool:
        """Return whether a field is present."""
        return bool(self._place(field))

    def number(self, field: int, kind: str = "Uint8") -> int:
        """Return a number whose type is ``kind``, as ``flatbuffers.number_types`` names it."""
        from flatbuffers import number_types

        return int(self._table.GetSlot(4 + 2 * field, 0, getattr(number_types, f"{kind}Flags")))

    def text(self, field: int) -> str:
        """Return a string; empty if there is none."""
        place = self._place(field)
        return self._table.String(place + self._table.Pos).decode() if place else ""

    def table(self, field: int) -> Flat:
        """Return a table that a field holds.

        Raises:
            ValueError: The field is missing.
        """
        if not (place := self._place(field)):
            raise ValueError(f"field {field} is missing")
        return Flat(self._table.Bytes, self._table.Indirect(place + self._table.Pos))

    def tables(self, field: int) -> Iterator[Flat]:
        """Yield the tables of a vector."""
        if place := self._place(field):
            start = self._table.Vector(place)
            for index in range(self._table.VectorLen(place)):
                yield Flat(self._table.Bytes, self._table.Indirect(start + 4 * index))

    def data(self, field: int) -> bytes:
        """Return a vector of bytes; empty if there is none."""
        if not (place := self._place(field)):
            return b""
        start = self._table.Vector(place)
        return bytes(self._table.Bytes[start : start + self._table.VectorLen(place)])

    def numbers(self, field: int, kind: str = "Uint64") -> list[int]:
        """Return a vector of numbers whose type is ``kind``; empty if there is none."""
        from flatbuffers import number_types

        if not (place := self._place(field)):
            return []
        flags = getattr(number_types, f"{kind}Flags")
        start = self._table.Vector(place)
        return [int(self._table.Get(flags, start + flags.bytewidth * at)) for at in range(self._table.VectorLen(place))]

    def where(self, field: int) -> int:
        """Return where a field's number lies in the data; 0 if it is missing."""
        place = self._place(field)
        return place + self._table.Pos if place else 0

    def _place(self, field: int) -> int:
        return int(self._table.Offset(4 + 2 * field))
