"""The manifest, which is what a bundle says about itself: versioned, with a JSON Schema beside it.

Nothing in a manifest says when, where or by whom it was made, so that two exports of the same inputs with
the same versions give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..config import json_schema as schema
from ..errors import ConformanceError, UnsupportedError
from .manifest_models import (
    SCHEMA_VERSION,
    AdapterRecord,
    BehaviourRecord,
    CalibrationRecord,
    Count,
    DeviceRecord,
    FidelityRecord,
    Figure,
    FileName,
    FileRecord,
    GateRecord,
    LicenceRecord,
    Manifest,
    RecipeRecord,
    RuleRecord,
    RuntimeRecord,
    Sha256,
    SourceRecord,
    TensorRecord,
    safe_name,
)
from .names import MANIFEST

__all__ = [
    "MANIFEST",
    "MARKER",
    "SCHEMA_FILE",
    "SCHEMA_VERSION",
    "SIDE_FILE",
    "SIGNIFICANT_DIGITS",
    "AdapterRecord",
    "BehaviourRecord",
    "CalibrationRecord",
    "Count",
    "DeviceRecord",
    "FidelityRecord",
    "Figure",
    "FileName",
    "FileRecord",
    "GateRecord",
    "LicenceRecord",
    "Manifest",
    "RecipeRecord",
    "RuleRecord",
    "RuntimeRecord",
    "Sha256",
    "SourceRecord",
    "TensorRecord",
    "is_manifest",
    "manifest_bytes",
    "manifest_schema",
    "read_manifest",
    "safe_name",
    "schema_text",
    "side_bytes",
]

MARKER = "gemcut-bundle"
SIDE_FILE = "manifest.sha256"
SCHEMA_FILE = Path(__file__).with_name("manifest.schema.json")
SIGNIFICANT_DIGITS = 9


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{SIGNIFICANT_DIGITS}g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return value


def manifest_bytes(manifest: Manifest) -> bytes:
    """Return the one written form of a manifest: keys sorted, floats to 9 significant digits, a newline at the end."""
    data = _rounded(manifest.model_dump(mode="json"))
    return (json.dumps(data, sort_keys=True, indent=2, ensure_ascii=False) + "\n").encode()


def side_bytes(manifest: bytes) -> bytes:
    """Return the content of ``manifest.sha256``, in the form that ``sha256sum --check`` reads."""
    return f"{hashlib.sha256(manifest).hexdigest()}  {MANIFEST}\n".encode()


def is_manifest(data: bytes) -> bool:
    """Return whether these bytes are a manifest of any gemcut version: a JSON object with its marker."""
    try:
        found = json.loads(data)
    except ValueError:
        return False
    return isinstance(found, dict) and found.get("format") == MARKER


def read_manifest(data: bytes, side: bytes, where: str) -> Manifest:
    """Read a manifest and check it against its own hash.

    Args:
        data: The bytes of ``manifest.json``.
        side: The bytes of ``manifest.sha256``.
        where: The bundle, for messages.

    Raises:
        UnsupportedError: A newer version of gemcut wrote it.
        ConformanceError: It was changed since it was written.
    """
    changed = side != side_bytes(data)
    again = f"copy or export {where} again"
    try:
        found = json.loads(data)
        version = found["schema_version"] if found["format"] == MARKER else None
    except (ValueError, KeyError, TypeError):
        version = None
    if type(version) is int and version > SCHEMA_VERSION:
        doubt = f" (or {MANIFEST} was changed: {SIDE_FILE} doesn't match it)" if changed else ""
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
            f"{where}: {MANIFEST} is not valid in schema version {SCHEMA_VERSION}: {field}: {first['msg']}",
            hint=again,
        ) from error


def manifest_schema() -> dict[str, Any]:
    """Return the JSON Schema of the manifest, which is shipped as ``manifest.schema.json``."""
    return schema.titled_schema(Manifest, "Gemcut bundle manifest")


def schema_text() -> str:
    """Return the content that ``manifest.schema.json`` should have."""
    return schema.schema_text(manifest_schema())
