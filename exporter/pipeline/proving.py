"""Runs a packed bundle, opened again from disk, against its goldens, here and on devices."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..bench import decode_steps, measure
from ..bundle.manifest import BehaviourRecord, DeviceRecord, FidelityRecord, Manifest
from ..bundle.reader import Bundle
from ..devices import HOST, Options, make_device
from ..devices.replay import DeviceVerdict, Subject, prove_on
from ..prompt.codec import ChatCodec, codec_of
from ..prove.behaviour import check_behaviour
from ..prove.compiled_prompt import check_prompt, read_calls, reply_words
from ..prove.fidelity import FullFidelity, LogitRows, fidelity_top64
from ..prove.gate import judge
from ..prove.golden import Golden, Recorded
from ..prove.golden_files import GOLDENS, RECORDED, load_goldens, load_recorded
from ..prove.proof import Proof
from ..prove.run import run_bundle
from ..prove.runner import Runner
from ..quantize.recipe import Gate
from ..runtimes import get_runtime
from ..runtimes.runs import Job
from ..util.process_memory import give_back
from ..util.progress import Progress
from .evidence import RUN_MEMORY
from .journal.fingerprint import device_key

if TYPE_CHECKING:
    from ..prove.run import RowSink
    from ..util.stage_clock import StageClock
    from .job import BundleJob
    from .products import Goldens
    from .request import ExportRequest


def prove(bundle: Bundle, gate: Gate, work: Path, progress: Progress, float_logits: LogitRows | None = None) -> Proof:
    """Run every golden through the bundle's program.

    Args:
        bundle: The bundle, opened from disk.
        gate: The limits to check it against.
        work: A scratch folder.
        progress: Receives a report after each prompt.
        float_logits: The float model's logits [N, V] float32, at an export; without them the figures are over the
            float model's top 64.

    Returns:
        What was recorded and measured, with the gate's verdict; a failed gate raises nothing.
    """
    goldens = load_goldens({name: bundle.read(name) for name in GOLDENS})
    codec, manifest = codec_of(bundle), bundle.manifest
    runtime = get_runtime(manifest.runtime.name)
    engine = runtime.engine
    runner = engine.open(bundle.program)
    try:
        sink = FullFidelity(goldens, float_logits) if float_logits is not None else None
        recorded = _run(runner, goldens, manifest, codec, sink, progress)
    finally:
        runner.close()
    del runner
    give_back()
    fidelity = sink.result(recorded) if sink is not None else fidelity_top64(goldens, recorded)
    behaviour = check_behaviour(goldens, recorded, codec, manifest.stop_ids, read_calls(bundle), reply_words(bundle))
    more = check_prompt(bundle, codec, goldens) + engine.checks(bundle, goldens, recorded, work, progress)
    behaviour = dataclasses.replace(behaviour, checks=behaviour.checks + more)
    return Proof(goldens, recorded, fidelity, behaviour, judge(gate, fidelity, behaviour))


def _run(
    runner: Runner,
    goldens: Sequence[Golden],
    manifest: Manifest,
    codec: ChatCodec,
    sink: RowSink | None,
    progress: Progress,
) -> tuple[Recorded, ...]:
    return run_bundle(runner, goldens, manifest.stop_ids, codec.decode, sink, progress)


def measure_speed(bundle: Bundle, work: Path, progress: Progress) -> dict[str, float]:
    """Return what one fresh process found: one prefill chunk, and the decode steps after it.

    Returns:
        ``prefill`` and ``decode`` in tokens per second; ``peak_memory``, ``own_memory`` and ``mapped_memory`` in bytes,
        as far as the system says (``util.process_memory.MemoryUse``).
    """
    manifest = bundle.manifest
    prompt, steps = min(manifest.prefill_chunk, manifest.context // 2), decode_steps(manifest.context)
    job = Job(manifest.runtime.name, str(bundle.program), (prompt,), (steps,), None, prompt, str(work))
    (run,) = measure(job, 1, progress)
    memory = {name: getattr(run, name) for name in RUN_MEMORY}
    known = {name: float(count) for name, count in memory.items() if count is not None}
    return {"prefill": prompt / run.prefill[0], "decode": steps / run.decode[0], **known}


def timed_prove(bundle: Bundle, gate: Gate, work: Path, clock: StageClock, goldens: Goldens) -> Proof:
    """Run ``prove`` as a stage of an export, against the float model's own logits."""
    with clock.stage("prove", runtime=bundle.manifest.runtime.name):
        return prove(bundle, gate, work, clock.progress, goldens.logits())


