"""A bundle's speed against the memory bandwidth of the same run: ``python -m benchmarks.speed BUNDLE…``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from gemcut import bench
from gemcut.cli.common import open_checked
from gemcut.cli.views.table import table
from gemcut.util.progress import Silent

from . import bandwidth
from .common import (
    Command,
    Figure,
    environment,
    figure,
    json_option,
    machine,
    machine_text,
    progress,
    threads_option,
    write_json,
)

if TYPE_CHECKING:
    from gemcut.bundle.reader import Bundle

GATHERED = ("embedding", "per-layer embedding")  # tensor classes of which a step reads no more than a row


@dataclass(frozen=True)
class StepBytes:
    """Bytes that one decode step reads from memory: weights as stored, and the cache as far as attention reads it.

    position: of the step, the middle of those measured.
    """

    weights: int
    cache: int
    position: int

    @property
    def total(self) -> int:
        return self.weights + self.cache


@dataclass(frozen=True)
class Speed:
    """One bundle over all rounds. Speeds in tokens per second, memory and sizes in bytes, load in seconds.

    limit: bandwidth / bytes per step, the decode speed that no program passes; share: decode / limit, by round.
    """

    bundle: str
    proven: bool
    prefill: dict[int, Figure]
    decode: Figure
    decode_steps: int
    step: StepBytes
    limit: Figure
    share: Figure
    load: Figure
    peak_memory: Figure
    program: int


def step_bytes(bundle: Bundle, position: int) -> StepBytes:
    """What one decode step at ``position`` has to read.

    Weights: the manifest's tensors but the embeddings, of which a step gathers a row (norms, some kilobytes, are
    not among them); a tied head is the embedding's table. Cache: keys and values, float32, of each layer that owns
    one: the slots up to ``position``; in a sliding layer past its window the whole ring. A KV-shared layer reads
    another's cache again, which the CPU's own cache may hold; that is not counted.
    """
    manifest = bundle.manifest
    weights = sum(record.bytes for name, record in manifest.tensors.items() if name not in GATHERED)
    head, embedding = manifest.tensors["head"].bytes, manifest.tensors["embedding"].bytes
    if head < embedding // 2:  # one table serves both, and counts as the embedding's
        weights += embedding
    spec = _cache_spec(bundle)
    live = position + 1
    cache = 0
    for layer in spec.layers:
        if layer is not None:
            wrapped = layer.ring and spec.window is not None and live > spec.window
            slots = layer.slots if wrapped else min(live, layer.slots)
            cache += 2 * 4 * slots * layer.heads * layer.head_dim
    return StepBytes(weights, cache, position)


def _cache_spec(bundle: Bundle) -> Any:
    """The cache's shape, from the configuration that the bundle carries."""
    from gemcut.modeling.kv_cache import cache_spec
    from transformers import AutoConfig

    settings = json.loads(bundle.read("config.json"))
    config = AutoConfig.for_model(settings.pop("model_type"), **settings)
    manifest = bundle.manifest
    return cache_spec(config.get_text_config(decoder=True), manifest.context, manifest.prefill_chunk)


def job_of(bundle: Bundle, threads: int, prompts: Sequence[int], steps: int) -> bench.Job:
    """What ``gemcut.bench`` is to run."""
    return bench.Job(bundle.manifest.runtime.name, str(bundle.program), tuple(prompts), (steps,), threads, prompts[0])


def run_job(job: bench.Job) -> bench.Run:
    """One run in a process of its own, with one OpenMP thread.

    ``llama::custom_sdpa`` in the Python wheel multiplies through torch's BLAS, which would start an OpenMP pool
    inside every thread of ExecuTorch's own; on a device there is no such pool. ``job.threads`` stays what it is.
    """
    with environment(OMP_NUM_THREADS="1"):
        return bench.measure(job, 1, Silent())[0]


