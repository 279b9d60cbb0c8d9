"""The JSON documents that commands print with ``--json``, each with a JSON Schema under ``schemas/``.

``python -m gemcut.cli.documents`` writes the schemas again, including those of targets and recipes.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core.core_schema import DataclassSchema

from .. import target
from ..bench.results import BenchResult
from ..chat.turns import ChatLog
from ..check import CheckResult
from ..config.json_schema import DIALECT, schema_text
from ..devices import verdict_file
from ..devices.base import Facts
from ..devices.replay import DeviceVerdict
from ..diff.document import DiffResult
from ..doctor import Diagnosis
from ..estimate.overview import Plan
from ..pipeline.planned_export import DryRun
from ..pipeline.request import ProvenHere
from ..project import tables
from ..project.outcomes import ProjectResult, ProjectStarted
from ..prompt import format as prompt_format
from ..prove import prompt_file
from ..prove.conformance import Difference, Tolerance
from ..quantize import recipe
from ..quantize.recipe import Recipe
from ..tidy.found_bundles import BundleList, BundlesRemoved
from ..tidy.kept_results import CacheInfo, CachePruned
from ..words.grade import Grade
from ..words.grades import grade_of
from .graded_documents import Contents, RecipeList
from .list_documents import CompletionScript, DeviceList, DeviceSetup, Target, TargetList
from .measured_documents import EvalResult, SearchResult, SensitivityResult

PACKAGE = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Problem:
    """What went wrong.

    Attributes:
        kind: The error's class.
        message: What is wrong.
        hint: What to do next; null if there is nothing to say.
        exit_code: The command's exit code.
    """

    kind: str
    message: str
    hint: str | None
    exit_code: int


@dataclass(frozen=True)
class Failure:
    """Any command with ``--json`` that fails.

    Attributes:
        error: What went wrong.
    """

    error: Problem


@dataclass(frozen=True)
class DeviceResult:
    """What a bundle did on a device. KL divergences and log-probabilities in nats.

    Attributes:
        device: The device with defaults filled in, or the phone's name.
        runtime: The runtime.
        passed: Whether the device does what the exporting machine did.
        failures: Each real difference, and why the program couldn't be run.
        facts: What the device is; null if it couldn't be asked.
        tolerance: How far it may be from the exporting machine.
        max_logprob_diff: The largest difference of a log-probability.
        mean_kl: The mean KL divergence.
        differences: How far it is from the exporting machine, prompt by prompt.
        checks: Checks beyond the program itself, each with the share of the prompts on which it held.
        peak_memory: The most bytes that the program added to its process; 0 if that isn't known.
        seconds: Seconds of the proof; those of an emulated device say nothing about a real one.
    """

    device: str
    runtime: str
    passed: bool
    failures: tuple[str, ...]
    facts: Facts | None
    tolerance: Tolerance | None
    max_logprob_diff: float | None
    mean_kl: float | None
    differences: tuple[Difference, ...]
    checks: dict[str, float | None]
    peak_memory: int
    seconds: float


@dataclass(frozen=True)
class ExportedBundle:
    """One bundle of an export.

    Attributes:
        bundle: Where it is.
        runtime: The runtime.
        recipe: The recipe that it was made with, which may be a finer one than the target's.
        size: Bytes of the bundle.
        proven: Whether its gate was kept.
        unproven: How the gate was not kept.
        fidelity: As in the manifest.
        behaviour: As in the manifest.
        grade: What users notice of it; null if its fidelity wasn't measured.
        speed: Tokens per second on this host, by name.
        run_memory: Bytes that the program adds to a process on this host, by the names in ``MemoryUse``.
        devices: What it did on each device, besides this machine, that it was proven on.
    """

    bundle: str
    runtime: str
    recipe: str
    size: int
    proven: bool
    unproven: tuple[str, ...]
    fidelity: dict[str, Any] | None
    behaviour: dict[str, Any] | None
    grade: Grade | None
    speed: dict[str, float]
    run_memory: dict[str, int]
    devices: tuple[DeviceResult, ...]


@dataclass(frozen=True)
class ExportResult:
    """``gemcut export --json``.

    Attributes:
        bundles: A bundle for each runtime.
        seconds: Seconds by stage.
        memory: The most bytes that no file backs, by stage.
        peak_memory: The most bytes of this process.
        resumed: Stages, or parts of them, that an earlier run had finished: one that was killed, or one that built the
            same program. Their seconds and memory are that run's, and so may be the peak.
    """

    bundles: tuple[ExportedBundle, ...]
    seconds: dict[str, float]
    memory: dict[str, int]
    peak_memory: int
    resumed: tuple[str, ...] = ()


@dataclass(frozen=True)
class HereResult:
    """What a bundle did on this machine. KL divergences and log-probabilities in nats.

    Attributes:
        passed: Whether it conforms and keeps the manifest's limits.
        fidelity: The fidelity that was measured here.
        grade: What users notice of it.
        positions: The number of positions that were scored.
        violations: How the manifest's limits are not kept.
        unmeasured: Limits on figures that the goldens alone don't give.
        behaviour: The checks of behaviour, each with the share of the prompts on which it held.
        tool_calls: The share of the float model's tool calls that it makes exactly.
        expected: The share of the expected answers of golden_prompts.jsonl that it gives; null if no prompt has one.
        tolerance: How far this machine may be from the exporting one.
        max_logprob_diff: The largest difference of a log-probability.
        mean_kl: The mean KL divergence.
        failures: Where it is too far from the exporting machine.
        differences: How far it is, prompt by prompt.
    """

    passed: bool
    fidelity: dict[str, float | None]
    grade: Grade
    positions: int
    violations: tuple[str, ...]
    unmeasured: tuple[str, ...]
    behaviour: dict[str, float | None]
    tool_calls: float | None
    expected: float | None
    tolerance: Tolerance
    max_logprob_diff: float | None
    mean_kl: float | None
    failures: tuple[str, ...]
    differences: tuple[Difference, ...]


@dataclass(frozen=True)
class ValidateResult:
    """``gemcut validate --json``.

    Attributes:
        bundle: Where it is.
        passed: Whether bytes, conformance and, on this machine, the gate are as they should be.
        proven: What the manifest says about the export.
        here: What it did on this machine; null if only devices were asked for.
        devices: What it did on each device.
        seconds: Seconds by stage.
    """

    bundle: str
    passed: bool
    proven: bool
    here: HereResult | None
    devices: tuple[DeviceResult, ...]
    seconds: dict[str, float]


def here_result(here: ProvenHere) -> HereResult:
    """Return this machine's part of a validation as a document."""
    conformance, verdict = here.conformance, here.verdict
    return HereResult(
        passed=conformance.passed and verdict.passed,
        fidelity=verdict.fidelity.figures(),
        grade=grade_of(verdict.fidelity, here.behaviour.tool_calls),
        positions=verdict.fidelity.positions,
        violations=verdict.reasons(),
        unmeasured=verdict.unmeasured,
        behaviour=here.behaviour.rates(),
        tool_calls=here.behaviour.tool_calls,
        expected=here.behaviour.expected,
        tolerance=conformance.tolerance,
        max_logprob_diff=conformance.max_logprob_diff,
        mean_kl=conformance.mean_kl,
        failures=conformance.failures,
        differences=conformance.differences,
    )


