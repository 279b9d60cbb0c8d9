"""Flags whose value is a list."""

from __future__ import annotations

from ..errors import UnsupportedError, UsageError, nearest


def parse_runtimes(text: str) -> tuple[str, ...]:
    """``--runtime``'s names, in order.

    Raises:
        UnsupportedError: A name that isn't a runtime's; the message has the nearest.
        UsageError: No name, or one twice.
    """
    from ..runtimes import runtime_names

    known = runtime_names()
    names = tuple(part.strip() for part in text.split(","))
    for name in names:
        if not name or names.count(name) > 1:
            raise UsageError(f"--runtime '{text}': each runtime once, with a comma between two")
        if name not in known:
            raise UnsupportedError(f"unknown runtime '{name}': {nearest(name, known)}", hint="See --runtime in --help.")
    return names


def parse_lengths(text: str | None) -> tuple[int, ...]:
    """``--prefill-lengths``' numbers, ascending; none where the flag isn't given.

    Raises:
        UsageError: Not numbers with commas between, or one twice.
    """
    if text is None:
        return ()
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts) or len(set(parts)) < len(parts):
        raise UsageError(
            f"--prefill-lengths '{text}': numbers of tokens, each once, with commas between",
            hint="For example --prefill-lengths 16,128",
        )
    return tuple(sorted(map(int, parts)))
