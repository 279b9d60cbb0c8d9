"""What a bundle says about itself: the manifest, versioned, with a JSON Schema beside it.

Nothing in a manifest says when, where or by whom it was made, so that two exports of the same inputs on
the same versions give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from ..config import json_schema as schema
from ..errors import ConformanceError, UnsupportedError

SCHEMA_VERSION = 1
MARKER = "gemcut-bundle"
MANIFEST = "manifest.json"
SIDE_FILE = "manifest.sha256"
SCHEMA_FILE = Path(__file__).with_name("manifest.schema.json")
SIGNIFICANT_DIGITS = 9


def _finite_or_none(value: Any) -> Any:
    """JSON has no NaN and no infinity: a figure that isn't a number is written as null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def safe_name(name: str) -> str:
    """Checks a file's name inside a bundle: a relative POSIX path that stays inside.

    Raises:
        ValueError: If the name is absolute, climbs out, or isn't in its shortest form.
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
    """An adapter that was merged into the checkpoint's weights. ``kind``: such as LoRA; ``name``: its directory's own.

    ``base``: what it calls its base model. ``files``: SHA-256 of each of its files, by name.
    """

    name: str
    kind: str
    base: str = ""
    files: dict[str, Sha256] = {}


class SourceRecord(_Part):
    """The checkpoint. ``source``: hub id, or the directory's own name, never a path of the exporting machine.

    ``files``: SHA-256 of each file that was read, by name. ``adapter``: what was merged into its weights.
    """

    name: str
    source: str
    revision: str | None = None
    model_type: str
    parameters: Count
    files: dict[str, Sha256] = {}
    adapter: AdapterRecord | None = None


class RuntimeRecord(_Part):
    """The runtime that the program was made with, and the oldest one that it should run on."""

    name: str
    version: str
    oldest: str | None = None


class RuleRecord(_Part):
    """One rule of the recipe; the first whose ``match`` fits a module's name decides."""

    match: str
    scheme: str
    weight: str
    group: Count = 0
    activation: str = "float32"
    reason: str = ""


class RecipeRecord(_Part):
    """The quantization recipe as it was applied."""

    name: str
    description: str = ""
    rules: tuple[RuleRecord, ...] = ()


class TensorRecord(_Part):
    """Tensors of one class in the program: how many are quantized, the bytes of all, and how many are stored how."""

    quantized: Count = 0
    bytes: Count = 0
    schemes: dict[str, Count] = {}


class FileRecord(_Part):
    """One file of the bundle. ``size`` in bytes."""

    sha256: Sha256
    size: Count


class FidelityRecord(_Part):
    """The bundle against the float model at export. KL divergences in nats, ``top1`` in 0..1.

    A figure is null where the program's logits were not numbers (or where it wasn't measured).
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
    """Which behaviour checks held, and the share (0..1) of the prompts on which each did."""

    passed: bool
    rates: dict[str, Figure] = {}
    tool_calls: Figure = None


class DeviceRecord(_Part):
    """A device that the bundle was proven on at export, against the exporting machine.

    ``device``: as on the command line, defaults filled in. ``runtimes``: versions there, by name; ``library``,
    ``library_sha256``: of the app's library, where that is what ran. Log-probabilities and KL divergences in nats,
    with their tolerances. ``checks``: the share (0..1) of the prompts on which each held.
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
    """The limits that the bundle was held to, and why they are what they are."""

    limits: dict[str, float] = {}
    reason: str = ""


class LicenceRecord(_Part):
    """The model's licence. ``id``: SPDX identifier or the hub's short name; None where it isn't known."""

    id: str | None = None
    name: str = ""


class Manifest(_Part):
    """All that a bundle says about itself. Sizes in bytes, lengths in tokens, rates in 0..1.

    ``files`` names every file but the manifest and its own hash. ``operators`` are what the program calls outside
    delegates, ``kernels`` all that a runtime must have registered to load it, the runtime's own scalar operators
    included. ``delegates`` counts the calls to each backend; ``delegate_coverage`` is the share of the
    multiply-accumulates that run in them. ``program`` is the file that the runtime opens, ``program_files`` are those
    that it finds beside it: external data, adapters.
    ``special_tokens`` are the names that the chat template may use (``bos_token`` and so on);
    ``template_bos`` says that the template writes the BOS itself, so that a runner must not add another.
    """

    format: Literal["gemcut-bundle"] = "gemcut-bundle"
    schema_version: int = SCHEMA_VERSION
    model: SourceRecord
    target: str
    runtime: RuntimeRecord
    exporter: str
    libraries: dict[str, str] = {}
    recipe: RecipeRecord
    program: FileName
    program_files: tuple[FileName, ...] = ()
    context: Annotated[int, Field(gt=0)]
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

    @model_serializer(mode="wrap")
    def _without_empty_lists(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """As older versions wrote it where the program is one file: they know no ``program_files``."""
        written: dict[str, Any] = handler(self)
        if not self.program_files:
            written.pop("program_files", None)
        return written


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{SIGNIFICANT_DIGITS}g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return value


def manifest_bytes(manifest: Manifest) -> bytes:
    """The manifest's one written form: keys sorted, floats to 9 significant digits, a newline at the end."""
    data = _rounded(manifest.model_dump(mode="json"))
    return (json.dumps(data, sort_keys=True, indent=2, ensure_ascii=False) + "\n").encode()


def side_bytes(manifest: bytes) -> bytes:
    """The content of ``manifest.sha256``, in the form that ``sha256sum --check`` reads."""
    return f"{hashlib.sha256(manifest).hexdigest()}  {MANIFEST}\n".encode()


def is_manifest(data: bytes) -> bool:
    """Whether these bytes are a manifest of any version of ours: a JSON object with our marker."""
    try:
        found = json.loads(data)
    except ValueError:
        return False
    return isinstance(found, dict) and found.get("format") == MARKER


def read_manifest(data: bytes, side: bytes, where: str) -> Manifest:
    """Reads a manifest and holds it against its own hash.

    Args:
        data: The bytes of ``manifest.json``.
        side: The bytes of ``manifest.sha256``.
        where: The bundle, for messages.

    Raises:
        UnsupportedError: If it was written by a newer version of Gemcut.
        ConformanceError: If it was changed since it was written.
    """
    changed = side != side_bytes(data)
    again = f"copy or export {where} again"
    try:
        found = json.loads(data)
        version = found["schema_version"] if found["format"] == MARKER else None
    except (ValueError, KeyError, TypeError):
        version = None
    if type(version) is int and version > SCHEMA_VERSION:
        doubt = f" (or {MANIFEST} was changed: {SIDE_FILE} doesn't fit it)" if changed else ""
        raise UnsupportedError(
            f"{where}: {MANIFEST} has schema version {version}; this gemcut reads up to {SCHEMA_VERSION}{doubt}",
            hint="upgrade gemcut: pip install --upgrade gemcut",
        )
    if changed:
        raise ConformanceError(
            f"{where}: {MANIFEST} and {SIDE_FILE} don't agree, so one of them was changed", hint=again
        )
    try:
        return Manifest.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise ConformanceError(
            f"{where}: {MANIFEST} is not one of schema version {SCHEMA_VERSION}: {field}: {first['msg']}",
            hint=again,
        ) from error


def manifest_schema() -> dict[str, Any]:
    """The JSON Schema of the manifest that is shipped as ``manifest.schema.json``."""
    return schema.titled_schema(Manifest, "Gemcut bundle manifest")


def schema_text() -> str:
    """The content that ``manifest.schema.json`` should have."""
    return schema.schema_text(manifest_schema())
