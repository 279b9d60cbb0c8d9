"""A bundle against llama.cpp on the same weights: ``python -m benchmarks.llama_cpp``.

The checkpoint is converted by llama.cpp's own script and quantized by ``llama-quantize`` to Q4_0, as it comes (the
tied head and embedding in 8 bits or more) and ``--pure`` (4 bits, as in the bundle). Then, round by round in turn:
memory bandwidth, ``llama-bench`` on each file, the bundle. The same token counts, each at position 0, each warmed
up once: prefill of 128 and of 512 tokens, decode of 32.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from gemcut.cli.common import open_checked
from gemcut.cli.views.table import table
from gemcut.errors import ConformanceError, UsageError
from gemcut.report.console import ConsoleProgress

from . import bandwidth, llama_build
from .common import (
    Command,
    Figure,
    figure,
    json_option,
    machine,
    machine_text,
    progress,
    ratio,
    run,
    run_module,
    scratch,
    threads_option,
    write_json,
)
from .llama_build import LlamaCpp
from .models import ROOM, SHAPES, TITLES, make
from .speed import StepBytes, job_of, run_job, step_bytes

if TYPE_CHECKING:
    from gemcut.bundle.reader import Bundle

PREFILLS = (128, 512)
STEPS = 32
KINDS = {"Q4_0": (), "Q4_0 --pure": ("--pure",)}
TESTS = (*(f"prefill {n}" for n in PREFILLS), f"decode {STEPS}")


@dataclass(frozen=True)
class Contender:
    """One program over all rounds: tokens per second by test, and bytes of its file."""

    name: str
    size: int
    speed: dict[str, Figure]


@dataclass(frozen=True)
class Comparison:
    """ratios: the bundle's speed over a llama.cpp file's, round by round, by file and test.

    step: bytes that one of the bundle's decode steps reads. share: its decode over bandwidth / step.
    """

    bundle: Contender
    llama_cpp: tuple[Contender, ...]
    ratios: dict[str, dict[str, Figure]]
    bandwidth: Figure
    step: StepBytes
    share: Figure


def convert(checkpoint: Path, out: Path, tools: LlamaCpp) -> Path:
    """Writes ``out`` (GGUF, bfloat16) with llama.cpp's own converter.

    It takes a tokenizer that it doesn't know by its ``tokenizer.model`` alone. A checkpoint without one lends the
    sample's, padded by the converter to the vocabulary: no token's text is of interest here.
    """
    source = out.with_name(out.name + ".source")
    source.mkdir()
    try:
        for path in checkpoint.iterdir():
            (source / path.name).symlink_to(path.resolve())
        if not (source / "tokenizer.model").exists():
            sample = resources.files("gemcut.sample").joinpath("model", "tokenizer.model")
            (source / "tokenizer.model").write_bytes(sample.read_bytes())
        words = [sys.executable, tools.converter, source, "--outfile", out, "--outtype", "bf16"]
        run(words, "llama.cpp's conversion to GGUF")
    finally:
        shutil.rmtree(source)
    return out


def quantize(gguf: Path, flags: Sequence[str], out: Path, tools: LlamaCpp, threads: int) -> Path:
    """Writes ``out`` as Q4_0 with ``llama-quantize``."""
    run([tools.quantize, *flags, gguf, out, "Q4_0", threads], "llama-quantize")
    return out


def make_gguf(checkpoint: Path, folder: Path, tools: LlamaCpp, threads: int) -> dict[str, Path]:
    """The two Q4_0 files of a checkpoint by name; the bfloat16 file between is removed."""
    whole = convert(checkpoint, folder / "bf16.gguf", tools)
    files = {
        name: quantize(whole, flags, folder / f"{name.replace(' ', '')}.gguf", tools, threads)
        for name, flags in KINDS.items()
    }
    whole.unlink()
    return files


def llama_bench(file: Path, tools: LlamaCpp, threads: int) -> dict[str, float]:
    """One run of ``llama-bench``, on the CPU: tokens per second by test."""
    prompts = ",".join(map(str, PREFILLS))
    words = [tools.bench, "-m", file, "-p", prompts, "-n", STEPS, "-t", threads, "-r", 1, "-ngl", 0, "-o", "json"]
    found = {}
    for test in json.loads(run(words, f"llama-bench on {file.name}")):
        name = f"prefill {test['n_prompt']}" if test["n_prompt"] else f"decode {test['n_gen']}"
        found[name] = float(test["avg_ts"])
    return found


def bundle_bench(bundle: Bundle, threads: int) -> dict[str, float]:
    """The bundle's tokens per second by test, in a process of its own.

    Decoding starts after one token, and each prefill is run twice, of which the second counts: as llama-bench has it.
    """
    prompts = (1, *(n for n in PREFILLS for _ in range(2)))
    done = run_job(job_of(bundle, threads, prompts, STEPS))
    found = {f"prefill {n}": n / done.prefill[2 * index + 2] for index, n in enumerate(PREFILLS)}
    return {**found, f"decode {STEPS}": STEPS / done.decode[0]}


def check_same_weights(bundle: Bundle, checkpoint: Path) -> None:
    """Holds the checkpoint's weight files against the hashes in the bundle's manifest.

    Raises:
        UsageError: the bundle was made of other weights.
    """
    recorded = bundle.manifest.model.files
    for path in sorted(checkpoint.glob("*.safetensors")):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if recorded.get(path.name) != digest:
            raise UsageError(
                f"{bundle.path} was not made of {checkpoint}: {path.name} differs",
                hint="Name the bundle's own checkpoint with --model, or leave --bundle out.",
            )


def check_context(bundle: Bundle) -> None:
    """Raises ConformanceError where the bundle's context doesn't hold the longest prompt."""
    if bundle.manifest.context < max(PREFILLS):
        raise ConformanceError(
            f"{bundle.path} has a context of {bundle.manifest.context} tokens, this needs {max(PREFILLS)}",
            hint=f"Export it with --context {max(PREFILLS)} or more.",
        )


def own_target() -> str:
    """The target of this machine's architecture."""
    return "linux-arm64" if platform.machine() in ("aarch64", "arm64") else "linux-x86_64"


