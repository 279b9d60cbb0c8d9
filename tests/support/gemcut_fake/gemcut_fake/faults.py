"""What a test tells the fake runtime to do: ``GEMCUT_FAKE=build=die,run=differ``, also across processes.

Places: ``check``, ``build``, ``examine``, ``package``, ``open``, ``run``, ``measure``. What can happen there:

``hang``
    it waits for ever, after it has made the file that ``GEMCUT_FAKE_MARK`` names.
``die``
    the process is killed, as with ``kill -9``.
``full``
    the disk has no room.
``refuse``
    the runtime refuses the program.
``differ``
    at ``run``: the logits are others than the model's.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from pathlib import Path

from gemcut.errors import ConformanceError

VARIABLE = "GEMCUT_FAKE"
MARK = "GEMCUT_FAKE_MARK"


def told(place: str) -> str:
    """What is to happen at a place; empty for nothing."""
    pairs = (each.partition("=") for each in os.environ.get(VARIABLE, "").split(","))
    return next((what for where, _, what in pairs if where == place), "")


def meet(place: str) -> None:
    """Do what is to happen at a place."""
    what = told(place)
    if what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "hang":
        Path(os.environ[MARK]).touch()
        while True:
            time.sleep(0.01)
    if what == "full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), place)
    if what == "refuse":
        raise ConformanceError("the fake runtime refuses the program", hint="It was told to.")
