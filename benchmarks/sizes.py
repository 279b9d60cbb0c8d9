"""Seconds by stage, memory, size and speed at the families' real shapes, with random weights.

``python -m benchmarks.sizes --model gemma3_1b``. Speed and memory depend on shapes, not on what weights say. One model
at a time is on the disk: the checkpoint is written shard by shard, exported in a process of its own, and gone.
"""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from gemcut.bench import DECODE_STEPS
from gemcut.cli.views.table import table

from .common import Command, json_option, machine, machine_text, number, progress, run_module, scratch, write_json
from .models import LARGE, SHAPES, TITLES, config_of, make

# What the issue holds every model to: this share of the bundle and this many bytes.
SHARE, FIXED = 1.2, 1.5e9
# Bytes on the disk by parameter: bfloat16 as stored; int8 while it is quantized, constants, program and bundle.
_DISK = 2 + 4
# Seconds between two looks at the disk.
_EVERY = 0.2


@dataclass(frozen=True)
class Size:
    """One export. seconds: by stage; wall: of the whole process, Python's start with it; making: of the checkpoint.

    memory: most bytes that no file backs, by stage. checkpoint, bundle: bytes. bound: 1.2 x bundle + 1.5 GB.
    prefill, decode: tokens per second on this machine. disk: most bytes that the export took on the disk, the bundle
    with them. run_memory: most bytes resident of a process that runs the bundle, less those before it was opened.
    plan: what ``gemcut plan`` said of config.json alone, before.
    """

    model: str
    runtime: str
    recipe: str
    parameters: int
    making: float
    seconds: dict[str, float]
    wall: float
    memory: dict[str, int]
    peak_memory: int
    bound: float
    checkpoint: int
    bundle: int
    prefill: float
    decode: float
    disk: int
    run_memory: float
    plan: dict[str, Any]

    @property
    def holds(self) -> bool:
        """Whether the memory is within its bound."""
        return self.peak_memory <= self.bound


@dataclass(frozen=True)
class Wanted:
    """What is exported: a shape, or its first ``layers`` layers. recipe, calibration: as for ``gemcut export``."""

    shape: str
    runtime: str
    target: str
    context: int | None = None
    layers: int | None = None
    recipe: str | None = None
    calibration: str | None = None

    @property
    def title(self) -> str:
        return TITLES[self.shape] + (f", {self.layers} layers" if self.layers else "")


def parameters(wanted: Wanted) -> int:
    """Parameters of a shape, a tied head counted once, from its configuration alone."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config_of(wanted.shape, wanted.layers))  # type: ignore[no-untyped-call]
    return sum(parameter.numel() for parameter in model.parameters())


def measure(wanted: Wanted) -> Size:
    """Writes, exports and throws away one model.

    Raises:
        LackingError: the disk or the memory is too small.
        BenchmarkError: the export failed.
    """
    count = parameters(wanted)
    with progress() as bar, scratch(count * _DISK + (2 << 30)) as folder:
        bar.stage(f"writing the {wanted.title}")
        began = time.perf_counter()
        checkpoint = make(wanted.shape, folder / wanted.shape, wanted.layers)
        making = time.perf_counter() - began
        stored = sum(file.stat().st_size for file in checkpoint.iterdir())
        plan = _plan(checkpoint, wanted, folder)
        bar.stage(f"gemcut export, {wanted.title}")
        with _taken(folder) as disk:
            document, wall = _export(checkpoint, wanted, folder)
        shutil.rmtree(checkpoint)
        bar.stage(f"gemcut bench, {wanted.title}")
        run_memory = _run_memory(folder, wanted.context or plan["context"])
    (bundle,) = document["bundles"]
    return Size(
        model=wanted.title,
        runtime=wanted.runtime,
        recipe=bundle["recipe"],
        parameters=count,
        making=making,
        seconds=document["seconds"],
        wall=wall,
        memory=document["memory"],
        peak_memory=document["peak_memory"],
        bound=SHARE * bundle["size"] + FIXED,
        checkpoint=stored,
        bundle=bundle["size"],
        prefill=bundle["speed"]["prefill"],
        decode=bundle["speed"]["decode"],
        disk=disk[0],
        run_memory=run_memory,
        plan=plan,
    )


def _plan(checkpoint: Path, wanted: Wanted, folder: Path) -> dict[str, Any]:
    """What is predicted of a folder that holds config.json and nothing else."""
    alone = folder / f"{checkpoint.name}-config"
    alone.mkdir()
    shutil.copy(checkpoint / "config.json", alone)
    words: list[object] = ["plan", alone, "--target", wanted.target, "--json"]
    words += _flags(wanted, "context", "recipe")
    found: dict[str, Any] = json.loads(run_module("gemcut.cli", words, "gemcut plan"))
    return found


@contextmanager
def _taken(folder: Path) -> Iterator[list[int]]:
    """Most bytes that were taken on the folder's disk meanwhile, files without a name with them, as the first item."""
    before, most, done = shutil.disk_usage(folder).used, [0], threading.Event()

    def look() -> None:
        while not done.wait(_EVERY):
            most[0] = max(most[0], shutil.disk_usage(folder).used - before)

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    try:
        yield most
    finally:
        done.set()
        looking.join()


