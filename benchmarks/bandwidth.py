"""Read bandwidth of this machine's memory: ``python -m benchmarks.bandwidth``.

A decode step reads every weight once, so bytes per step over bandwidth is the time that no program can beat.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import click
import numpy as np

from .common import Command, run_module, threads_option

DEFAULT_MEGABYTES = 512
PASSES = 5


def read_bandwidth(threads: int, megabytes: int = DEFAULT_MEGABYTES, passes: int = PASSES) -> float:
    """Bytes per second at which ``threads`` threads read a buffer that no cache holds: the fastest pass.

    Two of numpy's vectorized reductions are tried, a maximum of float32 and a bitwise or of int64; both release
    the GIL. The fastest pass counts, since whatever slowed the others was not the memory.

    Args:
        megabytes: of the buffer, in MiB; several times the last-level cache.
    """
    buffer = np.full(megabytes << 18, 1.0, dtype=np.float32)
    kinds: list[tuple[Callable[..., Any], np.ndarray[Any, Any]]] = [
        (np.max, buffer),
        (np.bitwise_or.reduce, buffer.view(np.int64)),
    ]
    fastest = 0.0
    with ThreadPoolExecutor(threads) as pool:
        for reduce, view in kinds:
            parts = np.array_split(view, threads)
            for _ in range(passes):
                began = time.perf_counter()
                list(pool.map(reduce, parts))
                fastest = max(fastest, buffer.nbytes / (time.perf_counter() - began))
    return fastest


def measure(threads: int, megabytes: int = DEFAULT_MEGABYTES) -> float:
    """``read_bandwidth`` in a process of its own."""
    words = ["--threads", threads, "--megabytes", megabytes]
    out = run_module("benchmarks.bandwidth", words, "measuring the memory bandwidth")
    return float(json.loads(out)["bytes_per_second"])


@click.command(cls=Command)
@threads_option
@click.option(
    "--megabytes",
    type=click.IntRange(min=1),
    default=DEFAULT_MEGABYTES,
    show_default=True,
    help="Of the buffer, MiB: several times the last-level cache.",
)
def main(threads: int, megabytes: int) -> None:
    """Measure the read bandwidth of this machine's memory; prints JSON."""
    click.echo(json.dumps({"threads": threads, "bytes_per_second": read_bandwidth(threads, megabytes)}))


if __name__ == "__main__":
    main()
