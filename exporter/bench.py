"""Speed and memory of a program on this host, as distributions over runs in fresh processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from .errors import ConformanceError, LackingError, UsageError
from .prove.runner import Runner
from .runtimes.base import Job, Run
from .util.process_memory import peak_memory
from .util.progress import Progress

# ExecuTorch's attention multiplies through torch's BLAS, which would start OpenMP threads inside every thread of
# the runtime's own pool: twice as many threads as cores, and a third of the speed.
ONE_OPENMP = {"OMP_NUM_THREADS": "1"}
WARM_STEPS = 4
DECODE_STEPS = 64
DEFAULT_PROMPTS = (128, 512)


@dataclass(frozen=True)
class Distribution:
    """One figure over all runs; percentiles are interpolated.

    Attributes:
        min: The least value.
        p10: The 10th percentile.
        median: The median.
        p90: The 90th percentile.
        max: The greatest value.
    """

    min: float
    p10: float
    median: float
    p90: float
    max: float


@dataclass(frozen=True)
class Prefill:
    """The speed of prefill for one length of prompt.

    Attributes:
        prompt: The prompt's length in tokens.
        tokens_per_second: The tokens per second.
    """

    prompt: int
    tokens_per_second: Distribution


@dataclass(frozen=True)
class Benchmark:
    """What was measured.

    Attributes:
        bundle: The bundle's path.
        proven: Whether the bundle is proven.
        runs: How many runs there were.
        threads: The number of threads; null for the runtime's own choice.
        prefill: The speed of prefill, by length of prompt.
        decode: Tokens per second over ``decode_steps`` single steps after the first prompt.
        decode_steps: How many single steps were measured.
        load: Seconds from the program's file to a method that can be called; libraries are loaded before.
        peak_memory: The most resident bytes of the whole process.
        memory_before: The most resident bytes of the process before the program was opened.
    """

    bundle: str
    proven: bool
    runs: int
    threads: int | None
    prefill: tuple[Prefill, ...]
    decode: Distribution
    decode_steps: int
    load: Distribution
    peak_memory: Distribution
    memory_before: Distribution


def choose_prompts(asked: Sequence[int], context: int) -> tuple[int, ...]:
    """Return the prompt lengths to measure; if none are asked for, 128 and 512 if the context holds them.

    Args:
        asked: The lengths that were asked for.
        context: How many tokens the context holds.

    Raises:
        UsageError: If a prompt, with the tokens decoded after it, doesn't fit in the context.
    """
    room = context - decode_steps(context)
    for prompt in asked:
        if prompt > room:
            raise UsageError(
                f"--prompt {prompt}: this bundle's context of {context} tokens leaves only {room} for a prompt",
                hint=f"Use --prompt {room} or less, or export with a larger --context.",
            )
    return tuple(asked) or tuple(p for p in DEFAULT_PROMPTS if p <= room) or (room,)


def decode_steps(context: int) -> int:
    """Return the number of single steps to measure: 64, or a quarter of the context if that is less."""
    return min(DECODE_STEPS, max(1, context // 4))


def measure(job: Job, runs: int, progress: Progress) -> list[Run]:
    """Measure ``runs`` times, each in a process of its own, so that loading and peak memory are the program's.

    If apps call a runtime through an engine of its own, the engine is measured.

    Args:
        job: What to measure.
        runs: How many times.
        progress: Told how many runs are done.

    Raises:
        ConformanceError: If the program can't be run here.
        LackingError: If a run was killed, most likely because memory ran out.
    """
    from .runtimes import get_runtime

    by_engine = get_runtime(job.runtime).engine.measure(job, runs, progress)
    if by_engine is not None:
        return by_engine
    found = []
    for index in range(runs):
        progress.update(index, runs, f"run {index + 1} of {runs}")
        found.append(_one(job))
    return found


def _one(job: Job) -> Run:
    command = [sys.executable, "-m", __spec__.name, json.dumps(asdict(job))]
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", check=False, env={**os.environ, **ONE_OPENMP}
    )
    if done.returncode == -signal.SIGKILL:
        raise LackingError("a run was killed, most likely because memory ran out", hint="Close other programs.")
    if done.returncode:
        said = " / ".join(done.stderr.strip().splitlines()[-3:])
        raise ConformanceError(
            f"{job.program} can't be run on this host (exit {done.returncode}): {said}",
            hint="Check the bundle with gemcut validate BUNDLE, and this machine with gemcut doctor.",
        )
    values = json.loads(done.stdout.splitlines()[-1])
    return Run(**{**values, "prefill": tuple(values["prefill"])})


def distribution(values: Sequence[float]) -> Distribution:
    """Return minimum, 10th percentile, median, 90th percentile and maximum."""
    import numpy as np

    low, p10, median, p90, high = np.percentile(np.asarray(values, dtype=float), (0, 10, 50, 90, 100)).tolist()
    return Distribution(low, p10, median, p90, high)


def summarize(bundle: str, proven: bool, job: Job, runs: Sequence[Run]) -> Benchmark:
    """Return the runs as distributions."""
    return Benchmark(
        bundle=bundle,
        proven=proven,
        runs=len(runs),
        threads=job.threads,
        prefill=tuple(
            Prefill(prompt, distribution([prompt / run.prefill[index] for run in runs]))
            for index, prompt in enumerate(job.prompts)
        ),
        decode=distribution([job.steps / run.decode for run in runs]),
        decode_steps=job.steps,
        load=distribution([run.load for run in runs]),
        peak_memory=distribution([run.peak_memory for run in runs]),
        memory_before=distribution([run.memory_before for run in runs]),
    )


def run_here(job: Job) -> Run:
    """Do one run in this process; warm-ups come first and aren't counted."""
    from .runtimes import get_runtime

    engine = get_runtime(job.runtime).engine
    engine.preload()
    before = peak_memory()
    began = time.perf_counter()
    runner = engine.open(Path(job.program), job.threads)
    load = time.perf_counter() - began
    try:
        _decode(runner, _prefill(runner, job.prompts[0])[0], min(WARM_STEPS, job.steps))
        prefill, decode = [], 0.0
        for index, prompt in enumerate(job.prompts):
            position, seconds = _prefill(runner, prompt)
            prefill.append(seconds)
            if index == 0:
                decode = _decode(runner, position, job.steps)
    finally:
        runner.close()
    return Run(load, tuple(prefill), decode, before, peak_memory())


def _ids(runner: Runner, count: int) -> list[int]:
    """Return token ids spread over the vocabulary, the same each time: which ids they are doesn't affect the speed."""
    return [(7919 * index + 3) % runner.vocab_size for index in range(1, count + 1)]


def _prefill(runner: Runner, count: int) -> tuple[int, float]:
    ids = _ids(runner, count)
    began = time.perf_counter()
    runner.prefill(ids, 0)
    return count, time.perf_counter() - began


def _decode(runner: Runner, position: int, steps: int) -> float:
    ids = _ids(runner, steps)
    began = time.perf_counter()
    for offset, token in enumerate(ids):
        runner.step(token, position + offset)
    return time.perf_counter() - began


if __name__ == "__main__":
    values = json.loads(sys.argv[1])
    print(json.dumps(asdict(run_here(Job(**{**values, "prompts": tuple(values["prompts"])})))))
