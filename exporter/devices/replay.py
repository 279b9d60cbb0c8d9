"""Proves a bundle on a device: its goldens run there, and the outputs are compared with the exporter's record."""

from __future__ import annotations

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


@dataclass(frozen=True)
class DeviceVerdict:
    """What a bundle did on a device.

    Attributes:
        device: The device with defaults filled in, or the phone's name.
        runtime: The runtime.
        facts: What the device is; None if it couldn't even be asked.
        conformance: The device against the exporting machine; None if the program couldn't be run to its end.
        checks: Checks beyond the program itself.
        peak_memory: The most bytes that were resident because of the program (``MemoryUse``); 0 if that isn't known.
        seconds: Seconds of the whole proof there; those of an emulated device say nothing about a real one.
        refused: Why the program couldn't be run to its end; empty if it could.
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
        """Each real difference, in words; empty if there is none."""
        missed = tuple(
            f"{check.name.replace('_', ' ')} held on {check.rate:.1%} of the prompts "
            f"(prompt {check.misses[0].prompt!r}: {check.misses[0].detail})"
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
    """What is to be proven.

    Attributes:
        bundle: The bundle, opened.
        goldens: Its goldens.
        host: What the exporting machine recorded.
        decode: Turns token ids into text.
    """

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
        """The share of the quantization noise that machines may differ by (``conformance.share_of``)."""
        return share_of((rule.weight, rule.activation) for rule in self.bundle.manifest.recipe.rules)


def check_devices(specs: Sequence[str], runtimes: Mapping[str, str], options: Options | None = None) -> None:
    """Refuse, before any work, a device that can't prove any of these bundles, or that this machine can't provide.

    Args:
        specs: The devices, as the user wrote them.
        runtimes: Name of each runtime -> its version.
        options: The devices' options.

    Raises:
        UnsupportedError: A device can run none of the runtimes.
        LackingError: Something is missing here; the hint is the command that gets it.
    """
    for spec in specs:
        if spec == HOST:
            continue  # every proof begins there
        device = make_device(spec, options)
        able = [name for name in runtimes if name in device.runtimes]
        if not able:
            raise UnsupportedError(
                f"{spec} runs {', '.join(device.runtimes)} bundles, not {', '.join(runtimes)} bundles",
                hint="See gemcut devices for what each device proves.",
            )
        for name in able:
            device.refuse(name, runtimes[name])
            require_needs(device, name)


def require_needs(device: Device, runtime: str) -> None:
    """Check that this machine has what the device needs.

    Raises:
        LackingError: It lacks something; the hint is the command that gets it.
    """
    lacking = [need for need in device.needs(runtime) if not need.optional]
    if lacking:
        kind = device.spec.partition(":")[0]
        raise LackingError(
            f"{device.spec} needs {', '.join(need.what for need in lacking)} on this machine",
            hint=f"Run gemcut devices setup {kind} for all of it, or: {lacking[0].command}",
        )


def prove_on(
    subject: Subject, spec: str, work: Path, progress: Progress, options: Options | None = None
) -> DeviceVerdict:
    """Run every golden of a bundle on a device.

    Args:
        subject: The bundle, its goldens and the exporting machine's record.
        spec: The device, as the user wrote it.
        work: A scratch folder.
        progress: Receives notes.
        options: The device's options.

    Returns:
        The verdict; that the bundle can't be run there, or crashes, is a verdict too.

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
            require_kernels(subject.bundle.manifest, facts, device.spec)
            recorded, figures = _run(subject, device, facts, Path(folder))
            conformance = compare(subject.goldens, subject.host, recorded, subject.share)
            checks = _checks(subject, device, recorded, Path(folder), progress)
        except ConformanceError as error:
            refused = error.message
        finally:
            device.close()
    peak, seconds = int(figures.get("peak_memory") or 0), time.perf_counter() - began
    return DeviceVerdict(device.spec, runtime, facts, conformance, checks, peak, seconds, refused)