def timed_speed(bundle: Bundle, work: Path, clock: StageClock) -> dict[str, float]:
    """Run ``measure_speed`` as a stage of an export."""
    with clock.stage("measure"):
        return measure_speed(bundle, work, clock.progress)


def prove_on_each(
    job: BundleJob, bundle: Bundle, proof: Proof, request: ExportRequest, clock: StageClock
) -> tuple[DeviceVerdict, ...]:
    """Return what the bundle does on each requested device; a device that fails raises nothing."""
    subject, work, options = subject_of_proof(bundle, proof), job.staging.work, request.device_options
    found: tuple[DeviceVerdict, ...] = ()
    for spec in request.prove_on:
        prove = partial(prove_on_devices, subject, [spec], work, clock, options)
        found = (*found, *job.journal.step("device", prove, key=device_key(spec, options)))
    return found


def versions_of(manifest: Manifest) -> dict[str, str]:
    """Return the bundle's runtime -> the version that made it."""
    return {manifest.runtime.name: manifest.runtime.version}


def subject_of(bundle: Bundle) -> Subject:
    """Return a published bundle as devices prove it: with its goldens, and what the exporting machine recorded."""
    goldens = load_goldens({name: bundle.read(name) for name in GOLDENS})
    host = load_recorded({name: bundle.read(name) for name in RECORDED})
    return Subject(bundle, goldens, host, codec_of(bundle).decode)


def prove_on_devices(
    subject: Subject, specs: Sequence[str], work: Path, clock: StageClock, options: Options | None
) -> tuple[DeviceVerdict, ...]:
    """Run the goldens on each device that can run the bundle; a note names each that can't."""
    found = []
    for spec in specs:
        if spec == HOST:
            continue
        if subject.runtime not in make_device(spec, options).runtimes:
            clock.progress.note(f"{spec} doesn't run {subject.runtime} bundles, so this one isn't proven there")
            continue
        with clock.stage("device", spec, runtime=subject.runtime, device=spec):
            found.append(prove_on(subject, spec, work, clock.progress, options))
    return tuple(found)


def subject_of_proof(bundle: Bundle, proof: Proof) -> Subject:
    """Return a new bundle as devices prove it, against what it did here."""
    return Subject(bundle, proof.goldens, proof.recorded, codec_of(bundle).decode)


def proven_manifest(manifest: Manifest, proof: Proof) -> Manifest:
    """Return the manifest with figures and verdict."""
    figures = {name: getattr(proof.fidelity, name) for name in FidelityRecord.model_fields}
    rates = dict(proof.behaviour.rates())
    found = proof.behaviour
    behaviour = BehaviourRecord(
        passed=found.passed,
        rates=rates,
        tool_calls=found.tool_calls,
        expected=found.expected,
        expected_float=found.expected_float,
    )
    reasons = () if proof.verdict.passed else proof.verdict.reasons()
    return manifest.model_copy(
        update={
            "fidelity": FidelityRecord(**figures),
            "behaviour": behaviour,
            "proven": proof.verdict.passed,
            "unproven": reasons,
        }
    )


def device_record(verdict: DeviceVerdict) -> DeviceRecord:
    """Return a device's verdict as the manifest has it: nothing that says when, or how fast."""
    conformance, facts = verdict.conformance, verdict.facts
    assert conformance is not None, "only a device that passed is recorded"
    assert facts is not None, "a device that ran the bundle has given its facts"
    return DeviceRecord(
        device=verdict.device,
        runtimes=dict(facts.runtimes),
        library=facts.library.name if facts.library else None,
        library_sha256=facts.library.sha256 if facts.library else None,
        max_logprob_diff=conformance.max_logprob_diff,
        mean_kl=conformance.mean_kl,
        tolerance=conformance.tolerance.logprob,
        tolerance_kl=conformance.tolerance.kl,
        checks={check.name: check.rate for check in verdict.checks},
    )
