"""Outcomes made from a real bundle: its goldens and record, judged by the real gate, and a regression of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from gemcut.bundle.reader import open_bundle
from gemcut.devices.base import Facts
from gemcut.devices.replay import DeviceVerdict
from gemcut.pipeline.evidence import BudgetLine, Evidence
from gemcut.prompt.codec import codec_of
from gemcut.prove.behaviour import check_behaviour
from gemcut.prove.conformance import compare
from gemcut.prove.fidelity import fidelity_top64
from gemcut.prove.gate import judge
from gemcut.prove.golden import Golden, Recorded
from gemcut.prove.golden_files import GOLDENS, RECORDED, load_goldens, load_recorded
from gemcut.quantize.recipe import Gate
from gemcut.report.outcome import Finding, Outcome, Place, findings_of

HOSTILE = (
    "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    "\n::error::x|`y`\0\x1b %{x} &lt; <!-- @all"
)


def noisy(recorded: tuple[Recorded, ...], scale: float) -> tuple[Recorded, ...]:
    """The same run on a machine whose log-probabilities are off by that many nats (standard deviation)."""
    draw = np.random.default_rng(7)
    return tuple(
        replace(r, logprobs=(r.logprobs + draw.normal(0, scale, r.logprobs.shape)).astype(np.float32)) for r in recorded
    )


def read_evidence(path: Path, scale: float = 0.0, reply: str | None = None) -> Evidence:
    """What a validation knows of a bundle. scale: how broken its log-probabilities are; reply: of its first prompt."""
    with open_bundle(path) as bundle:
        manifest = bundle.manifest
        goldens = load_goldens({name: bundle.read(name) for name in GOLDENS})
        recorded = load_recorded({name: bundle.read(name) for name in RECORDED})
        codec = codec_of(bundle)
        host = recorded
        if scale:
            recorded = noisy(recorded, scale)
        if reply is not None:
            ids = (*recorded[0].greedy_ids[:2], 5, 6, 7)
            first = replace(recorded[0], greedy_text=reply, greedy_ids=ids, ended=False)
            recorded = (first, *recorded[1:])
        behaviour = check_behaviour(goldens, recorded, codec, manifest.stop_ids)
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    gate = Gate(**{**dict.fromkeys(("max_logit_diff",)), **manifest.gate.limits}, reason=manifest.gate.reason)
    return Evidence(
        manifest=manifest,
        goldens=goldens,
        recorded=recorded,
        verdict=judge(gate, fidelity_top64(goldens, recorded), behaviour),
        behaviour=behaviour,
        conformance=compare(goldens, host, recorded),
        devices=_devices(goldens, host),
        budgets=(
            BudgetLine("download_size", size, 8e6, False),
            BudgetLine("decode", 0.71, 0.9, True),
            BudgetLine("peak_memory", None, 5e8, False, "this bundle can't be measured here"),
        ),
        speed={"decode": 812.0, "prefill": 5120.0},
        size=size,
        bundle=path,
    )


def _devices(goldens: tuple[Golden, ...], host: tuple[Recorded, ...]) -> tuple[DeviceVerdict, ...]:
    facts = Facts("Android 15", "arm64-v8a", "Cortex-A76", (), 8, 8_000_000_000, False, {"executorch": "1.1.0"})
    near, off = (compare(goldens, host, noisy(host, scale)) for scale in (0.001, 4.0))
    good = DeviceVerdict("adb:one", "executorch", facts, near, (), 123_000_000, 9.5)
    far = DeviceVerdict("adb:two", "executorch", facts, off, (), 123_000_000, 9.5)
    gone = DeviceVerdict("android-lib", "executorch", None, None, (), 0, 0.1, "android-lib lacks aten::foo.out")
    return good, far, gone


def outcome(evidence: Evidence, name: str = "chat", **changes: object) -> Outcome:
    """An export's outcome with all that the evidence holds."""
    findings = findings_of(evidence)
    failed = any(not one.passed for one in findings)
    made = Outcome(
        action="export",
        name=name,
        state="failed" if failed else "published",
        findings=findings,
        runtime=evidence.manifest.runtime.name,
        target=evidence.manifest.target,
        place=Place("gemcut.toml", 12),
        bundle=evidence.bundle,
        seconds={"reference": 12.25, "goldens": 3.5, "quantize": 1.0, "proving": 20.125},
        memory={"reference": 1_500_000_000, "goldens": 1_200_000_000, "quantize": 900_000_000, "proving": 700_000_000},
        evidence=evidence,
        notes=("the template writes the BOS itself",),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def error(name: str = "tiny") -> Outcome:
    """An outcome of a command that could not do its work, with text that means something to every report's format."""
    place = Place("x y/ü:1,2.toml", 3)
    message, hint = f"can't read <a&b> | {HOSTILE}", "100% sure: a, b\r\nc"
    finding = Finding("error.CheckpointError", False, message, 3, hint=hint, place=place)
    return Outcome("export", name, "failed", (finding,))