def missing_kernels(required: Sequence[str], registered: Sequence[str]) -> tuple[str, ...]:
    """Return those required that aren't registered; none for a runtime without a registry, since nobody can know."""
    return tuple(sorted(set(required) - set(registered))) if registered else ()


def require_kernels(manifest: Manifest, facts: Facts, spec: str) -> None:
    """Check that a device's runtime has all that a bundle's program needs, as far as the runtime tells.

    Raises:
        ConformanceError: It lacks an operator or a backend.
    """
    lacking = missing_kernels(manifest.kernels or manifest.operators, facts.kernels)
    backends = missing_kernels(tuple(manifest.delegates), facts.backends)
    if not lacking and not backends:
        return
    what = [f"the operator {name}" for name in lacking] + [f"the backend {name}" for name in backends]
    title = find_runtime(manifest.runtime.name).title
    library = f" ({facts.library.name}, {title} {facts.library.version})" if facts.library else ""
    raise ConformanceError(
        f"{spec}{library} lacks {', '.join(what)}, so the program can't be loaded there",
        hint="Ship a newer runtime with the app, or export for a target whose oldest_runtime is the app's.",
    )


def _run(subject: Subject, device: Device, facts: Facts, work: Path) -> tuple[tuple[Recorded, ...], Mapping[str, Any]]:
    manifest = subject.bundle.manifest
    program = find_runtime(subject.runtime).inspector.golden_program(subject.bundle, work)
    order, result = work / "order.bin", work / "result.bin"
    write_order(subject.goldens, manifest.prefill_chunk, manifest.context, manifest.stop_ids, order, host=subject.host)
    for name, file in program.files.items():
        device.push(file, name)
    device.push(order, order.name)
    arguments = ("run", program.entry, order.name, result.name, str(facts.threads))
    done = device.run((*device.runner(subject.runtime), *arguments), device.seconds)
    figures = last_object(done.stdout)
    if done.code or "error" in figures:
        raise failed(device, subject.runtime, facts, done, figures)
    device.pull(result.name, result)
    recorded = read_result(result, subject.goldens, manifest.stop_ids, subject.decode)
    return recorded, figures


def _checks(
    subject: Subject, device: Device, recorded: Sequence[Recorded], work: Path, progress: Progress
) -> tuple[Check, ...]:
    """What the runtime checks beyond its golden runner, and what only this kind of device can check."""

    def ask(words: Sequence[str], files: Sequence[Path]) -> Finished:
        for file in files:
            device.push(file, file.name)
        return device.run((*device.runner(subject.runtime), *words), device.seconds)

    engine = find_runtime(subject.runtime).engine
    further = engine.device_checks(subject.bundle, subject.goldens, recorded, work, ask)
    return (*further, *device.more(subject.bundle, subject.goldens, subject.host, work, progress))


def failed(device: Device, runtime: str, facts: Facts, done: Finished, figures: Mapping[str, Any]) -> ConformanceError:
    """Return the error that says why a golden runner didn't run a program to its end."""
    title = find_runtime(runtime).title
    library = f" with {facts.library.name} of {title} {facts.library.version}" if facts.library else ""
    log = " / ".join(line.strip() for line in done.stderr.strip().splitlines()[-_TAIL:])
    if done.signal == 9:
        return ConformanceError(
            f"{device.spec}: it was killed, probably because {facts.memory / 1e9:.1f} GB of memory is too little",
            hint="Choose a coarser recipe or a shorter --context; gemcut plan says how much memory a bundle needs.",
        )
    if done.signal:
        return ConformanceError(
            f"{device.spec}: the runtime{library} crashed on this program (signal {done.signal}): {log}",
            hint="Check the bundle's hashes first (gemcut validate): the shipped library doesn't verify what it loads.",
        )
    said = figures.get("error") or log or f"exit code {done.code}"
    return ConformanceError(
        f"{device.spec}: the program can't be run{library}: {said}",
        hint="See gemcut inspect for the operators and backends that it needs, or --verbose for the runtime's own log.",
    )
