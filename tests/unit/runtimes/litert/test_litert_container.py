"""Reading `.litertlm` files: what sound ones hold, and that no damaged one does more than raise."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from gemcut.errors import ConformanceError
from gemcut.formats.litertlm import (
    BINARY,
    LLM_METADATA,
    PROGRAM,
    PROGRAM_TYPE,
    SENTENCEPIECE,
    Section,
    binary_names,
    check_same_running_sections,
    extract,
    find_section,
    mapped,
    program_section,
    read_binary,
    read_header,
    read_sections,
    section_sha256,
)
from gemcut.runtimes.litert.litertlm_writer import pack
from gemcut.runtimes.litert.tokenizer_section import TokenizerChoice

PROGRAM_BYTES = random.Random(0).randbytes(40_000)
METADATA = b"\x28\x80\x02"  # max_num_tokens = 256
EXTRAS = {"manifest.json": b'{"schema": 1}', "goldens/inputs.bin": bytes(range(256)), "empty": b""}


def write(path: Path, *, program: bytes = PROGRAM_BYTES, tokenizer: bytes = b"pieces", extras: dict = EXTRAS) -> Path:
    source = path.with_suffix(".tflite")
    source.write_bytes(program)
    pack(
        path, program=source, tokenizer=TokenizerChoice(SENTENCEPIECE, tokenizer, "x"), metadata=METADATA, extras=extras
    )
    return path


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("container") / "model.litertlm")


@pytest.fixture
def damaged(sound: Path, tmp_path: Path) -> Iterator[tuple[Path, bytearray]]:
    return tmp_path / "damaged.litertlm", bytearray(sound.read_bytes())


def header_end(data: bytes) -> int:
    return int(struct.unpack_from("<Q", data, 24)[0])


def test_sections_are_those_that_were_packed(sound: Path) -> None:
    sections = read_sections(sound)
    assert [s.kind for s in sections] == [LLM_METADATA, SENTENCEPIECE, PROGRAM, BINARY, BINARY, BINARY]
    assert [s.name for s in sections] == [None, None, None, "empty", "goldens/inputs.bin", "manifest.json"]
    assert [s.runs for s in sections] == [True, True, True, False, False, False]
    assert sections[2].model_type == PROGRAM_TYPE
    assert program_section(sound) == sections[2]
    assert sections[2].size == len(PROGRAM_BYTES)
    assert all(section.begin % 16384 == 0 for section in sections)
    assert read_header(sound).version[0] == 1


def test_bytes_come_mapped_extracted_and_by_name(sound: Path, tmp_path: Path) -> None:
    section = program_section(sound)
    with mapped(sound, section) as view:
        assert view.readonly
        assert view == PROGRAM_BYTES
    extract(sound, section, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == PROGRAM_BYTES
    assert binary_names(sound) == tuple(sorted(EXTRAS))
    assert {name: read_binary(sound, name) for name in EXTRAS} == EXTRAS
    with pytest.raises(ConformanceError, match="0 sections of GenericBinaryData nothing"):
        read_binary(sound, "nothing")
    with pytest.raises(ConformanceError, match="3 sections of GenericBinaryData"):
        find_section(sound, BINARY)


def test_every_truncation_is_said(damaged: tuple[Path, bytearray]) -> None:
    path, data = damaged
    end = max(section.end for section in _sections_of(path, data))
    lengths = {*range(64), *range(64, end, 397), header_end(data) - 1, header_end(data), end - 1}
    for length in sorted(lengths):
        path.write_bytes(data[:length])
        with pytest.raises(ConformanceError, match=r"is not a \.litertlm file|header can't end|is cut short"):
            read_header(path)


def test_every_flip_in_the_header_is_said_or_harmless(damaged: tuple[Path, bytearray]) -> None:
    path, data = damaged
    path.write_bytes(data)
    refused = 0
    for at in range(header_end(data)):
        for mask in (0x01, 0x80, 0xFF):
            data[at] ^= mask
            refused += _refused(path, data)
            data[at] ^= mask
    assert refused > header_end(data)  # of three flips a byte: most of the header carries meaning


def test_garbage_for_a_header_is_said(damaged: tuple[Path, bytearray]) -> None:
    path, data = damaged
    path.write_bytes(data)
    draw = random.Random(1)
    end = header_end(data)
    for _ in range(300):
        first = draw.randrange(32, end)
        count = draw.randrange(1, end - first + 1)
        changed = data.copy()
        changed[first : first + count] = draw.choice([draw.randbytes(count), b"\xff" * count, bytes(count)])
        _refused(path, changed)


def _sections_of(path: Path, data: bytes) -> tuple[Section, ...]:
    path.write_bytes(data)
    return read_sections(path)


def _refused(path: Path, data: bytes) -> bool:
    """Whether a file with a changed header is refused; where not, all that it claims lies inside it."""
    with path.open("r+b") as file:
        file.write(data[:16384])
    try:
        sections = read_sections(path)
    except ConformanceError:
        return True
    for section in sections:
        assert 32 <= section.begin <= section.end <= len(data)
        with mapped(path, section) as view:
            assert len(view) == section.size
    return False


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it has 0 bytes"),
        (b"LITERTLM", "it has 8 bytes"),
        (b"PK\x03\x04" * 100, "it starts with"),
        (struct.pack("<8sIII4xQ", b"LITERTLM", 2, 0, 0, 64) + bytes(64), "version 2.0.0"),
        (struct.pack("<8sIII4xQ", b"LITERTLM", 1, 0, 0, 1 << 60) + bytes(64), "header can't end"),
        (struct.pack("<8sIII4xQ", b"LITERTLM", 1, 0, 0, 96) + bytes(64), "header is damaged|holds no section"),
    ],
)
def test_what_is_no_container_is_said(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "x.litertlm"
    path.write_bytes(content)
    with pytest.raises(ConformanceError, match=said):
        read_header(path)


def test_missing_file_and_folder_are_said(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.litertlm", tmp_path):
        with pytest.raises(ConformanceError, match="can't be read"):
            read_header(path)


def test_overlapping_sections_are_refused(damaged: tuple[Path, bytearray]) -> None:
    path, data = damaged
    sections = _sections_of(path, data)
    old, new = (struct.pack("<Q", value) for value in (sections[2].begin, sections[1].begin))
    assert data.count(old, 0, header_end(data)) == 1
    data[: header_end(data)] = data[: header_end(data)].replace(old, new)
    path.write_bytes(data)
    with pytest.raises(ConformanceError, match="can't be at bytes"):
        read_header(path)


def test_sections_past_two_gib_are_reached(tmp_path: Path) -> None:
    path = write(tmp_path / "large.litertlm", extras={})
    section, data = program_section(path), bytearray(path.read_bytes())
    end = section.begin + (5 << 30) + 3
    data[: header_end(data)] = data[: header_end(data)].replace(struct.pack("<Q", section.end), struct.pack("<Q", end))
    with path.open("wb") as file:  # sparse: the hole takes no room
        file.write(data)
        file.seek(end - 4)
        file.write(b"last")
    found = program_section(path)
    assert found.size == (5 << 30) + 3
    with mapped(path, found) as view:
        assert len(view) == found.size
        assert bytes(view[-4:]) == b"last"
        assert view[: len(PROGRAM_BYTES)] == PROGRAM_BYTES


def test_file_that_shrinks_meanwhile_is_said(tmp_path: Path) -> None:
    path = write(tmp_path / "model.litertlm")
    section = program_section(path)
    with path.open("r+b") as file:
        file.truncate(section.end - 1)
    with pytest.raises(ConformanceError, match="can't be mapped"):
        mapped(path, section)
    with pytest.raises(ConformanceError, match="ends 1 bytes before"):
        section_sha256(path, section)


def test_running_sections_are_compared_by_their_bytes(tmp_path: Path) -> None:
    draft = write(tmp_path / "draft.litertlm", extras={})
    final = write(tmp_path / "final.litertlm")
    assert read_sections(draft) == read_sections(final)[:3]
    check_same_running_sections(draft, final)
    for changed, kind in ({"tokenizer": b"others"}, SENTENCEPIECE), ({"program": PROGRAM_BYTES + b"x"}, PROGRAM):
        other = write(tmp_path / "other.litertlm", **changed)
        with pytest.raises(ConformanceError, match=f"{kind} differs"):
            check_same_running_sections(draft, other)
