"""Export time by stage and peak memory: ``python -m benchmarks.export``."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from gemcut.cli.views.table import table
from gemcut.target import load_target

from .common import (
    Command,
    Figure,
    figure,
    json_option,
    machine,
    machine_text,
    progress,
    ratio,
    run_module,
    scratch,
    write_json,
)
from .models import ROOM, SHAPES, TITLES, make

# Of gemcut export, what the first route doesn't do: proof and packing.
BEYOND_PROGRAM = ("reference", "pack", "prove", "measure", "publish")
SAMPLE = "sample"


@dataclass(frozen=True)
class Route:
    """One way to export one model, over all runs.

    seconds: by stage. wall: of the whole process, Python's start and imports with it. program: wall without the
    stages that do more than bring a program to the disk. peak_memory, size (of the bundle or program): bytes.
    """

    seconds: dict[str, Figure]
    program: Figure
    wall: Figure
    peak_memory: Figure
    size: Figure


@dataclass(frozen=True)
class Export:
    """A model's export by Gemcut and, where compared, by the notes' first route; speedup: first / ours."""

    model: str
    gemcut: Route
    first_route: Route | None = None
    speedup_program: Figure | None = None
    speedup_with_proof: Figure | None = None


def export_once(model: Path | None, target: str, folder: Path) -> dict[str, Any]:
    """One ``gemcut export`` in a process of its own; returns its JSON document, with ``wall`` seconds."""
    out = folder / "bundle"
    words = [
        "export",
        *([model] if model else []),
        "--target",
        target,
        "-o",
        out,
        "--gate",
        "report",
        "--fresh",
        "--json",
    ]
    began = time.perf_counter()
    said = run_module("gemcut.cli", words, f"gemcut export {model or SAMPLE}", {"TMPDIR": str(folder)})
    wall = time.perf_counter() - began
    shutil.rmtree(out)
    document: dict[str, Any] = json.loads(said)
    return {**document, "size": document["bundles"][0]["size"], "wall": wall}


def first_route_once(model: Path, target: str, folder: Path) -> dict[str, Any]:
    """One run of ``benchmarks.first_route`` at the target's context and chunk; its JSON, with ``wall`` seconds."""
    out, settings = folder / "first-route.pte", load_target(target)
    words = [model, out, "--context", settings.context, "--chunk", settings.prefill_chunk]
    began = time.perf_counter()
    said = run_module("benchmarks.first_route", words, "the first route", {"TMPDIR": str(folder)})
    wall = time.perf_counter() - began
    out.unlink()
    document: dict[str, Any] = json.loads(said.splitlines()[-1])
    return {**document, "wall": wall}


def summarize(runs: Sequence[dict[str, Any]], beyond: Sequence[str] = ()) -> Route:
    """The runs of one route as figures."""
    seconds = {stage: figure([run["seconds"][stage] for run in runs]) for stage in runs[0]["seconds"]}
    return Route(
        seconds=seconds,
        program=figure([run["wall"] - sum(run["seconds"][stage] for stage in beyond) for run in runs]),
        wall=figure([run["wall"] for run in runs]),
        peak_memory=figure([run["peak_memory"] for run in runs]),
        size=figure([run["size"] for run in runs]),
    )


def measure(models: Sequence[str], runs: int, target: str, compare: bool) -> list[Export]:
    """Exports each of ``models`` ``runs`` times, all of them interleaved; ``compare``: by the first route too."""
    ours: dict[str, list[dict[str, Any]]] = {name: [] for name in models}
    first: dict[str, list[dict[str, Any]]] = {name: [] for name in models}
    random = [name for name in models if name != SAMPLE]
    with progress() as bar, scratch(ROOM if "270m" in models else 1 << 28) as folder:
        for name in random:
            bar.stage(f"writing the {TITLES[name]}")
            make(name, folder / name)
        for index in range(runs):
            for name in models:
                path = None if name == SAMPLE else folder / name
                bar.stage(f"run {index + 1} of {runs}: gemcut export, {_title(name)}")
                ours[name].append(export_once(path, target, folder))
                if compare and path is not None:
                    bar.stage(f"run {index + 1} of {runs}: first route, {_title(name)}")
                    first[name].append(first_route_once(path, target, folder))
    return [_result(name, ours[name], first[name]) for name in models]


def _result(name: str, ours: list[dict[str, Any]], first: list[dict[str, Any]]) -> Export:
    mine = summarize(ours, BEYOND_PROGRAM)
    if not first:
        return Export(_title(name), mine)
    theirs = summarize(first)
    return Export(_title(name), mine, theirs, ratio(theirs.program, mine.program), ratio(theirs.program, mine.wall))


def _title(name: str) -> str:
    return TITLES.get(name, "the packaged sample")


def show(result: Export) -> None:
    """One model's table."""
    click.echo(f"\n{result.model}: gemcut export (seconds: median, and min–max where there were several runs)")
    _show_route(result.gemcut)
    if result.first_route is None:
        return
    click.echo(f"{result.model}: the plain upstream route, no proof")
    _show_route(result.first_route)
    assert result.speedup_program
    assert result.speedup_with_proof
    click.echo(f"first route / gemcut, to the program on disk: {result.speedup_program.text()}")
    click.echo(f"first route / gemcut with its float reference and proof: {result.speedup_with_proof.text()}")


def _show_route(route: Route) -> None:
    rows = [(stage, seconds.text()) for stage, seconds in route.seconds.items()]
    if route.program != route.wall:
        rows.append(("to the program on disk, imports included", route.program.text()))
    rows += [
        ("the whole process, imports included", route.wall.text()),
        ("peak memory (MB)", route.peak_memory.text(1e6)),
        ("size (MB)", route.size.text(1e6)),
    ]
    table(rows, ("stage", "seconds"))


@click.command(cls=Command)
@click.option(
    "--model",
    "models",
    type=click.Choice([SAMPLE, *sorted(SHAPES)]),
    multiple=True,
    default=(SAMPLE, "270m"),
    show_default=True,
    help="To export; may be given several times.",
)
@click.option("--runs", type=click.IntRange(min=1), default=3, show_default=True, help="Of each, interleaved.")
@click.option("--target", default="android-arm64", show_default=True, help="See gemcut targets.")
@click.option(
    "--compare-first-route", is_flag=True, help="Export the random models by the plain upstream route too, interleaved."
)
@json_option
def main(models: tuple[str, ...], runs: int, target: str, compare_first_route: bool, json_file: Path | None) -> None:
    """Measure export time by stage and peak memory, each run in a process of its own."""
    if compare_first_route and set(models) == {SAMPLE}:
        raise click.UsageError("--compare-first-route needs a random model: the plain route is of Gemma 3.")
    load_target(target)
    host = machine()
    results = measure(tuple(dict.fromkeys(models)), runs, target, compare_first_route)
    click.echo(f"{machine_text(host)}; {runs} runs, target {target}")
    for result in results:
        show(result)
    write_json(json_file, "export", {"machine": host, "runs": runs, "target": target, "results": results})


if __name__ == "__main__":
    main()
