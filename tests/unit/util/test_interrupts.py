"""Ctrl-C where Python would drop it."""

from __future__ import annotations

import gc
import os
import signal
import time
from typing import Any

import pytest
from gemcut.util.interrupts import take_signals


def test_it_gets_through_a_callback_of_the_garbage_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is raised in one is dropped, with a traceback that nobody asked for; jax has one."""
    dropped: list[Any] = []
    monkeypatch.setattr("sys.unraisablehook", dropped.append)
    pressed: list[str] = []

    def press(phase: str, info: Any) -> None:
        if not pressed:
            pressed.append(phase)
            os.kill(os.getpid(), signal.SIGINT)
            sum(range(1000))  # where the interpreter looks for signals

    def collect_and_wait() -> None:
        gc.collect()
        for _ in range(100):
            time.sleep(0.05)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # processes of pytest-xdist ignore it
    restore = take_signals()
    gc.callbacks.append(press)
    try:
        with pytest.raises(KeyboardInterrupt):
            collect_and_wait()
    finally:
        gc.callbacks.remove(press)
        restore()
        signal.signal(signal.SIGINT, before)
    assert pressed == ["start"]
    assert dropped == []
