"""What the benchmarks share: figures over rounds, child processes, a folder that is cleaned up, tables and JSON."""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import click
import psutil
from gemcut.errors import GemcutError, LackingError
from gemcut.report.console import ConsoleProgress

Function = TypeVar("Function", bound=Callable[..., Any])
TAIL = 20  # lines of a failed child's output worth showing
_PACKAGES = ("gemcut", "executorch", "torch", "torchao", "transformers")


@dataclass(frozen=True)
class Figure:
    """One figure over all rounds, in the order they were taken."""

    median: float
    min: float
    max: float
    values: tuple[float, ...]

    def text(self, unit: float = 1.0) -> str:
        """``median (min–max)`` in multiples of ``unit``; the median alone where there was one round."""
        if len(self.values) == 1:
            return number(self.median / unit)
        return f"{number(self.median / unit)} ({number(self.min / unit)}–{number(self.max / unit)})"


def figure(values: Sequence[float]) -> Figure:
    """Median, smallest and largest of ``values`` (at least one)."""
    return Figure(statistics.median(values), min(values), max(values), tuple(values))


def ratio(ours: Figure, theirs: Figure) -> Figure:
    """Round by round, so that what slows both in one round cancels."""
    return figure([a / b for a, b in zip(ours.values, theirs.values, strict=True)])


def number(value: float) -> str:
    """Three significant digits, and no exponent from 1000 on."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


class BenchmarkError(GemcutError):
    """A program that a benchmark runs failed."""


class Command(click.Command):
    """A benchmark's command line: errors as a message and an exit code, Ctrl-C and SIGTERM both clean up."""

    def invoke(self, ctx: click.Context) -> Any:
        previous = signal.signal(signal.SIGTERM, _interrupt)
        try:
            return super().invoke(ctx)
        except GemcutError as error:
            click.echo(f"error: {error.message}", err=True)
            if error.hint:
                click.echo(f"hint: {error.hint}", err=True)
            ctx.exit(error.exit_code)
        finally:
            signal.signal(signal.SIGTERM, previous)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def json_option(function: Function) -> Function:
    """``--json FILE``, handed to the command as ``json_file``."""
    click.option(
        "--json",
        "json_file",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Write all figures of all rounds there too.",
    )(function)
    return function


def threads_option(function: Function) -> Function:
    """``--threads N``."""
    click.option(
        "--threads", type=click.IntRange(min=1), default=2, show_default=True, help="Of every program measured."
    )(function)
    return function


def progress() -> ConsoleProgress:
    """Progress on stderr; use it as a context manager."""
    return ConsoleProgress()


def run(command: Sequence[object], what: str, env: dict[str, str] | None = None) -> str:
    """Runs a program and returns its stdout.

    Raises:
        BenchmarkError: it failed; the message ends with what it said last.
        LackingError: it isn't there, or was killed, most likely for memory.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, errors="replace", check=False, env={**os.environ, **(env or {})}
        )
    except OSError as error:
        raise LackingError(f"{what}: {words[0]} can't be run: {error.strerror}") from error
    if done.returncode == -signal.SIGKILL:
        raise LackingError(f"{what} was killed, most likely because memory ran out", hint="Close other programs.")
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-TAIL:])
        raise BenchmarkError(f"{what} failed with exit code {done.returncode}:\n{said}")
    return done.stdout


def run_module(name: str, arguments: Sequence[object], what: str, env: dict[str, str] | None = None) -> str:
    """Runs ``python -m name`` with this Python; returns its stdout."""
    return run([sys.executable, "-m", name, *arguments], what, env)


@contextmanager
def environment(**values: str) -> Iterator[None]:
    """Environment variables for the processes that are started meanwhile."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def scratch(room: int) -> Iterator[Path]:
    """A folder for large files that is gone afterwards, whatever happens.

    Args:
        room: bytes that will lie there at most.

    Raises:
        LackingError: the disk has less.
    """
    with tempfile.TemporaryDirectory(prefix="gemcut-benchmark-") as name:
        free = shutil.disk_usage(name).free
        if free < room:
            raise LackingError(
                f"{name} has {free / 1e9:.1f} GB free, this needs {room / 1e9:.1f} GB",
                hint="Set TMPDIR to a folder on a larger disk.",
            )
        yield Path(name)


def machine() -> dict[str, Any]:
    """What the figures hold for: CPU, cores, memory in bytes, versions, and the load that others made."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "cpu": cpu_name(),
        "cores": len(psutil.Process().cpu_affinity() if hasattr(psutil.Process, "cpu_affinity") else []) or None,
        "memory": psutil.virtual_memory().total,
        "load_before": os.getloadavg()[0],
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": found,
    }


def cpu_name() -> str:
    """The CPU as the system names it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def machine_text(found: dict[str, Any], threads: int | None = None) -> str:
    """A line for the table's head."""
    used = f", {threads} threads used" if threads else ""
    return f"{found['cpu']}, {found['cores'] or 'unknown'} cores{used}, load {found['load_before']:.2f} at the start"


def write_json(path: Path | None, name: str, document: dict[str, Any]) -> None:
    """Writes ``--json FILE``, whole or not at all; nothing where no file was asked for."""
    if path is None:
        return
    text = json.dumps({"benchmark": name, **document}, indent=2, default=asdict) + "\n"
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
