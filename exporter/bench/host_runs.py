"""Runs of a program on this host, each in a fresh process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict

from ..errors import ConformanceError, LackingError
from ..runtimes.runs import Job, Run
from ..util.progress import Progress

# ExecuTorch's attention multiplies through torch's BLAS, which would start OpenMP threads inside every thread of
# the runtime's own pool: twice as many threads as cores, and a third of the speed.
ONE_OPENMP = {"OMP_NUM_THREADS": "1"}
_MODULE = f"{__package__}.one_run"


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
    from ..runtimes import get_runtime

    by_engine = get_runtime(job.runtime).engine.measure(job, runs, progress)
    if by_engine is not None:
        return by_engine
    found = []
    for index in range(runs):
        progress.update(index, runs, f"run {index + 1} of {runs}")
        found.append(_one(job))
    return found


def _one(job: Job) -> Run:
    command = [sys.executable, "-m", _MODULE, json.dumps(asdict(job))]
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
    return Run.of(json.loads(done.stdout.splitlines()[-1]))
