"""A validation, stage by stage: a bundle is proven again from its own goldens."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..bundle.reader import open_bundle
from ..devices import HOST, Options
from ..devices.replay import check_devices
from ..devices.verdict_file import verdict_from
from ..prove.conformance import compare
from ..runtimes import get_runtime
from ..stages import VALIDATE, titles
from ..util.progress import Progress
from ..util.stage_clock import StageClock
from . import packaging, proving
from .budgets import bundle_bytes
from .evidence import Evidence
from .request import ProvenHere, Validated


def validate(
    path: Path,
    progress: Progress,
    on: Sequence[str] = (),
    options: Options | None = None,
    verdicts: Sequence[Path] = (),
) -> Validated:
    """Prove a bundle again from its own goldens, without access to the checkpoint.

    Args:
        path: The bundle.
        progress: Receives the stages and notes.
        on: Devices to prove it on; this machine if there is none.
        options: The devices' options.
        verdicts: Files that the demo app wrote on phones.

    Returns:
        What was found out. A verdict that failed raises nothing.

    Raises:
        ConformanceError: A byte of the bundle changed, or its program can't be run here.
        LackingError: A device needs what this machine lacks.
        UnsupportedError: A device can't run this runtime.
    """
    clock = StageClock(progress, titles(VALIDATE))
    with open_bundle(path) as bundle, tempfile.TemporaryDirectory(prefix="gemcut-") as work:
        with clock.stage("verify"):
            bundle.verify(progress)
            get_runtime(bundle.manifest.runtime.name)
            subject = proving.subject_of(bundle)
            check_devices(on, proving.versions_of(bundle.manifest), options)
        here, evidence = None, Evidence(bundle.manifest, tuple(subject.goldens), bundle=path)
        if HOST in on or not (on or verdicts):
            with clock.stage("prove"):
                proof = proving.prove(bundle, packaging.gate_of(bundle.manifest.gate), Path(work), progress)
            with clock.stage("compare"):
                conformance = compare(subject.goldens, subject.host, proof.recorded, subject.share)
                here = ProvenHere(proof.verdict, proof.behaviour, conformance)
                evidence = replace(
                    evidence,
                    recorded=proof.recorded,
                    verdict=proof.verdict,
                    behaviour=proof.behaviour,
                    conformance=conformance,
                )
        found = proving.prove_on_devices(subject, on, Path(work), clock, options)
        found += tuple(verdict_from(subject, file, progress) for file in verdicts)
        evidence = replace(evidence, devices=found, size=bundle_bytes(bundle))
        return Validated(path, bundle.manifest, here, found, clock.seconds, evidence)
