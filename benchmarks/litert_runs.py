"""What ``benchmarks.litert`` runs in processes of their own: the float model, fidelity, and LiteRT-LM's engine.

Each is a command whose last line on stdout is JSON; the functions that start them stand beside them.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from gemcut import bench
from gemcut.errors import ConformanceError
from gemcut.util.process_memory import MemoryMeter

from .common import Command, run_module
from .models import SHAPES as GEMMA3
from .models import gemma3_1b

if TYPE_CHECKING:
    from gemcut.prove.golden import Golden
    from gemcut.prove.runner import Runner
    from gemcut.util.arrays import FloatArray
    from transformers import PreTrainedConfig

MODULE = "benchmarks.litert_runs"


SHAPES: dict[str, Callable[[], PreTrainedConfig]] = {"1b": gemma3_1b, **GEMMA3}


@dataclass(frozen=True)
class Start:
    """LiteRT-LM's first start on a file, which packs the weights and writes them to a cache on disk.

    load: seconds until it could be asked something. peak_memory: most bytes that it added. weight_cache: bytes written.
    """

    load: float
    peak_memory: int
    weight_cache: int


@dataclass(frozen=True)
class Fidelity:
    """A program against the float model over ``positions`` teacher-forced positions.

    mean_kl, p99_kl: KL(float || program) over the whole vocabulary, nats. top1: share of positions, 0..1, where
    both models' likeliest token is the same.
    """

    positions: int
    mean_kl: float
    p99_kl: float
    top1: float


def sample_checkpoint() -> Path:
    """The packaged sample's checkpoint."""
    return Path(str(resources.files("gemcut.sample").joinpath("model")))


def make_checkpoint(shape: str, directory: Path) -> None:
    """Writes a random Gemma 3 (bfloat16, always the same bytes) in a process of its own."""
    run_module(MODULE, ["checkpoint", shape, directory], f"writing a random Gemma 3 {shape}")


def make_reference(checkpoint: Path, bundle: Path, out: Path) -> int:
    """Writes the float model's logits of all scored positions of ``bundle``'s goldens; returns how many."""
    said = run_module(MODULE, ["reference", checkpoint, bundle, out], "the float model")
    return int(json.loads(said.splitlines()[-1])["positions"])


def measure_fidelity(runtime: str, program: Path, bundle: Path, logits: Path) -> Fidelity:
    """Holds a program against the logits that ``make_reference`` wrote, on the same goldens."""
    said = run_module(MODULE, ["fidelity", runtime, program, bundle, logits], f"the logits of {program.name}")
    return Fidelity(**json.loads(said.splitlines()[-1]))


def first_start(program: Path, threads: int, work: Path) -> Start:
    """LiteRT-LM's first start on a ``.litertlm``; its cache lies in ``work`` meanwhile."""
    with tempfile.TemporaryDirectory(dir=work) as cache:
        said = run_module(MODULE, ["start", program, threads, cache], f"LiteRT-LM on {program}")
        written = sum(path.stat().st_size for path in Path(cache).rglob("*") if path.is_file())
    return Start(**json.loads(said.splitlines()[-1]), weight_cache=written)


def run_engine(job: bench.Job, work: Path) -> bench.Run:
    """One run of a ``.litertlm`` in LiteRT-LM's engine, with its weight cache written before."""
    from gemcut.runtimes.litert import litert_lm as engine

    (run,) = engine.bench(job, 1, work)
    return run


def run_program(job: bench.Job) -> bench.Run:
    """One run of a program behind ``gemcut.prove.runner.Runner``: ``gemcut bench``, but never by an engine."""
    said = run_module("gemcut.bench.one_run", [json.dumps(asdict(job))], f"running {job.program}", bench.ONE_OPENMP)
    return bench.Run.of(json.loads(said.splitlines()[-1]))


def reference_here(checkpoint: Path, bundle: Path, out: Path) -> int:
    """See ``make_reference``; transformers' own forward in float32."""
    from gemcut.checkpoint.opening import open_checkpoint
    from gemcut.checkpoint.weights import load_float_model
    from gemcut.reference.transformers_model import TransformersReference

    model = TransformersReference(load_float_model(open_checkpoint(str(checkpoint))))
    rows = 0
    with out.open("wb") as file:
        for golden in goldens_of(bundle):
            found = model.logits(golden.ids[:-1], golden.first)
            file.write(found.astype("<f4").tobytes())
            rows += len(found)
    return rows