def export_bundle(checkpoint: Path, folder: Path) -> Path:
    """Exports the checkpoint for this machine; random weights may fail the gate, so it only reports."""
    out = folder / "bundle"
    words = ["export", checkpoint, "--target", own_target(), "-o", out, "--gate", "report", "--fresh", "--json"]
    run_module("gemcut.cli", words, "gemcut export", {"TMPDIR": str(folder)})
    return out


def compare(
    bundle: Bundle, files: Mapping[str, Path], tools: LlamaCpp, rounds: int, threads: int, bar: ConsoleProgress
) -> Comparison:
    """Runs all in turn, ``rounds`` times."""
    rates: list[float] = []
    ours: list[dict[str, float]] = []
    theirs: dict[str, list[dict[str, float]]] = {name: [] for name in files}
    for index in range(rounds):
        bar.stage(f"round {index + 1} of {rounds}: memory bandwidth")
        rates.append(bandwidth.measure(threads))
        for name, file in files.items():
            bar.stage(f"round {index + 1} of {rounds}: llama.cpp {name}")
            theirs[name].append(llama_bench(file, tools, threads))
        bar.stage(f"round {index + 1} of {rounds}: the bundle")
        ours.append(bundle_bench(bundle, threads))
    mine = Contender("bundle", bundle.program.stat().st_size, _figures(ours))
    others = tuple(Contender(name, files[name].stat().st_size, _figures(runs)) for name, runs in theirs.items())
    step = step_bytes(bundle, 1 + STEPS // 2)
    decode = mine.speed[f"decode {STEPS}"]
    return Comparison(
        bundle=mine,
        llama_cpp=others,
        ratios={other.name: {test: ratio(mine.speed[test], other.speed[test]) for test in TESTS} for other in others},
        bandwidth=figure(rates),
        step=step,
        share=figure([speed * step.total / rate for speed, rate in zip(decode.values, rates, strict=True)]),
    )


def _figures(runs: Sequence[dict[str, float]]) -> dict[str, Figure]:
    return {test: figure([found[test] for found in runs]) for test in TESTS}


def show(result: Comparison) -> None:
    """Speeds and sizes, then ratios."""
    everyone = (result.bundle, *result.llama_cpp)
    rows = [(f"{test} (tokens/s)", *(one.speed[test].text() for one in everyone)) for test in TESTS]
    rows.append(("file (MB)", *(f"{one.size / 1e6:.1f}" for one in everyone)))
    table(rows, ("median (min–max)", "bundle", *(f"llama.cpp {one.name}" for one in result.llama_cpp)))
    click.echo("bundle / llama.cpp, more than 1: the bundle is faster")
    rows = [(test, *(result.ratios[one.name][test].text() for one in result.llama_cpp)) for test in TESTS]
    table(rows, ("", *(one.name for one in result.llama_cpp)))
    click.echo(
        f"memory reads at {result.bandwidth.text(1e9)} GB/s; a step of the bundle reads "
        f"{result.step.total / 1e6:.1f} MB, and its decode reaches {result.share.text()} of that limit"
    )


def measure(
    shape: str, model: Path | None, path: Path | None, tools: LlamaCpp, rounds: int, threads: int
) -> Comparison:
    """Makes what isn't given (checkpoint, bundle), converts, compares, and removes all that it made."""
    with ExitStack() as stack:
        bar = stack.enter_context(progress())
        folder = stack.enter_context(scratch(1 << 28 if shape == "tiny" and model is None else ROOM))
        checkpoint = model
        if checkpoint is None:
            bar.stage(f"writing the {TITLES[shape]}")
            checkpoint = make(shape, folder / shape)
        if path is None:
            bar.stage("gemcut export")
            path = export_bundle(checkpoint, folder)
        bundle = stack.enter_context(open_checked(path, bar))
        check_context(bundle)
        check_same_weights(bundle, checkpoint)
        bar.stage("converting to GGUF")
        files = make_gguf(checkpoint, folder, tools, threads)
        return compare(bundle, files, tools, rounds, threads, bar)


@click.command(cls=Command)
@click.option(
    "--shape",
    type=click.Choice(sorted(SHAPES)),
    default="270m",
    show_default=True,
    help="Of the random Gemma 3 to compare on.",
)
@click.option(
    "--model",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="A Gemma 3 checkpoint to compare on instead.",
)
@click.option(
    "--bundle",
    type=click.Path(exists=True, path_type=Path),
    metavar="BUNDLE",
    help="A bundle of those weights, instead of exporting one.",
)
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True)
@threads_option
@click.option(
    "--llama-cpp",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="llama.cpp's source folder, built. Default: the one that --build makes.",
)
@click.option(
    "--build",
    "build_in",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    is_flag=False,
    flag_value=str(llama_build.default_folder()),
    help="Build llama.cpp from the llama-cpp-python sdist first, in DIR (without one: in the user's cache); "
    "does nothing where it is built.",
)
@click.option("--build-only", is_flag=True, help="Stop after --build.")
@json_option
def main(json_file: Path | None, folder: Path | None, build_in: Path | None, build_only: bool, **settings: Any) -> None:
    """Compare a bundle with llama.cpp's Q4_0 on the same weights, interleaved, on the CPU."""
    if folder and build_in:
        raise click.UsageError("--llama-cpp names a built llama.cpp, --build makes one: take one of them.")
    if build_only and not build_in:
        raise click.UsageError("--build-only needs --build.")
    if build_in:
        with progress() as bar:
            bar.stage("building llama.cpp (minutes the first time)")
            llama_build.build(build_in, os.cpu_count() or 1)
        if build_only:
            click.echo(str(build_in))
            return
    tools = llama_build.locate(folder or build_in or llama_build.default_folder())
    threads, rounds = settings["threads"], settings["rounds"]
    host = machine()
    result = measure(settings["shape"], settings["model"], settings["bundle"], tools, rounds, threads)
    name = settings["model"].name if settings["model"] else TITLES[settings["shape"]]
    click.echo(f"{name} on {machine_text(host, threads)}; {rounds} rounds\n")
    show(result)
    document = {"machine": host, "model": name, "threads": threads, "rounds": rounds, "results": result}
    write_json(json_file, "llama_cpp", document)


if __name__ == "__main__":
    main()
