"""Packs a ``.litertlm`` file: the same parts give the same bytes, on any day and in any process.

The sections that run come first, in a fixed order, and extra binary ones (manifest, goldens) last, so that a file of
which only the extras change runs exactly the same bytes. Extras carry their names as metadata; the engine ignores them,
and ``litert-lm unpack`` and ``pack`` keep them.
"""

from __future__ import annotations

import hashlib
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...errors import LackingError
from ...formats.litertlm import BINARY, HF_JSON, LLM_METADATA, NAME_KEY, PROGRAM, SENTENCEPIECE, read_header
from ...util.packages import install_command
from .tokenizer_section import TokenizerChoice
from .version import require_runtime

# The header has a creation time, which the builder can't leave out; a real one would make every file different.
TIMESTAMP = "1970-01-01T00:00:00+00:00"


def pack(
    out: Path,
    *,
    program: Path,
    tokenizer: TokenizerChoice,
    metadata: bytes,
    extras: Mapping[str, bytes | Path] | None = None,
) -> None:
    """Write ``out``; memory doesn't grow with the program, which is copied file to file.

    Args:
        out: Overwritten; the caller gives a temporary name and renames the file.
        program: The ``.tflite`` with the signatures prefill and decode.
        tokenizer: From ``choose_tokenizer``.
        metadata: A serialized LlmMetadata, from ``llm_metadata``.
        extras: Further files by the name that ``read_binary`` finds them by, such as ``manifest.json``; they are
            written in the order of their names.

    Raises:
        LackingError: litert-lm-builder is missing or isn't the supported release.
        OSError: A file can't be read, or the disk is full.
    """
    require_runtime()
    import litert_lm_builder

    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as place:
        parts = _parts(Path(place), program, tokenizer, metadata, extras or {})
        builder = litert_lm_builder.LitertLmFileBuilder()
        for kind, name, path in parts:
            _add(builder, kind, name, path)
        with _fixed_identity(_content_uuid(parts)), out.open("wb") as file:
            builder.build(file)
    read_header(out)


def _parts(
    place: Path, program: Path, tokenizer: TokenizerChoice, metadata: bytes, extras: Mapping[str, bytes | Path]
) -> list[tuple[str, str, Path]]:
    """Kind, name and file of every section in the file's order; the builder reads only files."""

    def file_of(name: str, data: bytes | Path) -> Path:
        if isinstance(data, Path):
            return data
        path = place / name
        path.write_bytes(data)
        return path

    # The builder tells compressed from plain JSON by the suffix.
    parts = [
        (LLM_METADATA, "", file_of("metadata.pb", metadata)),
        (tokenizer.kind, "", file_of("tokenizer.json", tokenizer.data)),
        (PROGRAM, "", program),
    ]
    for index, name in enumerate(sorted(extras)):
        parts.append((BINARY, name, file_of(f"extra{index}", extras[name])))
    return parts


def _add(builder: Any, kind: str, name: str, path: Path) -> None:
    import litert_lm_builder

    if kind == LLM_METADATA:
        builder.add_llm_metadata(str(path))
    elif kind == SENTENCEPIECE:
        builder.add_sentencepiece_tokenizer(str(path))
    elif kind == HF_JSON:
        builder.add_hf_tokenizer(str(path))
    elif kind == PROGRAM:
        builder.add_tflite_model(str(path), litert_lm_builder.TfLiteModelType.PREFILL_DECODE)
    else:
        named = litert_lm_builder.Metadata(key=NAME_KEY, value=name, dtype=litert_lm_builder.DType.STRING)
        builder.add_generic_binary_data(str(path), additional_metadata=[named])


def _content_uuid(parts: list[tuple[str, str, Path]]) -> str:
    """A name-based UUID (RFC 9562, version 5) of every section's kind, name and bytes."""
    whole = hashlib.sha256()
    for kind, name, path in parts:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        whole.update(f"{kind}\0{name}\0{digest}\n".encode())
    return str(uuid.uuid5(uuid.NAMESPACE_OID, whole.hexdigest()))


@contextmanager
def _fixed_identity(identity: str) -> Iterator[None]:
    """Makes the builder write this uuid and ``TIMESTAMP``, for litert-lm-builder 0.18.

    It sets a random uuid and the current time just before it writes, over what it was given, and has no argument for
    them.

    Raises:
        LackingError: The function that does so is gone, so upstream has changed.
    """
    from litert_lm_builder import litertlm_builder as module

    original: Callable[[list[Any]], list[Any]] | None = getattr(module, "populate_system_metadata", None)
    if original is None:
        raise LackingError(
            "litert_lm_builder no longer has populate_system_metadata, so Gemcut's patch for 0.18 doesn't apply.",
            hint=install_command("litert"),
        )
    fixed = {"uuid": identity, "creation_timestamp": TIMESTAMP}

    def populate(entries: list[Any]) -> list[Any]:
        for entry in (made := original(entries)):
            entry.value = fixed.get(entry.key, entry.value)
        return made

    module.populate_system_metadata = populate
    try:
        yield
    finally:
        module.populate_system_metadata = original
