"""Proving a bundle on a device: its goldens run there, and what comes out is held against the exporter's record."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConformanceError, LackingError, UnsupportedError
from ..prove.behaviour import Check
from ..prove.conformance import Conformance, compare, share_of
from ..prove.wire import last_object, read_result, write_order
from ..runtimes import find_runtime
from ..util.processes import Finished
from ..util.progress import Progress
from . import HOST, Options, make_device
from .base import Device, Facts

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..bundle.manifest import Manifest
    from ..bundle.reader import Bundle
    from ..prove.golden import Golden, Recorded

_TAIL = 3  # lines of a failed runner's log worth showing
_MOST_THREADS = 4


@dataclass(frozen=True)
class DeviceVerdict:
    """What a bundle did on a device.

    facts: None where it couldn't even be asked. conformance: the device against the exporting machine; None where the
    program couldn't be run to its end, and then refused says why. checks: beyond the program itself. peak_memory: bytes
    resident at most in the process that ran it. seconds: of the whole proof there; of an emulated device they
    say nothing of a real one.
    """

    device: str
    runtime: str
    facts: Facts | None
    conformance: Conformance | None
    checks: tuple[Check, ...]
    peak_memory: int
    seconds: float
    refused: str = ""

    @property
    def failures(self) -> tuple[str, ...]:
        """Each difference that is a real one; empty if there is none."""
        missed = tuple(
            f"{check.name.replace('_', ' ')} held on {check.rate:.1%} (prompt {check.misses[0].prompt!r}: "
            f"{check.misses[0].detail})"
            for check in self.checks
            if not check.passed and check.rate is not None
        )
        return (
            *((self.refused,) if self.refused else ()),
            *(self.conformance.failures if self.conformance else ()),
            *missed,
        )

    @property
    def passed(self) -> bool:
        """Whether the device does what the exporting machine did."""
        return not self.failures


@dataclass(frozen=True)
class Subject:
    """What is to be proven. host: what the exporting machine recorded. decode: text of token ids."""

    bundle: Bundle
    goldens: Sequence[Golden]
    host: Sequence[Recorded]
    decode: Callable[[Sequence[int]], str]

    @property
    def runtime(self) -> str:
        """The runtime's name."""
        return self.bundle.manifest.runtime.name

    @property
    def share(self) -> float:
        """Of the quantization noise that machines may differ by (``conformance.share_of``)."""
        return share_of((rule.weight, rule.activation) for rule in self.bundle.manifest.recipe.rules)


def check_devices(specs: Sequence[str], runtimes: Mapping[str, str], options: Options | None = None) -> None:
    """Refuses, before any work, a device that can't prove any of these bundles, or that this machine can't provide.

    Args:
        specs: As the user wrote them.
        runtimes: Name of each runtime -> its version.
        options: Of the devices.

    Raises:
        UnsupportedError: It can run none of the runtimes.
        LackingError: Something is missing here; the hint is the command that gets it.
    """
    for spec in specs:
        if spec == HOST:
            continue  # every proof begins there
        device = make_device(spec, options)
        able = [name for name in runtimes if name in device.runtimes]
        if not able:
            raise UnsupportedError(
                f"{spec} runs {', '.join(device.runtimes)} bundles, not {', '.join(runtimes)} ones",
                hint="gemcut devices says what each device proves.",
            )
        for name in able:
            device.refuse(name, runtimes[name])
            require_needs(device, name)


def require_needs(device: Device, runtime: str) -> None:
    """Raises LackingError, with the one command that mends it, where this machine lacks what the device needs."""
    lacking = [need for need in device.needs(runtime) if not need.optional]
    if lacking:
        kind = device.spec.partition(":")[0]
        raise LackingError(
            f"{device.spec} needs {', '.join(need.what for need in lacking)} here",
            hint=f"gemcut device setup {kind} gets all of it; or: {lacking[0].command}",
        )


