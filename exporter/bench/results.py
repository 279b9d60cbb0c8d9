"""What was measured of bundles at one place, as figures over runs."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ..runtimes.runs import Run

if TYPE_CHECKING:
    from ..bundle.reader import Bundle
    from .lengths import Lengths


@dataclass(frozen=True)
class Figure:
    """One figure over all runs.

    Attributes:
        mean: The mean.
        sd: The sample standard deviation (with runs - 1); null for a single run.
        samples: The figure of each run, in their order.
    """

    mean: float
    sd: float | None
    samples: tuple[float, ...]


@dataclass(frozen=True)
class BenchTest:
    """The speed of one test.

    Attributes:
        test: Its name as llama-bench has it: ``pp128`` for a prompt of 128 tokens, ``tg64`` for 64 tokens that are
            generated one by one from an empty cache.
        kind: 'pp' for prompt processing, 'tg' for text generation.
        tokens: How many tokens.
        tokens_per_second: The tokens per second.
    """

    test: str
    kind: Literal["pp", "tg"]
    tokens: int
    tokens_per_second: Figure


@dataclass(frozen=True)
class BenchBundle:
    """What was measured of one bundle. Memory in bytes: what the program adds to its process.

    Attributes:
        bundle: The bundle's path.
        proven: Whether the bundle is proven.
        model: The model's name.
        runtime: The runtime's name.
        version: The runtime's version where it was measured.
        recipe: The recipe's name.
        context: How many tokens the context holds.
        size: Bytes of all of its files.
        threads: The number of threads; null if the library says nothing of its threads.
        tests: The speeds.
        load: Seconds from the program's file to a method that can be called; libraries are loaded before.
        memory_before: What the process had resident before it opened the program: the runtime, and Python if it runs in
            it.
        peak_memory: The most that was resident at any time, without ``memory_before``.
        own_memory: What of it no file backs: the app's own; null if the system doesn't say.
        mapped_memory: What of it is mapped from files, which the system may drop and read again; null likewise.
        written: Bytes that the runtime wrote beside the program, such as a cache of its weights.
    """

    bundle: str
    proven: bool
    model: str
    runtime: str
    version: str
    recipe: str
    context: int
    size: int
    threads: int | None
    tests: tuple[BenchTest, ...]
    load: Figure
    memory_before: Figure
    peak_memory: Figure
    own_memory: Figure | None
    mapped_memory: Figure | None
    written: int


@dataclass(frozen=True)
class Condition:
    """What changes a device's speed from one hour to the next, as far as it tells.

    Attributes:
        battery: The battery's charge in percent; None if there is none that tells.
        temperature: The battery's temperature in degrees Celsius; likewise.
        charging: Whether it is on a charger; likewise.
        thermal_status: How much the system holds the processor back because it is hot: 'none', 'light', 'moderate',
            'severe', 'critical', 'emergency' or 'shutdown' (Android's PowerManager); None if it doesn't say.
    """

    battery: int | None = None
    temperature: float | None = None
    charging: bool | None = None
    thermal_status: str | None = None


@dataclass(frozen=True)
class BenchPlace:
    """Where it was measured.

    Attributes:
        device: The device, as ``--on`` takes it, with defaults filled in.
        system: The operating system and its version; of an Android device, with the model's name.
        architecture: The instruction set.
        cpu: The chip's or processor's name.
        cores: The number of cores that a program may use.
        memory: Bytes of memory.
        library: The app's own library that ran the programs; null if they ran in the runtime's release on PyPI.
        before: Its condition before the first run; null if it tells nothing of it.
        after: Its condition after the last run; likewise.
    """

    device: str
    system: str
    architecture: str
    cpu: str
    cores: int
    memory: int
    library: str | None = None
    before: Condition | None = None
    after: Condition | None = None


@dataclass(frozen=True)
class BenchResult:
    """``gemcut bench``.

    Attributes:
        emulated: Whether the device is emulated: its speeds then say nothing about a real device's.
        place: Where it was measured.
        runs: How many runs there were of each bundle, each in a fresh process, in turns.
        bundles: The bundles, in the order in which they were named.
        notes: What was left out, and what else to know about the figures.
    """

    emulated: bool
    place: BenchPlace
    runs: int
    bundles: tuple[BenchBundle, ...]
    notes: tuple[str, ...]


def figure(values: Iterable[float]) -> Figure:
    """Return mean, standard deviation and samples."""
    samples = tuple(values)
    return Figure(statistics.fmean(samples), statistics.stdev(samples) if len(samples) > 1 else None, samples)


def summarize(bundle: Bundle, version: str, threads: int | None, lengths: Lengths, runs: Sequence[Run]) -> BenchBundle:
    """Return the runs of one bundle as figures.

    Args:
        bundle: The bundle.
        version: The runtime's version where the runs were.
        threads: The number of threads; None if nobody knows.
        lengths: What was measured.
        runs: The runs.
    """
    manifest = bundle.manifest
    prompts = (_test("pp", count, [run.prefill[at] for run in runs]) for at, count in enumerate(lengths.prompts))
    generations = (_test("tg", count, [run.decode[at] for run in runs]) for at, count in enumerate(lengths.generations))
    return BenchBundle(
        bundle=str(bundle.path),
        proven=manifest.proven,
        model=manifest.model.name,
        runtime=manifest.runtime.name,
        version=version,
        recipe=manifest.recipe.name,
        context=manifest.context,
        size=manifest.files_size,
        threads=threads,
        tests=(*prompts, *generations),
        load=figure(run.load for run in runs),
        memory_before=figure(run.memory_before for run in runs),
        peak_memory=figure(run.peak_memory for run in runs),
        own_memory=_known([run.own_memory for run in runs]),
        mapped_memory=_known([run.mapped_memory for run in runs]),
        written=max(run.written for run in runs),
    )


def _test(kind: Literal["pp", "tg"], count: int, seconds: Sequence[float]) -> BenchTest:
    return BenchTest(f"{kind}{count}", kind, count, figure(count / each for each in seconds))


def _known(values: Sequence[int | None]) -> Figure | None:
    known = [value for value in values if value is not None]
    return figure(known) if len(known) == len(values) else None
