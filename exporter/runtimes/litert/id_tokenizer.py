"""A copy of the packed program in a ``.litertlm`` that takes token ids as they are.

LiteRT-LM 0.18 takes no ids: its C API (``litert_lm_input_data_create``) takes only text, images and audio. So the
sections that run are copied, byte for byte, beside a tokenizer that names id 5 ``t5``, and beside metadata that neither
starts prompts with a BOS nor ends replies with a stop token.
"""

from __future__ import annotations

import errno
import io
import json
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ...errors import ConformanceError, LackingError
from ...formats.litertlm import BINARY, HF_JSON, LLM_METADATA, SENTENCEPIECE, Section, mapped, read_header

# Sessions are refused if no stop token is named ("Stop tokens are required"), so this names one that no model has.
UNUSED_STOP_TOKEN = 2**31 - 1
_TOKENIZERS = (HF_JSON, SENTENCEPIECE)
_WORD = re.compile(r"t(\d+)")
_CHUNK = 1 << 20
# Errors of copy_file_range if it can't copy but read and write can: across file systems, and on ones that lack it.
_NO_KERNEL_COPY = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM)
# Fields of LlmMetadata that would add to a prompt, shape a reply or end it, though only ids are to be seen.
_SHAPING = (
    "start_token",
    "stop_tokens",
    "prompt_templates",
    "sampler_params",
    "jinja_prompt_template",
    "channels",
    "suppress_tokens",
)


@dataclass(frozen=True)
class _Part:
    """A section to write.

    Attributes:
        entry: Its entry in the header, one of the builder's objects.
        data: Its bytes, or the section of the packed file to copy.
    """

    entry: Any
    data: bytes | Section


def write_identity(program: Path, out: Path, vocab_size: int) -> int:
    """Write ``out``, which takes prompts of ``words_of`` and replies in such words.

    Args:
        program: A packed ``.litertlm``; only read.
        out: Overwritten. As large as ``program``, but shares its blocks on file systems that can (Btrfs, XFS).
        vocab_size: Ids are 0 .. vocab_size - 1.

    Returns:
        The context in tokens that the metadata names; 0 if it leaves that to the program.

    Raises:
        ConformanceError: ``program`` is missing, cut short, or not a ``.litertlm`` that runs.
        LackingError: The disk is full.
    """
    return _rewrite(program, out, _identity_tokenizer(vocab_size))


def write_without_stops(program: Path, out: Path) -> int:
    """Write ``out``, which keeps its tokenizer but never stops before the tokens asked for: for measuring speed.

    Args:
        program: As in ``write_identity``.
        out: As in ``write_identity``.

    Returns:
        As ``write_identity``.

    Raises:
        ConformanceError: As ``write_identity``.
        LackingError: As ``write_identity``.
    """
    return _rewrite(program, out, None)


def words_of(ids: Sequence[int]) -> str:
    """Return the text that the identity tokenizer cuts into ``ids``."""
    return " ".join(f"t{token}" for token in ids)


def ids_of(text: str) -> list[int]:
    """Return the ids of an identity bundle's reply.

    Raises:
        ValueError: The text isn't such a reply.
    """
    found = [_WORD.fullmatch(word) for word in text.split()]
    if not all(found):
        raise ValueError(f"{text[:80]!r} is not a text of an identity tokenizer")
    return [int(match[1]) for match in found if match]


def _identity_tokenizer(vocab_size: int) -> bytes:
    """A Hugging Face ``tokenizer.json`` in the format's compression: uint64 length, little-endian, then zlib."""
    model = {"type": "WordLevel", "vocab": {f"t{index}": index for index in range(vocab_size)}, "unk_token": "t0"}
    state: dict[str, Any] = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": None,
        "decoder": None,
        "model": model,
    }
    plain = json.dumps(state, separators=(",", ":")).encode()
    return len(plain).to_bytes(8, "little") + zlib.compress(plain, 1)


def _plain_metadata(data: bytes) -> tuple[bytes, int]:
    """An LlmMetadata without what shapes prompts and replies, and its ``max_num_tokens``."""
    from google.protobuf.message import DecodeError
    from litert_lm_builder.runtime.proto import llm_metadata_pb2

    try:
        metadata = llm_metadata_pb2.LlmMetadata.FromString(data)
    except DecodeError as error:
        raise ConformanceError(f"LlmMetadata is damaged: {error}", hint="export the bundle again") from error
    for name in _SHAPING:
        metadata.ClearField(name)
    metadata.stop_tokens.add().token_ids.ids.append(UNUSED_STOP_TOKEN)
    return metadata.SerializeToString(deterministic=True), metadata.max_num_tokens


