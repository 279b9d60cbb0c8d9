"""One copy in a ``.pte`` of a table that the program gathers from and a delegate multiplies by.

ExecuTorch keeps constants in one segment and what delegates compiled in segments of their own, and knows of no table
that is in both: a tied embedding and head. But a segment is nothing but a place in the file, and two may overlap. So
the delegate's segment is moved to where the same bytes lie among the constants, and its own copy is cut out.

Format: ExecuTorch's schema/program.fbs and schema/extended_header.h.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

from ...formats.flatbuffer import Flat

# Bytes; smaller tables aren't worth it.
SMALLEST = 1 << 12
_CHUNK = 1 << 22
# After the flatbuffer's own first eight bytes: magic, length of this header, size of the flatbuffer, where the segments
# begin, and in longer headers how many bytes they have.
_HEADER = struct.Struct("<8x4sIQQ")
_WITH_SIZE = struct.Struct("<8x4sIQQQ")
# Fields of Program, of DataSegment, of SubsegmentOffsets, and of NamedData.
_SEGMENTS, _CONSTANTS, _NAMED = 4, 5, 7
_OFFSET, _SIZE = 0, 1
_CONSTANTS_SEGMENT, _CONSTANTS_OFFSETS = 0, 1
_NAMED_SEGMENT = 1


@dataclass(frozen=True)
class _Segment:
    """index: Among all. offset, size: In bytes, from where the segments begin. place: Of the offset in the file."""

    index: int
    offset: int
    size: int
    place: int


def share_tables(program: Path) -> int:
    """Cut the second copies of tables out of a ``.pte``, in place.

    Args:
        program: The file; it is replaced as a whole, or stays as it is.

    Returns:
        The bytes that are gone.
    """
    with program.open("rb") as file:
        header = file.read(_WITH_SIZE.size)
        _, length, size, base = _HEADER.unpack_from(header)
        file.seek(0)
        flat = bytearray(file.read(size))
        segments, constants, named = _read(flat)
        doubles = list(_doubles(file, base, segments, constants, named))
    if not doubles:
        return 0
    gone = {double.index: target for double, target in doubles}
    moved = _moved(segments, gone)
    for segment in segments:
        if segment.place:  # else it begins where segments begin, and stays there
            struct.pack_into("<Q", flat, segment.place, moved[segment.index])
    end = max(moved[each.index] + each.size for each in segments)
    if length >= _WITH_SIZE.size - 8:
        struct.pack_into("<Q", flat, _WITH_SIZE.size - 8, end)
    part = program.with_name(program.name + ".shared")
    with program.open("rb") as source, part.open("wb") as out:
        out.write(flat)
        for segment in sorted(segments, key=lambda each: each.offset):
            if segment.index not in gone:
                out.write(b"\0" * (base + moved[segment.index] - out.tell()))
                _copy(source, base + segment.offset, segment.size, out)
        saved = program.stat().st_size - out.tell()
    part.replace(program)
    return saved


def _read(flat: bytearray) -> tuple[list[_Segment], list[tuple[int, int]], list[int]]:
    """The segments; where each constant begins, and the constants' segment's index; the named data's segments."""
    root = Flat.root(flat)
    segments = [
        _Segment(index, one.number(_OFFSET, "Uint64"), one.number(_SIZE, "Uint64"), one.where(_OFFSET))
        for index, one in enumerate(root.tables(_SEGMENTS))
    ]
    constants = []
    if root.has(_CONSTANTS):
        found = root.table(_CONSTANTS)
        index = found.number(_CONSTANTS_SEGMENT, "Uint32")
        constants = [(index, offset) for offset in found.numbers(_CONSTANTS_OFFSETS)]
    named = [one.number(_NAMED_SEGMENT, "Uint32") for one in root.tables(_NAMED)]
    return segments, constants, named


def _doubles(
    file: BinaryIO, base: int, segments: list[_Segment], constants: list[tuple[int, int]], named: list[int]
) -> Iterator[tuple[_Segment, int]]:
    """Segments of named data whose bytes are a constant's, each with where the constant begins."""
    if not constants or not all(segment.place or not segment.offset for segment in segments):
        return
    home = segments[constants[0][0]]
    starts = sorted({offset for _, offset in constants})
    for index in sorted(set(named)):
        segment = segments[index]
        inside = home.offset <= segment.offset < home.offset + home.size  # as this module has left it
        if segment.size < SMALLEST or not segment.place or inside:
            continue
        for start in starts:
            fits = start + segment.size <= home.size
            if fits and _equal(file, base + segment.offset, base + home.offset + start, segment.size):
                yield segment, home.offset + start
                break


def _moved(segments: list[_Segment], gone: dict[int, int]) -> dict[int, int]:
    """Where each segment begins without those that are gone; steps between segments keep their alignment."""
    order = sorted(segments, key=lambda each: each.offset)
    found, shift = {}, 0
    for segment, following in zip(order, [*order[1:], None], strict=True):
        if segment.index in gone:
            end = following.offset if following is not None else segment.offset + segment.size
            shift += end - segment.offset
        else:
            found[segment.index] = segment.offset - shift
    for index, target in gone.items():
        found[index] = target - _shift_before(order, gone, target)
    return found


def _shift_before(order: list[_Segment], gone: dict[int, int], offset: int) -> int:
    total = 0
    for segment, following in pairwise(order):
        if segment.index in gone and segment.offset < offset:
            total += following.offset - segment.offset
    return total


def _equal(file: BinaryIO, one: int, other: int, size: int) -> bool:
    for done in range(0, size, _CHUNK):
        count = min(_CHUNK, size - done)
        file.seek(one + done)
        first = file.read(count)
        file.seek(other + done)
        if first != file.read(count):
            return False
    return True


def _copy(source: BinaryIO, offset: int, size: int, out: BinaryIO) -> None:
    source.seek(offset)
    while size:
        chunk = source.read(min(size, _CHUNK))
        if not chunk:
            raise EOFError("the program ends before its last segment")
        out.write(chunk)
        size -= len(chunk)
