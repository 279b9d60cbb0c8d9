"""Flags whose value is a list or a size."""

from __future__ import annotations

from ..errors import UnsupportedError, UsageError, nearest


def parse_runtimes(text: str) -> tuple[str, ...]:
    """Return the names in ``--runtime``, in order.

    Raises:
        UnsupportedError: A runtime is unknown; the message has the nearest.
        UsageError: There is no name, or a name is given twice.
    """
    from ..runtimes import runtime_names

    known = runtime_names()
    names = tuple(part.strip() for part in text.split(","))
    for name in names:
        if not name or names.count(name) > 1:
            raise UsageError(f"--runtime '{text}': name each runtime once, separated by commas")
        if name not in known:
            raise UnsupportedError(f"unknown runtime '{name}': {nearest(name, known)}", hint="See --runtime in --help.")
    return names


def parse_lengths(text: str | None) -> tuple[int, ...]:
    """Return the numbers in ``--prefill-lengths``, ascending; empty if the flag isn't given.

    Raises:
        UsageError: The text isn't numbers separated by commas, or has one twice.
    """
    if text is None:
        return ()
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts) or len(set(parts)) < len(parts):
        raise UsageError(
            f"--prefill-lengths '{text}': give each number of tokens once, separated by commas",
            hint="For example: --prefill-lengths 16,128",
        )
    return tuple(sorted(map(int, parts)))


def parse_max_size(text: str | None) -> int | None:
    """Return the bytes in ``--max-size``; None if the flag isn't given.

    Raises:
        UsageError: The text isn't a size.
    """
    from ..pipeline.budget_limits import parse_size

    if text is None:
        return None
    try:
        return parse_size(text)
    except ValueError as error:
        raise UsageError(f"--max-size: {error}") from error