def fidelity_here(runtime: str, program: Path, bundle: Path, logits: Path) -> Fidelity:
    """See ``measure_fidelity``."""
    import numpy as np
    from gemcut.prove.fidelity import kl_full
    from gemcut.runtimes import get_runtime

    goldens = goldens_of(bundle)
    runner = get_runtime(runtime).engine.open(program)
    try:
        positions = sum(golden.positions for golden in goldens)
        rows = np.memmap(logits, dtype="<f4", mode="r", shape=(positions, runner.vocab_size))
        kls, agree, at = [], 0, 0
        for golden in goldens:
            for found in forced(runner, golden):
                kls.append(kl_full(rows[at], found))
                agree += int(np.argmax(rows[at]) == np.argmax(found))
                at += 1
    finally:
        runner.close()
    return Fidelity(positions, float(np.mean(kls)), float(np.quantile(kls, 0.99)), agree / positions)


def forced(runner: Runner, golden: Golden) -> Iterator[FloatArray]:
    """Feeds a golden's ids whatever the program says; yields its logits [V] of each scored position."""
    for at in range(golden.first, len(golden.ids) - 1):
        yield runner.prefill(golden.ids[: at + 1], 0) if at == golden.first else runner.step(golden.ids[at], at)


def goldens_of(bundle: Path) -> tuple[Golden, ...]:
    """A bundle's goldens."""
    from gemcut.bundle.reader import open_bundle
    from gemcut.prove.golden_files import GOLDENS, load_goldens

    with open_bundle(bundle) as opened:
        found: tuple[Golden, ...] = load_goldens({name: opened.read(name) for name in GOLDENS})
    return found


def start_here(program: Path, threads: int, cache: Path) -> tuple[float, int]:
    """Seconds and peak memory of the engine's start in this process.

    Raises:
        ConformanceError: The engine can't open the file.
    """
    from gemcut.runtimes.litert.litert_lm_worker import library

    native = library()
    import litert_lm

    backend = litert_lm.Backend.CPU(thread_count=threads)
    meter = MemoryMeter()
    began = time.perf_counter()
    try:
        engine = litert_lm.Engine(str(program), backend, cache_dir=str(cache))
    except RuntimeError as error:
        why = native.litert_lm_get_last_error_message()  # The exception names the function that failed, no more.
        text = why.decode("utf-8", "replace") if why else str(error)
        raise ConformanceError(f"LiteRT-LM refuses {program.name}: {text}") from error
    load = time.perf_counter() - began
    engine.close()
    return load, meter.use().peak_memory


@click.group()
def main() -> None:
    """Parts of benchmarks.litert."""


@main.command(cls=Command)
@click.argument("shape", type=click.Choice(sorted(SHAPES)))
@click.argument("directory", type=click.Path(path_type=Path))
def checkpoint(shape: str, directory: Path) -> None:
    """Write a random-weight checkpoint of SHAPE."""
    from gemcut.checkpoint.random import random_checkpoint

    random_checkpoint(directory, SHAPES[shape]())


@main.command(cls=Command)
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
def reference(source: Path, bundle: Path, out: Path) -> None:
    """Write the float logits of checkpoint SOURCE on BUNDLE's goldens to OUT."""
    _answer({"positions": reference_here(source, bundle, out)})


@main.command(cls=Command)
@click.argument("runtime")
@click.argument("program", type=click.Path(path_type=Path))
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("logits", type=click.Path(path_type=Path))
def fidelity(runtime: str, program: Path, bundle: Path, logits: Path) -> None:
    """Hold PROGRAM against LOGITS on BUNDLE's goldens."""
    _answer(asdict(fidelity_here(runtime, program, bundle, logits)))


@main.command(cls=Command)
@click.argument("program", type=click.Path(path_type=Path))
@click.argument("threads", type=int)
@click.argument("cache", type=click.Path(path_type=Path))
def start(program: Path, threads: int, cache: Path) -> None:
    """Start LiteRT-LM's engine on PROGRAM."""
    load, peak_memory = start_here(program, threads, cache)
    _answer({"load": load, "peak_memory": peak_memory})


def _answer(document: dict[str, Any]) -> None:
    print(json.dumps(document), flush=True)


if __name__ == "__main__":
    main()
