"""How fast this machine is, found in less than a second: the figures that an export's seconds hang on."""

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
    """Measures it; what other programs take meanwhile is missing.

    Args:
        folder: Where an export would write. Where that can't be, the constants' disk is taken.
    """
    import torch

    first, second = torch.ones(_SIDE, _SIDE), torch.ones(_SIDE, _SIDE)
    source = torch.zeros(_BYTES // 4)
    target = torch.empty_like(source)
    part = bytes(_BYTES // 8)
    found: dict[str, Any] = {
        "multiply": 2 * _SIDE**3 / _least(lambda: first @ second, 5),
        "copy": 2 * _BYTES / _least(lambda: target.copy_(source), 4),
        "interpreter": _ROUNDS / _least(_loop, 5),
        "hash": len(part) / _least(lambda: hashlib.sha256(part).digest(), 3),
        "disk": constants().speed.disk,
    }
    with suppress(OSError):
        found["disk"] = _BYTES / _least(lambda: _write(folder, part), 1)
    return Speed(**found)


def _least(work: Callable[[], Any], times: int) -> float:
    """Seconds of the fastest of so many runs: what disturbs makes it slower, never faster."""
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
