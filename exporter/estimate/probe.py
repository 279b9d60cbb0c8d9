"""How fast this machine is, measured in less than a second: the figures that an export's seconds depend on."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from .constants import Speed, constants

_SIDE = 1024  # of a square matrix
_BYTES = 1 << 26
_ROUNDS = 100_000


def measure_speed(folder: Path) -> Speed:
    """Measure this machine's speed as it is now, slowed down by whatever else is running.

    Args:
        folder: Where an export would write; if it can't be written to, the constants' disk speed is used.
    """
    import torch

    first, second = torch.ones(_SIDE, _SIDE), torch.ones(_SIDE, _SIDE)
    source = torch.zeros(_BYTES // 4)
    target = torch.empty_like(source)
    part = bytes(_BYTES // 8)
    found: dict[str, Any] = {
        "multiply": 2 * _SIDE**3 / _fastest(lambda: first @ second, 5),
        "copy": 2 * _BYTES / _fastest(lambda: target.copy_(source), 4),
        "interpreter": _ROUNDS / _fastest(_loop, 5),
        "hash": len(part) / _fastest(lambda: hashlib.sha256(part).digest(), 3),
        "disk": constants().speed.disk,
    }
    with suppress(OSError):
        found["disk"] = _BYTES / _fastest(lambda: _write(folder, part), 1)
    return Speed(**found)


def _fastest(work: Callable[[], Any], times: int) -> float:
    """Seconds of the fastest of several runs: disturbances make a run slower, never faster."""
    found = []
    for _ in range(times + 1):  # the first warms up
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return min(found)


def _loop() -> int:
    total = 0
    for number in range(_ROUNDS):
        total += number & 3
    return total


def _write(folder: Path, part: bytes) -> None:
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(_BYTES // len(part)):
            file.write(part)
        file.flush()
        os.fsync(file.fileno())
