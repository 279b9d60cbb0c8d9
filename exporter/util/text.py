"""Numbers, sizes, durations and paths as text for a reader."""

from __future__ import annotations

from pathlib import Path


def duration_text(seconds: float) -> str:
    """Return a duration as text, no finer than an estimate: ``a few seconds``, ``about 40 s``, ``about 1 h 20 min``."""
    if seconds < 7.5:
        return "a few seconds"
    if seconds < 57.5:
        return f"about {5 * round(seconds / 5)} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"about {minutes} min"
    hours, rest = divmod(5 * round(seconds / 300), 60)
    return f"about {hours} h" + (f" {rest} min" if rest else "")


def path_text(path: Path) -> str:
    """Return a path as short as it can be typed: relative to the current folder if it is below that."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def size_text(count: float) -> str:
    """Return a number of bytes as text: ``12.3 MB`` (powers of 1000, as file managers and app stores have it)."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def count_text(count: float) -> str:
    """Return a number of things as text: ``268.1M``."""
    for unit in ("", "k", "M"):
        if count < 1000:
            return f"{count:.0f}" if not unit else f"{count:.1f}{unit}"
        count /= 1000
    return f"{count:.2f}B"


def readable(text: str) -> str:
    """Return a word of the command line as text: bytes that aren't UTF-8 become U+FFFD.

    Python keeps such bytes as lone surrogates (PEP 383), which paths need and no tokenizer takes.
    """
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
