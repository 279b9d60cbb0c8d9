"""One run of a program in this process: ``python -m gemcut.bench.one_run JOB`` prints what it found as JSON."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

from ..prove.runner import Runner
from ..runtimes.runs import Job, Run
from ..util.process_memory import MemoryMeter

WARM_STEPS = 4


def run_here(job: Job) -> Run:
    """Do one run; warm-ups come first and aren't counted. The process must have opened no program before."""
    from ..runtimes import get_runtime

    engine = get_runtime(job.runtime).engine
    engine.preload()
    meter = MemoryMeter()
    began = time.perf_counter()
    runner = engine.open(Path(job.program), job.threads)
    load = time.perf_counter() - began
    meter.look()
    try:
        prefill, decode = _timed(runner, job)
    finally:
        use = meter.use()
        runner.close()
    return Run(load, prefill, decode, **asdict(use))


def _timed(runner: Runner, job: Job) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Seconds of each prompt and of each generation."""
    _prefill(runner, max(1, *job.prompts[:1], job.depth))
    _decode(runner, job.depth, min((WARM_STEPS, *job.generations)) if job.generations else 0)
    prefill = tuple(_prefill(runner, count) for count in job.prompts)
    return prefill, tuple(_decode(runner, job.depth, count) for count in job.generations)


def _ids(runner: Runner, count: int) -> list[int]:
    """Return token ids spread over the vocabulary, the same each time: which ids they are doesn't affect the speed."""
    return [(7919 * index + 3) % runner.vocab_size for index in range(1, count + 1)]


def _prefill(runner: Runner, count: int) -> float:
    ids = _ids(runner, count)
    began = time.perf_counter()
    runner.prefill(ids, 0)
    return time.perf_counter() - began


def _decode(runner: Runner, position: int, steps: int) -> float:
    """Seconds of single steps; a prompt that was at least as long has filled the cache before ``position``."""
    ids = _ids(runner, steps)
    began = time.perf_counter()
    for offset, token in enumerate(ids):
        runner.step(token, position + offset)
    return time.perf_counter() - began


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    lengths = {name: tuple(given[name]) for name in ("prompts", "generations")}
    print(json.dumps(asdict(run_here(Job(**{**given, **lengths})))))
