"""Reading of `.litertlm` files: what sections one holds, and their bytes without a copy.

Format (litert_lm_builder 0.18, ``litertlm_core`` and ``litertlm_builder``): ``LITERTLM``, three uint32 of the format's
version, four bytes of padding, a uint64 that says where the header ends, then from byte 32 on the header, a flatbuffer
(``litertlm_header_schema``); sections start at multiples of 16 KiB. All numbers are little-endian.
"""

from __future__ import annotations

import hashlib
import mmap
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from ..errors import ConformanceError

FORMAT_MAJOR = 1
NAME_KEY = "name"
MODEL_TYPE_KEY = "model_type"
PROGRAM_TYPE = "tf_lite_prefill_decode"
LLM_METADATA = "LlmMetadataProto"
PROGRAM = "TFLiteModel"
SENTENCEPIECE = "SP_Tokenizer"
HF_JSON = "HF_Tokenizer_Zlib"
BINARY = "GenericBinaryData"

_MAGIC = b"LITERTLM"
_PREFIX = struct.Struct("<8sIII4xQ")
_LARGEST_HEADER = 1 << 20  # bytes; real ones take a few thousand
_MOST_ENTRIES = 1024  # of any list in the header; real ones have tens
_CHUNK = 1 << 20
_HINT = "copy the file again, or export the bundle again"


@dataclass(frozen=True)
class Section:
    """One section of a file.

    Attributes:
        kind: The format's name for the type of its data, such as ``TFLiteModel``.
        begin: Its first byte in the file.
        end: The byte after its last.
        metadata: Every key and value that the header has for it.
    """

    kind: str
    begin: int
    end: int
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str | None:
        """The name that ``pack`` gave to an extra section; None for one that runs."""
        found = self.metadata.get(NAME_KEY) if self.kind == BINARY else None
        return found if isinstance(found, str) else None

    @property
    def model_type(self) -> str | None:
        """What a TFLite section is for, such as ``tf_lite_prefill_decode``; None if the header doesn't say."""
        found = self.metadata.get(MODEL_TYPE_KEY)
        return found if isinstance(found, str) else None

    @property
    def size(self) -> int:
        """The section's size in bytes."""
        return self.end - self.begin

    @property
    def runs(self) -> bool:
        """Whether the engine reads it; it skips extra binary sections."""
        return self.kind != BINARY


@dataclass(frozen=True)
class Header:
    """What a file says of itself before its sections.

    Attributes:
        version: The format's version.
        system: System metadata (uuid and the like).
        sections: The sections, in the header's order.
    """

    version: tuple[int, int, int]
    system: dict[str, Any]
    sections: tuple[Section, ...]