def prove_on(
    subject: Subject, spec: str, work: Path, progress: Progress, options: Options | None = None
) -> DeviceVerdict:
    """Runs every golden of a bundle on a device. That it can't be run there, or crashes, is a verdict too.

    Args:
        subject: The bundle, its goldens and the exporting machine's record.
        spec: The device, as the user wrote it.
        work: A scratch folder.
        progress: Told what happens.
        options: Of the device.

    Raises:
        LackingError: Something is missing here.
        UnsupportedError: The device can't run this runtime.
    """
    began = time.perf_counter()
    device, runtime = make_device(spec, options), subject.runtime
    device.refuse(runtime, subject.bundle.manifest.runtime.version)
    require_needs(device, runtime)
    facts, conformance, refused = None, None, ""
    checks: tuple[Check, ...] = ()
    figures: Mapping[str, Any] = {}
    with tempfile.TemporaryDirectory(dir=work, prefix="device-") as folder:
        try:
            device.prepare(runtime, Path(folder), progress)
            facts = device.facts(runtime)
            _require_kernels(subject.bundle.manifest, facts, device.spec)
            recorded, figures = _run(subject, device, facts, Path(folder))
            conformance = compare(subject.goldens, subject.host, recorded, subject.share)
            checks = _checks(subject, device, recorded, Path(folder), progress)
        except ConformanceError as error:
            refused = error.message
        finally:
            device.close()
    peak, seconds = int(figures.get("peak_memory", 0)), time.perf_counter() - began
    return DeviceVerdict(device.spec, runtime, facts, conformance, checks, peak, seconds, refused)


def missing_kernels(required: Sequence[str], registered: Sequence[str]) -> tuple[str, ...]:
    """Those required that aren't registered; a runtime without a registry lacks none that we could know of."""
    return tuple(sorted(set(required) - set(registered))) if registered else ()


def _require_kernels(manifest: Manifest, facts: Facts, spec: str) -> None:
    lacking = missing_kernels(manifest.kernels or manifest.operators, facts.kernels)
    backends = missing_kernels(tuple(manifest.delegates), facts.backends)
    if not lacking and not backends:
        return
    what = [f"the operator {name}" for name in lacking] + [f"the backend {name}" for name in backends]
    title = find_runtime(manifest.runtime.name).title
    library = f" ({facts.library.name}, {title} {facts.library.version})" if facts.library else ""
    raise ConformanceError(
        f"{spec}{library} lacks {', '.join(what)}, so the program can't be loaded there",
        hint="Ship a newer runtime with the app, or export for a target whose oldest_runtime is that of the app.",
    )


def _run(subject: Subject, device: Device, facts: Facts, work: Path) -> tuple[tuple[Recorded, ...], Mapping[str, Any]]:
    manifest = subject.bundle.manifest
    program = find_runtime(subject.runtime).inspector.golden_program(subject.bundle, work)
    order, result = work / "order.bin", work / "result.bin"
    write_order(subject.goldens, manifest.prefill_chunk, manifest.context, manifest.stop_ids, order, host=subject.host)
    device.push(program, program.name)
    device.push(order, order.name)
    threads = 1 if facts.emulated else min(_MOST_THREADS, facts.cores or os.cpu_count() or 1)
    arguments = ("run", program.name, order.name, result.name, str(threads))
    done = device.run((*device.runner(subject.runtime), *arguments), device.seconds)
    figures = last_object(done.stdout)
    if done.code or "error" in figures:
        raise _failed(device, subject.runtime, facts, done, figures)
    device.pull(result.name, result)
    recorded = read_result(result, subject.goldens, manifest.stop_ids, subject.decode)
    return recorded, figures


def _checks(
    subject: Subject, device: Device, recorded: Sequence[Recorded], work: Path, progress: Progress
) -> tuple[Check, ...]:
    """What the runtime checks beyond its golden runner, and what this kind of device alone can."""

    def ask(words: Sequence[str], files: Sequence[Path]) -> Finished:
        for file in files:
            device.push(file, file.name)
        return device.run((*device.runner(subject.runtime), *words), device.seconds)

    engine = find_runtime(subject.runtime).engine
    further = engine.device_checks(subject.bundle, subject.goldens, recorded, work, ask)
    return (*further, *device.more(subject.bundle, subject.goldens, subject.host, work, progress))


def _failed(device: Device, runtime: str, facts: Facts, done: Finished, figures: Mapping[str, Any]) -> ConformanceError:
    title = find_runtime(runtime).title
    library = f" with {facts.library.name} of {title} {facts.library.version}" if facts.library else ""
    log = " / ".join(line.strip() for line in done.stderr.strip().splitlines()[-_TAIL:])
    if done.signal == 9:
        return ConformanceError(
            f"{device.spec}: the program was killed, most likely because {facts.memory / 1e9:.1f} GB are too little",
            hint="gemcut plan says what a bundle needs; a coarser recipe or a shorter --context needs less.",
        )
    if done.signal:
        return ConformanceError(
            f"{device.spec}: the runtime{library} crashed on this program (signal {done.signal}): {log}",
            hint="The shipped library doesn't verify what it loads: check the bundle's hashes first (gemcut validate).",
        )
    said = figures.get("error") or log or f"it ended with {done.code}"
    return ConformanceError(
        f"{device.spec}: the program can't be run{library}: {said}",
        hint="gemcut inspect lists the operators and backends that it needs; --verbose shows the runtime's own log.",
    )
