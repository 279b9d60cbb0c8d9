"""``gemcut bench``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .common import Command, console_progress, emit, json_option, open_checked, say

if TYPE_CHECKING:
    from ..bench import Benchmark, Distribution


@click.command(cls=Command)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--prompt",
    "prompts",
    type=click.IntRange(min=1),
    multiple=True,
    metavar="N",
    help="Tokens of a prompt to prefill; may be repeated. Default: 128 and 512.",
)
@click.option("--runs", type=click.IntRange(min=1), default=5, show_default=True, help="Runs, each in a fresh process.")
@click.option("--threads", type=click.IntRange(min=1), help="Number of threads. Default: the runtime's own choice.")
@json_option
def command(bundle: Path, prompts: tuple[int, ...], runs: int, threads: int | None, as_json: bool) -> None:
    """Measure prefill and decode speed, load time and peak memory of BUNDLE on this host."""
    from ..bench import choose_prompts, decode_steps, measure, summarize
    from ..runtimes.base import Job

    with console_progress() as progress, open_checked(bundle, progress) as opened:
        manifest = opened.manifest
        lengths = choose_prompts(prompts, manifest.context)
        job = Job(manifest.runtime.name, str(opened.program), lengths, decode_steps(manifest.context), threads)
        progress.stage("Measuring")
        result = summarize(str(bundle), manifest.proven, job, measure(job, runs, progress))
    if as_json:
        emit(result)
    else:
        _show(result)


def _show(result: Benchmark) -> None:
    from .views.table import table

    threads = f"{result.threads} threads" if result.threads else "the runtime's own number of threads"
    say(f"{result.bundle} on this host: {result.runs} runs, {threads}\n")
    rows = [
        *(_row(f"prefill {p.prompt} (tokens/s)", p.tokens_per_second) for p in result.prefill),
        _row(f"decode {result.decode_steps} (tokens/s)", result.decode),
        _row("load (s)", result.load),
        _row("peak memory (MB)", result.peak_memory, 1e6),
        _row("before loading (MB)", result.memory_before, 1e6),
    ]
    table(rows, ("", "min", "p10", "median", "p90", "max"))


def _row(name: str, figure: Distribution, unit: float = 1.0) -> tuple[str, ...]:
    values = (figure.min, figure.p10, figure.median, figure.p90, figure.max)
    return (
        name,
        *(f"{value / unit:.4g}" if value / unit < 1000 else f"{value / unit:.0f}" for value in values),
    )
