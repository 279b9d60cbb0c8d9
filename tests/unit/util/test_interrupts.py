"""Ctrl-C where Python would drop it."""

from __future__ import annotations

import signal
import subprocess
import sys

# In a process of its own: one of pytest-xdist ignores Ctrl-C.
CODE = """
import gc, os, signal, time
from gemcut.util.interrupts import take_signals

pressed = []

def press(phase, info):
    if not pressed:
        pressed.append(phase)
        os.kill(os.getpid(), signal.SIGINT)
        sum(range(1000))  # where the interpreter looks for signals

take_signals()
gc.callbacks.append(press)
try:
    gc.collect()
    time.sleep(5)
except KeyboardInterrupt:
    print("interrupted", pressed)
"""


def test_it_gets_through_a_callback_of_the_garbage_collector() -> None:
    """What is raised in one is dropped, with a traceback that nobody asked for; jax has one."""
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert (done.stdout, done.stderr) == ("interrupted ['start']\n", "")
