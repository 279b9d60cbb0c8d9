"""Measures bundles on this host or on a device, in turns, so that heat and noise are shared."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..bench.host_runs import measure
from ..bench.lengths import Lengths, choose_lengths
from ..bench.results import BenchPlace, BenchResult, Condition, summarize
from ..prove.wire import last_object
from ..runtimes import find_runtime
from ..runtimes.runs import Job, Run
from ..util.platform import host_threads, processor
from ..util.progress import Progress, Silent
from . import HOST, Options, kind_of, make_device
from .base import Conditioned, Device, Facts
from .replay import failed, require_kernels, require_needs

if TYPE_CHECKING:
    from ..bundle.reader import Bundle

_HOT = frozenset({"moderate", "severe", "critical", "emergency", "shutdown"})
NO_PHONE = "this machine is no phone: gemcut bench --on adb measures one"


@dataclass(frozen=True)
class Wanted:
    """What the user asked to measure.

    Attributes:
        prompts: Tokens of each prompt; empty for llama-bench's lengths.
        generations: Tokens of each generation; likewise.
        runs: How many runs, each in a fresh process.
        threads: The number of threads; None for the place's own choice.
    """

    prompts: tuple[int, ...] = ()
    generations: tuple[int, ...] = ()
    runs: int = 5
    threads: int | None = None


@dataclass(frozen=True)
class _Subject:
    """A bundle with what is measured of it."""

    bundle: Bundle
    lengths: Lengths

    @property
    def runtime(self) -> str:
        return self.bundle.manifest.runtime.name

    @property
    def program(self) -> str:
        return str(self.bundle.program)


def bench(
    bundles: Sequence[Bundle], spec: str, wanted: Wanted, options: Options, work: Path, progress: Progress
) -> BenchResult:
    """Measure bundles at one place.

    Args:
        bundles: The bundles, opened, every byte checked.
        spec: The place, as ``--on`` takes it.
        wanted: What to measure.
        options: The device's options.
        work: A scratch folder.
        progress: Told what happens.

    Raises:
        UsageError: A length doesn't fit in a bundle's context.
        ConformanceError: A program can't be run there, or the device was lost.
        LackingError: Something is missing here or there: adb, a device, memory or disk.
        UnsupportedError: The device can't run a bundle's runtime.
    """
    subjects = []
    for bundle in bundles:
        lengths = choose_lengths(wanted.prompts, wanted.generations, bundle.manifest.context, bundle.path.name)
        subjects.append(_Subject(bundle, lengths))
    if kind_of(spec).is_host:
        return _on_host(subjects, wanted, work, progress)
    return _on_device(subjects, spec, wanted, options, work, progress)


def _in_turns(count: int, runs: int, run: Callable[[int], Run], progress: Progress) -> list[list[Run]]:
    """``runs`` rounds, in each of which every one of ``count`` bundles runs once."""
    found: list[list[Run]] = [[] for _ in range(count)]
    for number in range(runs):
        for index in range(count):
            progress.update(number * count + index, runs * count, f"round {number + 1} of {runs}, bundle {index + 1}")
            found[index].append(run(index))
    return found


def _on_host(subjects: Sequence[_Subject], wanted: Wanted, work: Path, progress: Progress) -> BenchResult:
    threads = wanted.threads or host_threads()
    jobs = [
        Job(one.runtime, one.program, one.lengths.prompts, one.lengths.generations, threads, 0, str(work))
        for one in subjects
    ]
    progress.stage("Measuring on this machine")
    if len(jobs) == 1:  # an engine's weight cache is then written once
        runs = [measure(jobs[0], wanted.runs, progress)]
    else:
        runs = _in_turns(len(jobs), wanted.runs, lambda index: measure(jobs[index], 1, Silent())[0], progress)
    place = BenchPlace(
        HOST, f"{platform.system()} {platform.release()}", platform.machine(), processor(), host_threads(), _memory()
    )
    measured = [
        summarize(one.bundle, find_runtime(one.runtime).version(), threads, one.lengths, own)
        for one, own in zip(subjects, runs, strict=True)
    ]
    notes = [note for one in subjects for note in one.lengths.notes]
    return BenchResult(False, place, wanted.runs, tuple(measured), (*notes, NO_PHONE))


def _memory() -> int:
    import psutil

    return int(psutil.virtual_memory().total)


@dataclass(frozen=True)
class _Ready:
    """A device that is ready for one runtime."""

    device: Device
    facts: Facts


def _on_device(
    subjects: Sequence[_Subject], spec: str, wanted: Wanted, options: Options, work: Path, progress: Progress
) -> BenchResult:
    devices = {one.runtime: make_device(spec, options) for one in subjects}
    for one in subjects:
        devices[one.runtime].refuse(one.runtime, one.bundle.manifest.runtime.version)
        require_needs(devices[one.runtime], one.runtime)
    with ExitStack() as stack:
        ready = {}
        for runtime, device in devices.items():
            stack.callback(device.close)
            progress.stage(f"Getting {device.spec} ready for {runtime}")
            (work / runtime).mkdir()
            device.prepare(runtime, work / runtime, progress)
            ready[runtime] = _Ready(device, device.facts(runtime))
        words = [_pushed(one, ready[one.runtime], number, wanted, work) for number, one in enumerate(subjects)]
        threads: dict[int, int] = {}

        def run(index: int) -> Run:
            found = _run(subjects[index], ready[subjects[index].runtime], words[index])
            threads[index] = int(found.pop("threads", 0))
            return Run.of(found)

        first = next(iter(ready.values()))
        progress.stage(f"Measuring on {first.device.spec}")
        before = _condition(first.device)
        runs = _in_turns(len(subjects), wanted.runs, run, progress)
        after = _condition(first.device)
    measured = [
        summarize(
            one.bundle, ready[one.runtime].facts.runtimes.get(one.runtime, ""), threads[at] or None, one.lengths, own
        )
        for at, (one, own) in enumerate(zip(subjects, runs, strict=True))
    ]
    place = _place(first, before, after)
    return BenchResult(first.facts.emulated, place, wanted.runs, tuple(measured), _notes(subjects, place, ready))


def _pushed(subject: _Subject, ready: _Ready, number: int, wanted: Wanted, work: Path) -> tuple[str, ...]:
    """Put the program on the device; return the golden runner's words."""
    manifest = subject.bundle.manifest
    require_kernels(manifest, ready.facts, ready.device.spec)
    own = work / f"bench-{number}"
    own.mkdir()
    program = find_runtime(subject.runtime).inspector.bench_program(subject.bundle, own)
    for name, file in program.files.items():
        ready.device.push(file, f"{own.name}/{name}")
    threads = wanted.threads or ready.facts.threads
    lengths = (",".join(map(str, kind)) or "-" for kind in (subject.lengths.prompts, subject.lengths.generations))
    return "bench", f"{own.name}/{program.entry}", str(threads), str(manifest.prefill_chunk), "0", *lengths