def read_header(path: Path) -> Header:
    """Read and check a file's header; no section is read.

    Args:
        path: The file.

    Raises:
        ConformanceError: The file is missing, isn't a `.litertlm` file, is cut short, or its header can't be right.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            version, packed = _read_packed(path, file, size)
    except OSError as error:
        raise ConformanceError(f"{path} can't be read: {error.strerror or error}", hint=_HINT) from error
    header = _parse(path, packed, version)
    _check_places(path, header.sections, _PREFIX.size + len(packed), size)
    return header


def read_sections(path: Path) -> tuple[Section, ...]:
    """Return a file's sections in the header's order.

    Args:
        path: The file.

    Raises:
        ConformanceError: As for ``read_header``.
    """
    return read_header(path).sections


def find_section(path: Path, kind: str, *, model_type: str | None = None, name: str | None = None) -> Section:
    """Return the one section of a kind, and of a model type or a name if given.

    Args:
        path: The file.
        kind: The format's name for the type of the section's data.
        model_type: What a TFLite section is for.
        name: The name of an extra section.

    Raises:
        ConformanceError: There is none or more than one; also as for ``read_header``.
    """
    wanted = [
        section
        for section in read_sections(path)
        if section.kind == kind
        and (model_type is None or section.model_type == model_type)
        and (name is None or section.name == name)
    ]
    if len(wanted) != 1:
        said = " ".join(part for part in (kind, model_type, name) if part)
        raise ConformanceError(f"{path} holds {len(wanted)} sections of {said}, not one", hint=_HINT)
    return wanted[0]


def program_section(path: Path) -> Section:
    """Return the section of the ``.tflite`` with the signatures prefill and decode.

    Args:
        path: The file.

    Raises:
        ConformanceError: As for ``find_section``.
    """
    return find_section(path, PROGRAM, model_type=PROGRAM_TYPE)


def binary_names(path: Path) -> tuple[str, ...]:
    """Return the names of the extra sections, in the file's order.

    Args:
        path: The file.

    Raises:
        ConformanceError: As for ``read_header``.
    """
    return tuple(section.name for section in read_sections(path) if section.name is not None)


def read_binary(path: Path, name: str) -> bytes:
    """Return an extra section's bytes, such as the manifest's.

    Args:
        path: The file.
        name: The section's name.

    Raises:
        ConformanceError: As for ``find_section``.
    """
    with mapped(path, find_section(path, BINARY, name=name)) as view:
        return bytes(view)


def mapped(path: Path, section: Section) -> memoryview:
    """Map a section's bytes into memory, read-only; nothing is read before it is accessed.

    Args:
        path: The file.
        section: One of its sections.

    Returns:
        A view that keeps the map alive, and is a context manager that releases it.

    Raises:
        ConformanceError: The file has become too short for the section, or can't be read.
    """
    if not section.size:
        return memoryview(b"")
    page = mmap.ALLOCATIONGRANULARITY
    start = section.begin // page * page
    try:
        with path.open("rb") as file:
            whole = mmap.mmap(file.fileno(), section.end - start, access=mmap.ACCESS_READ, offset=start)
    except (OSError, ValueError) as error:
        place = f"bytes {section.begin} to {section.end}"
        raise ConformanceError(f"{path}: {place} can't be mapped: {error}", hint=_HINT) from error
    return memoryview(whole)[section.begin - start :]


def extract(path: Path, section: Section, out: Path) -> None:
    """Write a section to a file of its own, a chunk at a time.

    Args:
        path: The file.
        section: One of its sections.
        out: The file to write.

    Raises:
        ConformanceError: The file ends before the section does, or can't be read.
    """
    with out.open("wb") as file:
        for chunk in _chunks(path, section):
            file.write(chunk)


def section_sha256(path: Path, section: Section) -> str:
    """Return a section's sha256 in hex, read a chunk at a time.

    Args:
        path: The file.
        section: One of its sections.

    Raises:
        ConformanceError: The file ends before the section does, or can't be read.
    """
    digest = hashlib.sha256()
    for chunk in _chunks(path, section):
        digest.update(chunk)
    return digest.hexdigest()


def running_digests(path: Path) -> tuple[tuple[str, str | None, str], ...]:
    """Return kind, model type and sha256 of every section that the engine reads, in the file's order.

    Args:
        path: The file.

    Raises:
        ConformanceError: As for ``read_header``.
    """
    return tuple((s.kind, s.model_type, section_sha256(path, s)) for s in read_sections(path) if s.runs)


def check_same_running_sections(first: Path, second: Path) -> None:
    """Check that the engine reads the very same bytes in both files, so that what was proven of one holds for both.

    Args:
        first: The file that was proven.
        second: The other file.

    Raises:
        ConformanceError: A section that runs differs, is missing or is added; also as for ``read_header``.
    """
    found, expected = running_digests(second), running_digests(first)
    if found == expected:
        return
    apart = sorted({kind for kind, _, _ in set(found) ^ set(expected)}) or ["their order"]
    raise ConformanceError(f"{second} doesn't run as {first} does: {', '.join(apart)} differs", hint=_HINT)


def _chunks(path: Path, section: Section) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            file.seek(section.begin)
            left = section.size
            while left:
                chunk = file.read(min(left, _CHUNK))
                if not chunk:
                    raise ConformanceError(f"{path} ends {left} bytes before its section does", hint=_HINT)
                left -= len(chunk)
                yield chunk
    except OSError as error:
        raise ConformanceError(f"{path} can't be read: {error.strerror or error}", hint=_HINT) from error


def _read_packed(path: Path, file: IO[bytes], size: int) -> tuple[tuple[int, int, int], bytes]:
    """The format's version and the header's flatbuffer."""
    if size < _PREFIX.size:
        raise ConformanceError(f"{path} is not a .litertlm file: it has {size} bytes", hint=_HINT)
    magic, major, minor, patch, end = _PREFIX.unpack(file.read(_PREFIX.size))
    if magic != _MAGIC:
        raise ConformanceError(f"{path} is not a .litertlm file: it starts with {magic!r}", hint=_HINT)
    if major != FORMAT_MAJOR:
        raise ConformanceError(
            f"{path} has version {major}.{minor}.{patch} of the format; Gemcut reads {FORMAT_MAJOR}.x",
            hint="export the bundle again with this version",
        )
    if not _PREFIX.size < end <= min(size, _LARGEST_HEADER):
        raise ConformanceError(f"{path}: the header can't end at byte {end} of {size}", hint=_HINT)
    return (major, minor, patch), file.read(end - _PREFIX.size)


def _parse(path: Path, packed: bytes, version: tuple[int, int, int]) -> Header:
    """The header's contents, through the builder's generated schema."""
    from litert_lm_builder import litertlm_header_schema_py_generated as schema

    kinds = {value: name for name, value in vars(schema.AnySectionDataType).items() if isinstance(value, int)}
    try:
        root = schema.LiteRTLMMetaData.GetRootAs(packed, 0)
        system, listed = root.SystemMetadata(), root.SectionMetadata()
        entries = _pairs(system.EntriesLength(), system.Entries) if system else {}
        count = _bounded(listed.ObjectsLength() if listed else 0)
        sections = tuple(_section(listed.Objects(index), kinds) for index in range(count))
    except Exception as error:  # flatbuffers' accessors verify nothing: they fail with whatever the bytes lead to
        raise ConformanceError(f"{path}: the header is damaged: {error!r}", hint=_HINT) from error
    return Header(version, entries, sections)


def _section(packed: Any, kinds: dict[int, str]) -> Section:
    kind = kinds.get(packed.DataType(), f"unknown type {packed.DataType()}")
    return Section(kind, packed.BeginOffset(), packed.EndOffset(), _pairs(packed.ItemsLength(), packed.Items))


def _pairs(count: int, item: Callable[[int], Any]) -> dict[str, Any]:
    from litert_lm_builder.litertlm_peek import kvp_to_dict

    read = [kvp_to_dict(item(index)) for index in range(_bounded(count))]
    return {pair["key"]: pair["value"] for pair in read}


def _bounded(count: int) -> int:
    """A list's length: a damaged one can claim billions of entries."""
    if count > _MOST_ENTRIES:
        raise ValueError(f"a list of {count} entries")
    return count


def _check_places(path: Path, sections: tuple[Section, ...], header_end: int, size: int) -> None:
    if not sections:
        raise ConformanceError(f"{path} holds no sections", hint=_HINT)
    end = header_end
    for section in sorted(sections, key=lambda section: section.begin):
        if section.begin < end or section.size < (1 if section.runs else 0):
            raise ConformanceError(
                f"{path}: {section.kind} can't be at bytes {section.begin} to {section.end}", hint=_HINT
            )
        end = section.end
    if end > size:
        raise ConformanceError(f"{path} is cut short: {size} of {end} bytes", hint=_HINT)
