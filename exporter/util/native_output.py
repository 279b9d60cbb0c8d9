"""A log that keeps the noise of torch, torchao, cpuinfo and Python's warnings from the user.

Native libraries write to file descriptors 1 and 2, past ``sys.stderr``. Within :func:`quiet` both
descriptors, and ``sys.stdout`` and ``sys.stderr`` with them, lead to a log; what Gemcut itself has to
say goes to :func:`streams`, which are the real ones.
"""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TextIO

TAIL = 8192  # bytes of noise worth showing with an error


@dataclass(frozen=True)
class Streams:
    """The two streams that reach the user.

    Attributes:
        out: Where results go.
        err: Where everything else goes.
    """

    out: TextIO
    err: TextIO


_real: Streams | None = None
_log: TextIO | None = None
_mark = 0


def streams() -> Streams:
    """Return the user's own stdout and stderr, whether or not noise is being kept away."""
    return _real or Streams(sys.stdout, sys.stderr)


def noise() -> str:
    """Return the end of what was kept away since the latest :func:`quiet` began, at most 8 KiB."""
    if _log is None:
        return ""
    _log.flush()
    size = os.fstat(_log.fileno()).st_size
    start = max(_mark, size - TAIL)
    return os.pread(_log.fileno(), size - start, start).decode("utf-8", "replace").strip()


@contextmanager
def quiet(verbose: bool = False) -> Iterator[Streams]:
    """Send all that is written to stdout and stderr to a log, for the whole process.

    Nested calls change nothing.

    Args:
        verbose: Show the noise instead, all of it on stderr, so that stdout holds only results either way.

    Yields:
        The user's own streams.
    """
    global _real, _mark
    if _real is not None:
        yield _real
        return
    _flush(sys.stdout, sys.stderr)
    saved = os.dup(1), os.dup(2)
    before = sys.stdout, sys.stderr
    out, err = _own(before[0], 1, saved[0]), _own(before[1], 2, saved[1])
    sink = before[1] if verbose else _sink()
    _real, _mark = Streams(out, err), 0 if _log is None else os.fstat(_log.fileno()).st_size
    try:
        if verbose:
            os.dup2(saved[1], 1)
        else:
            os.dup2(sink.fileno(), 1)
            os.dup2(sink.fileno(), 2)
        sys.stdout = sys.stderr = sink
        yield _real
    finally:
        _flush(sink, out, err)
        ctypes.CDLL(None).fflush(None)  # what native code printed, before the descriptors lead back
        sys.stdout, sys.stderr = before
        for number in (1, 2):
            os.dup2(saved[number - 1], number)
            os.close(saved[number - 1])
        for ours, theirs in ((out, before[0]), (err, before[1])):
            if ours is not theirs:
                ours.close()
        _real = None


def _own(stream: TextIO, number: int, saved: int) -> TextIO:
    """A stream that still reaches the user once descriptor ``number`` leads elsewhere."""
    try:
        attached = stream.fileno() == number
    except (OSError, ValueError, AttributeError):
        attached = False
    if not attached:  # a test's or an application's own object
        return stream
    return open(os.dup(saved), "w", encoding=stream.encoding, errors=stream.errors, buffering=1)


def _sink() -> TextIO:
    """The writer onto the log, which is in memory if the system can: a full disk must not add noise.

    Never closed: logging handlers that libraries made meanwhile keep hold of it.
    """
    global _log
    if _log is None:
        descriptor = os.memfd_create("gemcut-noise") if hasattr(os, "memfd_create") else _unnamed_file()
        _log = open(descriptor, "w+", encoding="utf-8", errors="replace", buffering=1)  # noqa: SIM115
    return _log


def _unnamed_file() -> int:
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _flush(*them: TextIO) -> None:
    for stream in them:
        if not stream.closed:
            stream.flush()
