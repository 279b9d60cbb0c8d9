"""Ctrl-C, pressed as people press it: several times, and while the first is still being cleaned up after."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

# A second press within this many seconds means the first one; cleaning up takes about as long.
AGAIN = 2.0
_LATER = 0.01
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
Handler = Callable[[int, FrameType | None], None]


def take_signals() -> Callable[[], None]:
    """Have Ctrl-C and SIGTERM raise KeyboardInterrupt, but once for several within two seconds.

    A SIGINT that is ignored, as in a shell's background job, stays so. Outside the main thread signals are the
    application's business, and nothing is changed.

    Returns:
        What sets the previous handlers again.
    """
    last = [-AGAIN]

    def interrupt(number: int, frame: FrameType | None) -> None:
        if _in_collector(frame):
            threading.Timer(_LATER, os.kill, (os.getpid(), number)).start()
            return
        now = time.monotonic()
        if now - last[0] >= AGAIN:
            last[0] = now
            raise KeyboardInterrupt

    previous = _set(interrupt)
    return lambda: _restore(previous)


def ignore_signals() -> None:
    """Ignore Ctrl-C and SIGTERM from now on: the command has ended, and the interpreter is about to."""
    _set(signal.SIG_IGN)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let no signal in while something is tidied up.

    Raises:
        KeyboardInterrupt: At the end, if one came meanwhile.
    """
    came: list[int] = []
    previous = _set(lambda number, frame: came.append(number))
    try:
        yield
    finally:
        _restore(previous)
    if came:
        raise KeyboardInterrupt


def _in_collector(frame: FrameType | None) -> bool:
    """Whether a callback of the garbage collector runs, jax's for example: Python drops what is raised in one."""
    callbacks = {getattr(each, "__code__", None) for each in gc.callbacks}
    while frame is not None:
        if frame.f_code in callbacks:
            return True
        frame = frame.f_back
    return False


def _set(handler: Any) -> dict[signal.Signals, Any]:
    if threading.current_thread() is not threading.main_thread():
        return {}
    return {
        number: signal.signal(number, handler)
        for number in _SIGNALS
        if signal.getsignal(number) not in (signal.SIG_IGN, None)
    }


def _restore(previous: dict[signal.Signals, Any]) -> None:
    for number, handler in previous.items():
        signal.signal(number, handler)