def measure(paths: Sequence[Path], runs: int, threads: int, megabytes: int) -> tuple[Figure, list[Speed]]:
    """``runs`` rounds: the bandwidth, then each bundle once. Returns the bandwidth in bytes per second, and speeds."""
    rates: list[float] = []
    with ExitStack() as stack:
        bar = stack.enter_context(progress())
        bundles = [stack.enter_context(open_checked(path, bar)) for path in paths]
        jobs = []
        for bundle in bundles:
            context = bundle.manifest.context
            jobs.append(job_of(bundle, threads, bench.usual_prompts(context), bench.decode_steps(context)))
        found: list[list[bench.Run]] = [[] for _ in jobs]
        for index in range(runs):
            bar.stage(f"round {index + 1} of {runs}: memory bandwidth")
            rates.append(bandwidth.measure(threads, megabytes))
            for job, path, into in zip(jobs, paths, found, strict=True):
                bar.stage(f"round {index + 1} of {runs}: {path}")
                into.append(run_job(job))
        bandwidths = figure(rates)
        speeds = [_speed(bundle, job, into, bandwidths) for bundle, job, into in zip(bundles, jobs, found, strict=True)]
    return bandwidths, speeds


def _speed(bundle: Bundle, job: bench.Job, runs: Sequence[bench.Run], rates: Figure) -> Speed:
    (steps,) = job.generations
    step = step_bytes(bundle, job.depth + steps // 2)
    decode = figure([steps / run.decode[0] for run in runs])
    limit = figure([rate / step.total for rate in rates.values])
    return Speed(
        bundle=str(bundle.path),
        proven=bundle.manifest.proven,
        prefill={
            prompt: figure([prompt / run.prefill[index] for run in runs]) for index, prompt in enumerate(job.prompts)
        },
        decode=decode,
        decode_steps=steps,
        step=step,
        limit=limit,
        share=figure([reached / most for reached, most in zip(decode.values, limit.values, strict=True)]),
        load=figure([run.load for run in runs]),
        peak_memory=figure([run.peak_memory for run in runs]),
        program=Path(job.program).stat().st_size,
    )


def show(speed: Speed) -> None:
    """One bundle's table."""
    click.echo(f"\n{speed.bundle}{'' if speed.proven else ' (UNPROVEN)'}")
    step = speed.step
    rows = [
        *((f"prefill {prompt} (tokens/s)", rate.text()) for prompt, rate in speed.prefill.items()),
        (f"decode, {speed.decode_steps} steps (tokens/s)", speed.decode.text()),
        (
            f"read by a step at position {step.position} (MB)",
            f"{step.total / 1e6:.1f} (weights {step.weights / 1e6:.1f}, cache {step.cache / 1e6:.1f})",
        ),
        ("the bandwidth's limit (tokens/s)", speed.limit.text()),
        ("share of the limit", speed.share.text()),
        ("load (s)", speed.load.text()),
        ("peak memory of the process (MB)", speed.peak_memory.text(1e6)),
        ("program (MB)", f"{speed.program / 1e6:.1f}"),
    ]
    table(rows, ("", "median (min–max)"))


@click.command(cls=Command)
@click.argument("bundles", type=click.Path(exists=True, path_type=Path), nargs=-1, required=True)
@click.option("--runs", type=click.IntRange(min=1), default=5, show_default=True, help="Rounds, interleaved.")
@threads_option
@click.option(
    "--megabytes",
    type=click.IntRange(min=1),
    default=bandwidth.DEFAULT_MEGABYTES,
    show_default=True,
    help="Of the buffer that the bandwidth is measured on, MiB.",
)
@json_option
def main(bundles: tuple[Path, ...], runs: int, threads: int, megabytes: int, json_file: Path | None) -> None:
    """Measure prefill, decode and memory of each of BUNDLES beside the memory bandwidth of the same rounds."""
    host = machine()
    rates, speeds = measure(bundles, runs, threads, megabytes)
    click.echo(f"{machine_text(host, threads)}; {runs} rounds")
    click.echo(f"memory reads at {rates.text(1e9)} GB/s")
    for speed in speeds:
        show(speed)
    document = {"machine": host, "runs": runs, "threads": threads, "bandwidth": rates, "results": speeds}
    write_json(json_file, "speed", document)


if __name__ == "__main__":
    main()