def device_result(verdict: DeviceVerdict) -> DeviceResult:
    """Return a device's verdict as a document."""
    conformance = verdict.conformance
    return DeviceResult(
        device=verdict.device,
        runtime=verdict.runtime,
        passed=verdict.passed,
        failures=verdict.failures,
        facts=verdict.facts,
        tolerance=conformance.tolerance if conformance else None,
        max_logprob_diff=conformance.max_logprob_diff if conformance else None,
        mean_kl=conformance.mean_kl if conformance else None,
        differences=conformance.differences if conformance else (),
        checks={check.name: check.rate for check in verdict.checks},
        peak_memory=verdict.peak_memory,
        seconds=verdict.seconds,
    )


DOCUMENTS: dict[str, type] = {
    "error": Failure,
    "export": ExportResult,
    "dry_run": DryRun,
    "project": ProjectResult,
    "init": ProjectStarted,
    "validate": ValidateResult,
    "inspect": Contents,
    "diff": DiffResult,
    "check": CheckResult,
    "bench": BenchResult,
    "chat": ChatLog,
    "plan": Plan,
    "list": BundleList,
    "rm": BundlesRemoved,
    "cache_info": CacheInfo,
    "cache_prune": CachePruned,
    "targets": TargetList,
    "target": Target,
    "recipes": RecipeList,
    "recipe": Recipe,
    "eval": EvalResult,
    "sensitivity": SensitivityResult,
    "search": SearchResult,
    "doctor": Diagnosis,
    "devices": DeviceList,
    "devices_setup": DeviceSetup,
    "completion": CompletionScript,
}


def to_json(document: Any) -> str:
    """Return a document as JSON text, indented by two spaces; a figure that isn't a number becomes null."""
    return TypeAdapter(type(document)).dump_json(document, indent=2).decode()


def schemas() -> dict[Path, str]:
    """Return every shipped JSON Schema but the manifest's: file -> text."""
    found = {PACKAGE / "schemas" / f"{name}.schema.json": _schema(kind) for name, kind in DOCUMENTS.items()}
    found[next(iter(target.list_targets().values())).with_name("target.schema.json")] = target.schema()
    found[Path(recipe.__file__).with_name("recipe.schema.json")] = recipe.schema()
    found[Path(tables.__file__).with_name("gemcut.schema.json")] = tables.schema()
    found[prompt_format.SCHEMA_FILE] = prompt_format.prompt_schema()
    found[prompt_file.SCHEMA_FILE] = prompt_file.prompts_schema()
    found[verdict_file.SCHEMA_FILE] = verdict_file.verdict_schema()
    return {path: schema_text({"$schema": DIALECT, **schema}) for path, schema in found.items()}


class _WithDocstrings(GenerateJsonSchema):
    """Uses a plain dataclass's docstring as its description: pydantic before 2.12 leaves it out, later ones don't."""

    def dataclass_schema(self, schema: DataclassSchema) -> JsonSchemaValue:
        found = super().dataclass_schema(schema)
        written = inspect.cleandoc(schema["cls"].__doc__ or "")
        if written and not written.startswith(f"{schema['cls'].__name__}("):  # else dataclass generated it
            found["description"] = written
        return found


def _schema(kind: type) -> dict[str, Any]:
    schema: dict[str, Any] = _closed(
        TypeAdapter(kind).json_schema(mode="serialization", schema_generator=_WithDocstrings)
    )
    return schema


def _closed(node: Any) -> Any:
    """The same schema, in which no object may hold more than its properties."""
    if isinstance(node, list):
        return [_closed(item) for item in node]
    if not isinstance(node, dict):
        return node
    closed = {key: _closed(value) for key, value in node.items()}
    if "properties" in closed and closed.get("type") == "object":
        closed.setdefault("additionalProperties", False)
        closed["required"] = sorted(closed["properties"])
    return closed


if __name__ == "__main__":
    for path, text in schemas().items():
        path.write_text(text, encoding="utf-8")
        print(path.name)