def _run_memory(folder: Path, context: int) -> float:
    """Bytes that a process needs to run the bundle, with a conversation that fills its context."""
    words = ["bench", folder / "bundle", "--runs", 1, "--prompt", context - DECODE_STEPS, "--json"]
    found = json.loads(run_module("gemcut.cli", words, "gemcut bench"))
    used: float = found["bundles"][0]["peak_memory"]["mean"]
    return used


def _flags(wanted: Wanted, *names: str) -> Iterator[object]:
    for name in names:
        if getattr(wanted, name) is not None:
            yield from (f"--{name}", getattr(wanted, name))


def _export(checkpoint: Path, wanted: Wanted, folder: Path) -> tuple[dict[str, Any], float]:
    out = folder / "bundle"
    words: list[object] = ["export", checkpoint, "--target", wanted.target, "--runtime", wanted.runtime, "-o", out]
    words += ["--gate", "report", "--fresh", "--json", *_flags(wanted, "context", "recipe", "calibration")]
    began = time.perf_counter()
    said = run_module("gemcut.cli", words, f"gemcut export {checkpoint.name}", {"TMPDIR": str(folder)})
    return json.loads(said), time.perf_counter() - began


def show(found: Size) -> None:
    """One model's tables."""
    click.echo(f"\n{found.model}, {found.recipe}, {found.runtime}: {found.parameters / 1e9:.2f} billion parameters")
    said = found.plan["export"]
    rows = [
        (
            stage,
            number(seconds),
            _said(said["seconds_by_stage"].get(stage)),
            number(found.memory[stage] / 1e6),
            _said(said["memory_by_stage"].get(stage), 1e6),
        )
        for stage, seconds in found.seconds.items()
    ]
    rows.append(("the whole process", number(found.wall), "", number(found.peak_memory / 1e6), ""))
    table(rows, ("stage", "seconds", "planned", "memory (MB)", "planned"))
    click.echo("gemcut plan, from config.json alone")
    figures = [(name, number(real), number(said_of), number(said_of / real)) for name, real, said_of in planned(found)]
    table(figures, ("", "measured", "planned", "ratio"))
    verdict = "within" if found.holds else "OVER"
    bound = f"1.2 x bundle + 1.5 GB = {found.bound / 1e9:.2f}"
    click.echo(f"peak memory {found.peak_memory / 1e9:.2f} GB, {verdict} {bound}")
    click.echo(f"checkpoint {found.checkpoint / 1e9:.2f} GB, bundle {found.bundle / 1e9:.2f} GB")
    click.echo(f"prefill {number(found.prefill)} tokens/s, decode {number(found.decode)} tokens/s")


def planned(found: Size) -> tuple[tuple[str, float, float], ...]:
    """What the issue wants predicted within 20%: name, measured, planned."""
    plan, cost = found.plan, found.plan["export"]
    return (
        ("bundle (GB)", found.bundle / 1e9, plan["bundles"][0]["bundle"] / 1e9),
        ("peak memory (GB)", found.peak_memory / 1e9, cost["memory"] / 1e9),
        ("disk (GB)", found.disk / 1e9, cost["disk"] / 1e9),
        ("seconds", sum(found.seconds.values()), cost["seconds"]),
        ("memory to run it (GB)", found.run_memory / 1e9, plan["bundles"][0]["memory"] / 1e9),
    )


def _said(figure: float | None, unit: float = 1.0) -> str:
    return "" if figure is None else number(figure / unit)


@click.command(cls=Command)
@click.option(
    "--model",
    "models",
    type=click.Choice(sorted(SHAPES | LARGE)),
    multiple=True,
    required=True,
    help="To export; may be given several times, one is on the disk at a time.",
)
@click.option("--runtime", type=click.Choice(("executorch", "litert")), default="executorch", show_default=True)
@click.option("--target", default="android-arm64", show_default=True, help="See gemcut targets.")
@click.option("--context", type=click.IntRange(min=32), help="Tokens; the target's where not given.")
@click.option("--layers", type=click.IntRange(min=1), help="Only the first so many of each model's layers.")
@click.option("--recipe", metavar="NAME|FILE", help="As for gemcut export.")
@click.option("--calibration", metavar="FILE|quick|none", help="As for gemcut export.")
@json_option
def main(models: tuple[str, ...], json_file: Path | None, **given: Any) -> None:
    """Export models of real shapes and random weights; hold their memory to its bound."""
    host = machine()
    click.echo(f"{machine_text(host)}; target {given['target']}")
    results = []
    for shape in dict.fromkeys(models):
        results.append(measure(Wanted(shape, **given)))
        show(results[-1])
        write_json(json_file, "sizes", {"machine": host, "target": given["target"], "results": results})


if __name__ == "__main__":
    main()
