"""The manifest and its parts, as pydantic models."""

from __future__ import annotations

import math
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from ..words.grade import Grade
from ..words.grades import grade_of

SCHEMA_VERSION = 1


def _finite_or_none(value: Any) -> Any:
    """JSON has no NaN and no infinity: a figure that isn't a number is written as null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def safe_name(name: str) -> str:
    """Check a file's name inside a bundle: a relative POSIX path that stays inside.

    Args:
        name: The name.

    Returns:
        The name, unchanged.

    Raises:
        ValueError: The name is absolute, leads out of the bundle, or isn't in its shortest form.
    """
    path = PurePosixPath(name)
    plain = bool(path.parts) and not path.is_absolute() and ".." not in path.parts and str(path) == name
    if not plain or "\\" in name or "\0" in name or ":" in path.parts[0]:
        raise ValueError(f"{name!r} is not a plain relative path")
    return name


Figure = Annotated[float | None, BeforeValidator(_finite_or_none)]
FileName = Annotated[str, AfterValidator(safe_name)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)


class AdapterRecord(_Part):
    """An adapter that was merged into the checkpoint's weights.

    Attributes:
        name: The name of its directory.
        kind: Its method, such as LoRA.
        base: What it calls its base model.
        files: SHA-256 of each of its files, by name.
    """

    name: str
    kind: str
    base: str = ""
    files: dict[str, Sha256] = {}


class SourceRecord(_Part):
    """The checkpoint that the bundle was made from.

    Attributes:
        name: The model's name.
        source: Its hub id, or the name of its directory; never a path on the exporting machine.
        revision: The commit of a hub id; null for a directory.
        model_type: As config.json has it.
        parameters: How many the text model has.
        files: SHA-256 of each file that was read, by name.
        adapter: What was merged into its weights.
    """

    name: str
    source: str
    revision: str | None = None
    model_type: str
    parameters: Count
    files: dict[str, Sha256] = {}
    adapter: AdapterRecord | None = None


class RuntimeRecord(_Part):
    """The runtime that the program was made with.

    Attributes:
        name: The runtime's name.
        version: The version that the program was made with.
        oldest: The oldest version that the program should run on; null if unknown.
    """

    name: str
    version: str
    oldest: str | None = None


class RuleRecord(_Part):
    """One rule of the recipe; the first whose ``match`` fits a module's name decides.

    Attributes:
        match: A regular expression of whole module names.
        scheme: The scheme's name in the recipe.
        weight: What weights are stored as.
        group: Elements per scale along the reduction; 0 for one scale per output channel.
        activation: What activations are multiplied as.
        method: How values and scales were chosen.
        reason: Why, as the recipe has it.
    """

    match: str
    scheme: str
    weight: str
    group: Count = 0
    activation: str = "float32"
    method: str = "round-to-nearest"
    reason: str = ""


class RecipeRecord(_Part):
    """The quantization recipe as it was applied.

    Attributes:
        name: The recipe's name.
        description: What it is, in one line.
        folds: Whether scales were folded between layers where that is exact.
        rules: Its rules, in order.
    """

    name: str
    description: str = ""
    folds: bool = False
    rules: tuple[RuleRecord, ...] = ()


class CalibrationRecord(_Part):
    """What calibrated weights were chosen by.

    Attributes:
        text: The text's name: 'gemcut' for the one that ships.
        text_sha256: SHA-256 of its documents.
        tokens: How many tokens of it were run.
        weights_sha256: SHA-256 of all values and scales that were chosen.
        quick: Whether they were chosen by the mean square of each input alone.
    """

    text: str
    text_sha256: Sha256
    tokens: Count
    weights_sha256: Sha256
    quick: bool = False


class TensorRecord(_Part):
    """The tensors of one class in the program.

    Attributes:
        quantized: How many of them are quantized.
        bytes: The size of all of them.
        schemes: How many of them are stored in each way, such as ``int4 by 32, int8-dynamic``.
    """

    quantized: Count = 0
    bytes: Count = 0
    schemes: dict[str, Count] = {}


class FileRecord(_Part):
    """One file of the bundle.

    Attributes:
        sha256: The hash of its content, in hex.
        size: Its size in bytes.
    """

    sha256: Sha256
    size: Count


class FidelityRecord(_Part):
    """The bundle compared with the float model at export.

    A figure is null if the program's logits were not numbers (or if it wasn't measured).

    Attributes:
        form: Whether the KL divergence is over the full vocabulary, or over the float model's top 64 and one bucket
            for the rest (a lower bound of the former).
        prompts: How many prompts were compared.
        positions: How many positions of them were compared.
        mean_kl: Mean KL divergence, in nats.
        p99_kl: 99th percentile of the positions' KL divergences, in nats.
        top1: Share of the positions with the same most likely token, 0..1.
        perplexity_ratio: The bundle's perplexity over the float model's.
        max_logprob_diff: Largest difference of a log-probability among the float model's top 64, in nats.
        max_logit_diff: Largest difference of a raw logit; only in the full form.
    """

    form: str
    prompts: Count
    positions: Count
    mean_kl: Figure
    p99_kl: Figure
    top1: Figure
    perplexity_ratio: Figure
    max_logprob_diff: Figure
    max_logit_diff: Figure = None


class BehaviourRecord(_Part):
    """The behaviour checks.

    Attributes:
        passed: Whether every check held.
        rates: By check, the share (0..1) of the prompts on which it held.
        tool_calls: Share (0..1) of the float model's tool calls that the bundle makes exactly; null if it made none.
        expected: Share (0..1) of the expected answers that the bundle gives; null if no prompt has one.
        expected_float: The same of the float model.
    """

    passed: bool
    rates: dict[str, Figure] = {}
    tool_calls: Figure = None
    expected: Figure = None
    expected_float: Figure = None


class DeviceRecord(_Part):
    """A device that the bundle was proven on at export, compared with the exporting machine.

    Attributes:
        device: The device as on the command line, with defaults filled in.
        runtimes: Versions of the runtimes there, by name.
        library: The file name of the app's library, if that is what ran.
        library_sha256: The hash of the app's library, if that is what ran.
        max_logprob_diff: Largest difference of a log-probability, in nats.
        mean_kl: Mean KL divergence, in nats.
        tolerance: Most that ``max_logprob_diff`` may be.
        tolerance_kl: Most that ``mean_kl`` may be.
        checks: By check, the share (0..1) of the prompts on which it held.
    """

    device: str
    runtimes: dict[str, str] = {}
    library: str | None = None
    library_sha256: Sha256 | None = None
    max_logprob_diff: Figure
    mean_kl: Figure
    tolerance: Figure
    tolerance_kl: Figure
    checks: dict[str, Figure] = {}


class GateRecord(_Part):
    """The limits that the bundle was held to.

    Attributes:
        limits: By figure.
        reason: Why they are what they are.
    """

    limits: dict[str, float] = {}
    reason: str = ""


class LicenceRecord(_Part):
    """The model's licence.

    Attributes:
        id: SPDX identifier or the hub's short name; null if it isn't known.
        name: The licence's name for a reader.
    """

    id: str | None = None
    name: str = ""


class Manifest(_Part):
    """All that a bundle says about itself. Sizes are in bytes, lengths in tokens, rates in 0..1.

    Attributes:
        format: Marks the file as a manifest of gemcut.
        schema_version: The version of this schema that the manifest follows.
        model: The checkpoint.
        target: The target's name.
        runtime: The runtime that the program was made with.
        exporter: The version of gemcut.
        libraries: Versions of the libraries that took part, by name.
        recipe: The recipe as it was applied.
        calibration: What calibrated weights were chosen by; null without calibration.
        program: The program's file in the bundle: the one that the runtime opens.
        program_files: The program's other files, which the runtime finds beside it: external data, adapters.
        context: The longest text, prompt and reply together.
        cache_bytes: Bytes of the KV cache, which a runtime allocates when it loads the program; null if not recorded.
        prefill_chunk: Most tokens of a prompt that the program takes in one step.
        vocab_size: Logits of a position.
        operators: What the program calls outside delegates.
        kernels: All that a runtime must have registered to load the program, the runtime's own scalar operators
            included.
        delegates: Calls to each backend, by name.
        delegate_coverage: Share of the multiply-accumulates that run in delegates.
        tensors: The program's tensors, by class.
        files: Every file but the manifest and its own hash, by name.
        fidelity: The bundle compared with the float model; null if it wasn't measured.
        behaviour: The behaviour checks; null if they weren't run.
        devices: Each device that the bundle was proven on at export.
        gate: The limits that the bundle was held to.
        proven: Whether the bundle was run, compared and found within the limits.
        unproven: Why it isn't proven.
        stop_ids: Token ids that end a turn.
        bos_id: The id of the beginning of a sequence; null if prompts of this model begin with none.
        special_tokens: Names that the chat template may use (``bos_token`` and so on), and the tokens they stand for.
        template_bos: Whether the template writes the BOS itself, so that a runner must not add another.
        licence: The model's licence.
        notes: What the user should know.
    """

    format: Literal["gemcut-bundle"] = "gemcut-bundle"
    schema_version: int = SCHEMA_VERSION
    model: SourceRecord
    target: str
    runtime: RuntimeRecord
    exporter: str
    libraries: dict[str, str] = {}
    recipe: RecipeRecord
    calibration: CalibrationRecord | None = None
    program: FileName
    program_files: tuple[FileName, ...] = ()
    context: Annotated[int, Field(gt=0)]
    cache_bytes: Count | None = None
    prefill_chunk: Annotated[int, Field(gt=0)]
    vocab_size: Annotated[int, Field(gt=0)]
    operators: tuple[str, ...] = ()
    kernels: tuple[str, ...] = ()
    delegates: dict[str, Count] = {}
    delegate_coverage: Annotated[float, Field(ge=0, le=1)] = 0.0
    tensors: dict[str, TensorRecord] = {}
    files: dict[FileName, FileRecord] = {}
    fidelity: FidelityRecord | None = None
    behaviour: BehaviourRecord | None = None
    devices: tuple[DeviceRecord, ...] = ()
    gate: GateRecord = GateRecord()
    proven: bool = False
    unproven: tuple[str, ...] = ()
    stop_ids: tuple[Count, ...] = ()
    bos_id: Count | None = None
    special_tokens: dict[str, str] = {}
    template_bos: bool = False
    licence: LicenceRecord = LicenceRecord()
    notes: tuple[str, ...] = ()

    @property
    def files_size(self) -> int:
        """Bytes of all files that it records."""
        return sum(record.size for record in self.files.values())

    @property
    def grade(self) -> Grade | None:
        """What users notice of the bundle; None if its fidelity wasn't measured."""
        if self.fidelity is None:
            return None
        return grade_of(self.fidelity, self.behaviour.tool_calls if self.behaviour else None)

    @model_serializer(mode="wrap")
    def _without_empty_entries(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """As older versions wrote it without these entries, which they don't know."""
        written: dict[str, Any] = handler(self)
        if not self.program_files:
            written.pop("program_files", None)
        if self.cache_bytes is None:
            written.pop("cache_bytes", None)
        return written