def _rewrite(program: Path, out: Path, tokenizer: bytes | None) -> int:
    sections = read_header(program).sections
    header = _header_objects(program)
    parts, context = [], 0
    for section, entry in zip(sections, header.sectionMetadata.objects, strict=True):
        data: bytes | Section = section
        if section.kind == BINARY or (section.kind in _TOKENIZERS and tokenizer is not None):
            continue
        if section.kind == LLM_METADATA:
            with mapped(program, section) as view:
                data, context = _plain_metadata(bytes(view))
        parts.append(_Part(entry, data))
    if tokenizer is not None:
        from litert_lm_builder import litertlm_header_schema_py_generated as schema

        parts.append(_Part(_entry(schema.AnySectionDataType.HF_Tokenizer_Zlib, []), tokenizer))
    header.sectionMetadata.objects = [part.entry for part in parts]
    try:
        with program.open("rb") as source, out.open("wb") as file:
            _write(source, file, header, parts)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        size = sum(section.size for section in sections)
        raise LackingError(
            f"{out.parent} has no room for a copy of {program.name} ({size >> 20} MiB): {error.strerror}",
            hint="free some disk space, or set TMPDIR to a folder on another disk",
        ) from error
    return context


def _header_objects(program: Path) -> Any:
    """The header as the builder's mutable objects; ``read_header`` has checked it.

    By hand, because the generated ``LiteRTLMMetaDataT.InitFromObj`` calls a function that doesn't exist (0.18.1).
    """
    from litert_lm_builder import litertlm_header_schema_py_generated as schema
    from litert_lm_builder import litertlm_peek

    packed = litertlm_peek.read_litertlm_header(str(program), io.StringIO())
    system, listed = packed.SystemMetadata(), packed.SectionMetadata()
    entries = [_pair(system.Entries(index)) for index in range(system.EntriesLength())] if system else []
    objects = []
    for index in range(listed.ObjectsLength()):
        section = listed.Objects(index)
        items = [_pair(section.Items(item)) for item in range(section.ItemsLength())]
        objects.append(_entry(section.DataType(), items))
    return schema.LiteRTLMMetaDataT(schema.SystemMetadataT(entries), schema.SectionMetadataT(objects))


def _pair(packed: Any) -> Any:
    from litert_lm_builder import DType, Metadata
    from litert_lm_builder.litertlm_peek import kvp_to_dict

    read = kvp_to_dict(packed)
    return Metadata(read["key"], read["value"], DType(read["value_type"].lower())).to_key_value_pair()


def _entry(kind: int, items: list[Any]) -> Any:
    from litert_lm_builder import litertlm_header_schema_py_generated as schema

    # Zeros would be left out of the flatbuffer, so that the header would grow once the places are known.
    return schema.SectionObjectT(items=items, dataType=kind, beginOffset=1, endOffset=1)


def _write(source: IO[bytes], file: IO[bytes], header: Any, parts: Sequence[_Part]) -> None:
    """Writes the sections at multiples of the block size, then the header, which names their places."""
    import flatbuffers
    from litert_lm_builder import litertlm_core as core

    def packed() -> bytes:
        builder = flatbuffers.Builder(core.BLOCK_SIZE)
        builder.Finish(header.Pack(builder))
        return bytes(builder.Output())

    length = len(packed())
    offset = core.HEADER_BEGIN_BYTE_OFFSET + length
    for part in parts:
        offset = -(-offset // core.BLOCK_SIZE) * core.BLOCK_SIZE
        file.seek(offset)
        part.entry.beginOffset = offset
        if isinstance(part.data, bytes):
            file.write(part.data)
            offset += len(part.data)
        else:
            _copy(source, file, part.data)
            offset += part.data.size
        part.entry.endOffset = offset
    places = packed()
    assert len(places) == length, "the header's length may not depend on the sections' places"
    file.seek(0)
    file.write(core.HEADER_MAGIC_BYTES)
    for number in (core.LITERTLM_MAJOR_VERSION, core.LITERTLM_MINOR_VERSION, core.LITERTLM_PATCH_VERSION, 0):
        file.write(number.to_bytes(4, "little"))
    file.write((core.HEADER_BEGIN_BYTE_OFFSET + length).to_bytes(8, "little"))
    file.write(places)


def _copy(source: IO[bytes], file: IO[bytes], section: Section) -> None:
    """Copies a section's bytes, by the kernel if it can: that shares blocks instead of copying them, or is faster."""
    file.flush()
    done = 0
    for count in _copied_by_kernel(source.fileno(), file.fileno(), section, file.tell()):
        done += count
    source.seek(section.begin + done)
    file.seek(file.tell() + done)
    while done < section.size:
        chunk = source.read(min(section.size - done, _CHUNK))
        if not chunk:
            raise ConformanceError(f"{source.name} ends within a section", hint="copy the file again")
        file.write(chunk)
        done += len(chunk)


def _copied_by_kernel(source: int, out: int, section: Section, place: int) -> Iterator[int]:
    """Bytes of each step, until the kernel can't go on."""
    if not hasattr(os, "copy_file_range"):
        return
    done = 0
    while done < section.size:
        try:
            count = os.copy_file_range(source, out, section.size - done, section.begin + done, place + done)
        except OSError as error:
            if error.errno in _NO_KERNEL_COPY:
                return
            raise
        if not count:
            return
        done += count
        yield count
