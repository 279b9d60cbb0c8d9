"""Comparison of sizes: by file, by section of the program's file, by class of tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..bundle.manifest import MANIFEST, SIDE_FILE
from ..errors import LackingError, UnsupportedError
from ..runtimes import find_runtime
from ..util.text import size_text
from .document import Change, same
from .size_lines import SizeLine, Sizes, TensorLine

if TYPE_CHECKING:
    from ..bundle.manifest import Manifest, TensorRecord
    from ..bundle.reader import Bundle

GROWN = 0.01  # another version string or runtime note adds less than a hundredth
_Listing = dict[str, tuple[int, str]]  # size and sha256 by name


def compare_sizes(a: Bundle, b: Bundle) -> tuple[Sizes, tuple[str, ...]]:
    """Return both bundles' files and sections, and notes on what couldn't be read."""
    sections_a, note_a = _sections(a)
    sections_b, note_b = _sections(b)
    notes = tuple(dict.fromkeys(note for note in (note_a, note_b) if note))
    listing_a, listing_b = _files(a), _files(b)
    files = _lines(listing_a, listing_b)
    sections = () if notes else _lines(sections_a, sections_b)
    return (
        Sizes(
            sum(size for size, _ in listing_a.values()),
            sum(size for size, _ in listing_b.values()),
            a.manifest.files[a.manifest.program].size,
            b.manifest.files[b.manifest.program].size,
            files,
            sections,
        ),
        notes,
    )


def _files(bundle: Bundle) -> _Listing:
    found = {name: (record.size, record.sha256) for name, record in bundle.manifest.files.items()}
    side = bundle.read(SIDE_FILE)
    return {**found, MANIFEST: (len(bundle.read(MANIFEST)), side.decode()), SIDE_FILE: (len(side), side.decode())}


def _sections(bundle: Bundle) -> tuple[_Listing, str | None]:
    """Return the sections of the program's file, or why they aren't known."""
    program = bundle.manifest.program
    try:
        return dict(find_runtime(bundle.manifest.runtime.name).inspector.sections(bundle)), None
    except UnsupportedError:
        return {}, f"sections of {program}: its format isn't known"
    except LackingError as error:
        return {}, f"sections of {program}: {error.message}; install it with: {error.hint}"


def _lines(a: _Listing, b: _Listing) -> tuple[SizeLine, ...]:
    return tuple(
        SizeLine(name, a[name][0] if name in a else None, b[name][0] if name in b else None, a.get(name) == b.get(name))
        for name in sorted({*a, *b})
    )


def judge_size(sizes: Sizes) -> Change:
    """Return the verdict: growing by a hundredth or more matters, as every user downloads it."""
    if sizes.a == sizes.b:
        return same("size")
    change = sizes.b / sizes.a - 1
    what = f"{size_text(sizes.a)} -> {size_text(sizes.b)} ({sizes.b - sizes.a:+,} bytes, {change:+.1%})"
    if change >= GROWN:
        return Change("size", "matters", what, "every user downloads and stores it")
    return Change("size", "harmless", what, "smaller" if change < 0 else f"less than {GROWN:.0%} more")


def compare_tensors(a: Manifest, b: Manifest) -> tuple[TensorLine, ...]:
    """Return every class of tensors that either program has."""
    names = sorted({*a.tensors, *b.tensors})
    return tuple(_tensor_line(name, a.tensors.get(name), b.tensors.get(name)) for name in names)


def _tensor_line(name: str, a: TensorRecord | None, b: TensorRecord | None) -> TensorLine:
    return TensorLine(
        name, a.bytes if a else None, b.bytes if b else None, dict(a.schemes) if a else {}, dict(b.schemes) if b else {}
    )


def judge_tensors(lines: tuple[TensorLine, ...]) -> Change:
    """Return the verdict: another way of storing weights matters; other sizes with the same way don't."""
    stored = [line.name for line in lines if line.schemes_a != line.schemes_b]
    sized = [line.name for line in lines if line.bytes_a != line.bytes_b]
    if stored:
        what = f"stored differently: {', '.join(stored)}"
        return Change("tensors", "matters", what, "weights are rounded differently")
    if sized:
        return Change("tensors", "harmless", f"other sizes: {', '.join(sized)}", "they are stored in the same way")
    return same("tensors")
