"""``gemcut bench``."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from . import completed_values as complete
from .common import Command, console_progress, device_options, emit, json_option, open_checked, parse_devices, say
from .shared_options import bundles_argument


@click.command(cls=Command)
@bundles_argument
@click.option(
    "--on",
    "device",
    default="host",
    show_default=True,
    metavar="DEVICE",
    shell_complete=complete.DEVICES,
    help="Where to measure, such as adb or adb:SERIAL; see gemcut devices.",
)
@click.option(
    "-p",
    "--prompt",
    "prompts",
    type=click.IntRange(min=0),
    multiple=True,
    metavar="N",
    help="Process a prompt of N tokens; may be repeated, 0 for none. Default: 128 and 512.",
)
@click.option(
    "-n",
    "--gen",
    "generations",
    type=click.IntRange(min=0),
    multiple=True,
    metavar="N",
    help="Generate N tokens; may be repeated, 0 for none. Default: 64.",
)
@click.option(
    "-r", "--runs", type=click.IntRange(min=1), default=5, show_default=True, help="Runs, each in a fresh process."
)
@click.option("--threads", type=click.IntRange(min=1), help="Number of threads. Default: see the table's column.")
@click.option("-o", "--output", type=click.Choice(("md", "csv", "json")), help="The form of the result. Default: md.")
@device_options
@json_option
def command(
    bundles: tuple[Path, ...],
    device: str,
    prompts: tuple[int, ...],
    generations: tuple[int, ...],
    runs: int,
    threads: int | None,
    output: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Measure the speed and memory of one or more BUNDLEs on this machine or a device.

    The tests are llama-bench's: pp128 is a prompt of 128 tokens, tg64 generates 64 tokens one by one from an empty
    cache, each in tokens per second as mean ± standard deviation. Several bundles run in turns, so that they share
    heat and noise. Memory is what the program adds to its process: the runtime and Python don't count.

    With --on adb the program runs on a phone, through adb, and nothing is left there. The speed of an emulated
    device says nothing about a phone's, and is marked in every form.
    """
    from ..bench.forms import comma_separated, markdown
    from ..devices.bench_runs import Wanted, bench
    from ..errors import UsageError

    if as_json and output not in (None, "json"):
        raise UsageError(f"--json and -o {output} ask for two forms", hint="Leave one of them out.")
    chosen = parse_devices("--on", (device,), options)
    wanted = Wanted(prompts, generations, runs, threads)
    with ExitStack() as stack:
        progress = stack.enter_context(console_progress())
        work = stack.enter_context(tempfile.TemporaryDirectory(prefix="gemcut-bench-"))
        opened = [stack.enter_context(open_checked(path, progress)) for path in bundles]
        result = bench(opened, device, wanted, chosen, Path(work), progress)
    if as_json or output == "json":
        emit(result)
    else:
        say(comma_separated(result) if output == "csv" else markdown(result))
