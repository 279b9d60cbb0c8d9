"""What is shown of a ``.litertlm``'s inside: sections and signatures as they are, and no crash where they aren't."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from gemcut.errors import ConformanceError
from gemcut.formats.litertlm import SENTENCEPIECE, program_section
from gemcut.runtimes.litert import PLUGIN
from gemcut.runtimes.litert.layout import sections, signatures
from gemcut.runtimes.litert.litertlm_writer import pack
from gemcut.runtimes.litert.tokenizer_section import TokenizerChoice


@pytest.fixture(scope="module")
def packed(float_program: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("layout") / "model.litertlm"
    tokenizer = TokenizerChoice(SENTENCEPIECE, b"pieces", "")
    pack(path, program=float_program, tokenizer=tokenizer, metadata=b"\x28\x50", extras={"manifest.json": b"{}\n"})
    return path


def test_sections_with_their_places_and_sizes(packed: Path, float_program: Path) -> None:
    heading, rows = sections(packed)
    assert heading == ("section", "name", "offset", "bytes")
    assert [row[:2] for row in rows] == [
        ("LlmMetadataProto", ""),
        ("SP_Tokenizer", ""),
        ("TFLiteModel", "tf_lite_prefill_decode"),
        ("GenericBinaryData", "manifest.json"),
    ]
    data = packed.read_bytes()
    contents = [b"\x28\x50", None, float_program.read_bytes(), b"{}\n"]
    for (_, _, offset, size), content in zip(rows, contents, strict=True):
        begin, count = int(offset.replace(",", "")), int(size.replace(",", ""))
        assert content is None or data[begin : begin + count] == content


def test_signatures_with_shapes_and_types(packed: Path) -> None:
    heading, rows = signatures(packed)
    assert heading == ("signature", "inputs", "outputs")
    shown = {name: (inputs, outputs) for name, inputs, outputs in rows}
    assert [name for name, _, _ in rows] == ["decode", "prefill_8", "prefill_16"]
    # 80 tokens and room for a prefill of 8 behind the last; a window of 16 and a prefill of 16 behind its first.
    caches = ["2 caches float32 [1, 2, 31, 16]", "2 caches float32 [1, 2, 87, 16]"]
    for name, tokens in (("decode", 1), ("prefill_8", 8), ("prefill_16", 16)):
        inputs = shown[name][0].split("; ")
        own = [f"tokens int32 [1, {tokens}]", f"input_pos int32 [{tokens}]", f"mask float32 [1, 1, {tokens}, 87]"]
        assert sorted(inputs) == sorted([*own, *caches])
        outputs = shown[name][1].split("; ")
        assert sorted(outputs) == sorted([*caches, *(["logits float32 [1, 1, 397]"] if name == "decode" else [])])


def test_the_runtime_shows_both(packed: Path) -> None:
    assert PLUGIN.inspector.layout(packed) == (sections(packed), signatures(packed))


def test_a_damaged_program_is_said_and_never_a_crash(packed: Path, tmp_path: Path) -> None:
    """Nothing has checked its bytes when it is looked at."""
    section, path = program_section(packed), tmp_path / "damaged.litertlm"
    data, rng, refused = packed.read_bytes(), random.Random(5), []
    for junk in (bytes(64), b"\xff" * 64, *(rng.randbytes(64) for _ in range(40))):
        at = section.begin + (0 if junk in (bytes(64), b"\xff" * 64) else rng.randrange(0, 40_000))
        path.write_bytes(data[:at] + junk + data[at + 64 :])
        try:
            heading, rows = signatures(path)
        except ConformanceError as error:
            refused.append(error)
        else:
            assert all(len(row) == len(heading) for row in rows)
    assert len(refused) >= 2
    for error in refused:
        assert "damaged.litertlm: its TFLiteModel section is damaged" in error.message
        assert error.hint


@pytest.mark.parametrize("show", [sections, signatures])
def test_a_missing_or_foreign_file(show, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConformanceError, match=r"none\.litertlm"):
        show(tmp_path / "none.litertlm")
    (tmp_path / "foreign.litertlm").write_bytes(b"PK\x03\x04" * 100)
    with pytest.raises(ConformanceError, match=r"foreign\.litertlm"):
        show(tmp_path / "foreign.litertlm")