def _run(subject: _Subject, ready: _Ready, words: Sequence[str]) -> dict[str, Any]:
    device = ready.device
    done = device.run((*device.runner(subject.runtime), *words), device.seconds)
    figures = last_object(done.stdout)
    if done.code or "error" in figures:
        raise failed(device, subject.runtime, ready.facts, done, figures)
    return figures


def _condition(device: Device) -> Condition | None:
    return device.condition() if isinstance(device, Conditioned) else None


def _place(ready: _Ready, before: Condition | None, after: Condition | None) -> BenchPlace:
    facts = ready.facts
    library = f"{facts.library.name} {facts.library.version}" if facts.library else None
    return BenchPlace(
        ready.device.spec,
        facts.system,
        facts.architecture,
        facts.cpu,
        facts.cores,
        facts.memory,
        library,
        before,
        after,
    )


def _notes(subjects: Sequence[_Subject], place: BenchPlace, ready: dict[str, _Ready]) -> tuple[str, ...]:
    notes = [note for one in subjects for note in one.lengths.notes]
    if kind_of(place.device).here and not next(iter(ready.values())).facts.emulated:
        notes.append(NO_PHONE)
    if place.after and place.after.thermal_status in _HOT:
        notes.append(
            f"{place.device} held its processor back because it was hot (thermal status {place.after.thermal_status}): "
            "let it cool down and measure again"
        )
    for runtime in ready if place.library is None else ():
        runner = find_runtime(runtime).golden_runner
        notes += [runner.speed_note] if runner is not None and runner.speed_note else []
    return tuple(notes)
