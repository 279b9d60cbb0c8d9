"""Packing `.litertlm` files: the same bytes every time, extras that survive, and an engine that runs the result."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tomllib
import zlib
from pathlib import Path
from typing import Any

import litert_lm_builder
import pytest
from gemcut.errors import LackingError
from gemcut.formats.litertlm import (
    HF_JSON,
    binary_names,
    find_section,
    mapped,
    program_section,
    read_binary,
    read_header,
    read_sections,
)
from gemcut.runtimes.litert.litertlm_writer import TIMESTAMP, pack
from gemcut.runtimes.litert.tokenizer_section import TokenizerChoice, choose_tokenizer
from litert_lm_builder import litertlm_builder
from litert_lm_builder.runtime.proto import llm_metadata_pb2
from tokenizers import Tokenizer, models

from tests.support.litert_echo import greedy, open_engine, write_echo

SAMPLE = Path(__file__).parents[3] / "exporter" / "sample" / "model"
VOCABULARY = 2048
EXTRAS: dict[str, bytes | Path] = {
    "manifest.json": b'{"schema": 1}',
    "goldens/a.bin": bytes(1000),
    "goldens/b.bin": b"x",
}

# Packs the sample's tokenizer and a program, in a process of its own.
SCRIPT = """
import sys
from pathlib import Path
from gemcut.runtimes.litert.litertlm_writer import pack
from gemcut.runtimes.litert.tokenizer_section import choose_tokenizer
from gemcut.runtimes.litert.metadata import llm_metadata
out, program, sample = map(Path, sys.argv[1:4])
metadata = llm_metadata(
    text_type="gemma4_text", context=64, stop_ids=[6, 1, 6, 4], start=2, pad=0, template="{{ messages }}", tools=True,
    generation={"do_sample": True, "suppress_tokens": [9, 8]}, vocabulary={"<|channel>": 5},
)
extras = {name: name.encode() for name in {"c", "a", "manifest.json", "goldens/x", "goldens/y"}}
pack(out, program=program, tokenizer=choose_tokenizer(sample, sample / "tokenizer.json", bos="<bos>"),
     metadata=metadata, extras=extras)
"""


def metadata(**fields: Any) -> bytes:
    made = llm_metadata_pb2.LlmMetadata(max_num_tokens=256, jinja_prompt_template="{{ messages[0].content[0].text }}")
    made.stop_tokens.add().token_ids.ids.append(1)
    made.llm_model_type.generic_model.SetInParent()
    for name, value in fields.items():
        setattr(made, name, value)
    return made.SerializeToString()


@pytest.fixture(scope="module")
def tokenizer() -> TokenizerChoice:
    return choose_tokenizer(SAMPLE, SAMPLE / "tokenizer.json", bos="<bos>")


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_echo(tmp_path_factory.mktemp("echo") / "echo.tflite", VOCABULARY)


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "program.tflite"
    path.write_bytes(bytes(range(256)) * 300)
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_two_processes_pack_the_same_bytes(program: Path, tmp_path: Path) -> None:
    found = set()
    for seed in ("0", "1", "77"):
        out = tmp_path / seed / "model.litertlm"  # not the same folder either
        out.parent.mkdir()
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", SCRIPT, out, program, SAMPLE], env=environment, check=True)
        found.add(sha256(out))
        assert [path.name for path in out.parent.iterdir()] == ["model.litertlm"]
    assert len(found) == 1


def test_identity_comes_from_the_content(program: Path, tokenizer: TokenizerChoice, tmp_path: Path) -> None:
    seen = set()
    for extras in ({}, {"a": b"1"}, {"a": b"2"}, {"b": b"2"}):
        out = tmp_path / "model.litertlm"
        pack(out, program=program, tokenizer=tokenizer, metadata=metadata(), extras=extras)
        system = read_header(out).system
        assert system["creation_timestamp"] == TIMESTAMP
        seen.add(system["uuid"])
    assert len(seen) == 4


def test_extras_come_last_and_move_nothing_that_runs(program: Path, tokenizer: TokenizerChoice, tmp_path: Path) -> None:
    draft, final = tmp_path / "draft", tmp_path / "final"
    pack(draft, program=program, tokenizer=tokenizer, metadata=metadata())
    pack(final, program=program, tokenizer=tokenizer, metadata=metadata(), extras=EXTRAS)
    assert read_sections(final)[:3] == read_sections(draft)
    start, end = program_section(draft).begin, program_section(draft).end
    assert final.read_bytes()[start:end] == program.read_bytes()


def test_extras_survive_unpack_and_pack(program: Path, tokenizer: TokenizerChoice, tmp_path: Path) -> None:
    """With the functions behind `litert-lm unpack` and `litert-lm pack`."""
    packed, folder = tmp_path / "model.litertlm", tmp_path / "unpacked"
    given = {**EXTRAS, 'odd "name"\\.bin': b"odd"}
    pack(packed, program=program, tokenizer=tokenizer, metadata=metadata(), extras=given)
    listing = tomllib.loads(Path(litert_lm_builder.unpack(str(packed), str(folder))).read_text(encoding="utf-8"))
    found = {
        section["additional_metadata"][0]["value"]: (folder / section["data_path"]).read_bytes()
        for section in listing["section"]
        if section["section_type"] == "GenericBinaryData"
    }
    assert found == given
    again = tmp_path / "again.litertlm"
    litert_lm_builder.pack(str(folder / "model.toml"), str(again))
    assert {name: read_binary(again, name) for name in binary_names(again)} == given
    with mapped(again, program_section(again)) as view:
        assert view == program.read_bytes()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak from Linux's /proc")
def test_memory_does_not_grow_with_the_program(tmp_path: Path) -> None:
    large = tmp_path / "large.tflite"
    with large.open("wb") as file:
        file.truncate(300 << 20)
    script = SCRIPT + "\nprint(*(line for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    command = [sys.executable, "-c", script, tmp_path / "model.litertlm", large, SAMPLE]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert int(done.stdout.split()[1]) << 10 < 200 << 20
    assert program_section(tmp_path / "model.litertlm").size == 300 << 20


def test_json_tokenizer_is_compressed_as_the_engine_wants_it(program: Path, tmp_path: Path) -> None:
    state = Tokenizer(models.WordLevel({"a": 0, "<unk>": 1}, unk_token="<unk>")).to_str()
    out = tmp_path / "model.litertlm"
    pack(out, program=program, tokenizer=TokenizerChoice(HF_JSON, state.encode(), "x"), metadata=metadata())
    with mapped(out, find_section(out, HF_JSON)) as view:
        assert int.from_bytes(view[:8], "little") == len(state)
        assert zlib.decompress(view[8:]) == state.encode()


def test_failure_leaves_no_folder_and_no_patch(program: Path, tokenizer: TokenizerChoice, tmp_path: Path) -> None:
    before = litertlm_builder.populate_system_metadata
    with pytest.raises(FileNotFoundError):
        pack(
            tmp_path / "model.litertlm",
            program=tmp_path / "missing.tflite",
            tokenizer=tokenizer,
            metadata=metadata(),
        )
    assert [path.name for path in tmp_path.iterdir()] == [program.name]
    assert litertlm_builder.populate_system_metadata is before


def test_upstream_that_moved_is_said(
    program: Path, tokenizer: TokenizerChoice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(litertlm_builder, "populate_system_metadata")
    with pytest.raises(LackingError, match="populate_system_metadata"):
        pack(tmp_path / "model.litertlm", program=program, tokenizer=tokenizer, metadata=metadata())


def test_upstream_still_writes_the_time_of_day(program: Path, tmp_path: Path) -> None:
    """Fails once the builder lets uuid and time be given: then the patch of `pack` can go."""
    builder = litert_lm_builder.LitertLmFileBuilder()
    for key in ("uuid", "creation_timestamp"):
        builder.add_system_metadata(
            litert_lm_builder.Metadata(key=key, value="x", dtype=litert_lm_builder.DType.STRING)
        )
    builder.add_tflite_model(str(program), litert_lm_builder.TfLiteModelType.PREFILL_DECODE)
    with (tmp_path / "x").open("wb") as file:
        builder.build(file)
    assert "x" not in read_header(tmp_path / "x").system.values()


def test_engine_runs_it_and_passes_over_the_extras(echo: Path, tokenizer: TokenizerChoice, tmp_path: Path) -> None:
    out = tmp_path / "model.litertlm"
    pack(out, program=echo, tokenizer=tokenizer, metadata=metadata(), extras=EXTRAS)
    engine = open_engine(out)
    text = "🙂\n🙂🙂 日本語\n  and  <|turn> x"
    ids = Tokenizer.from_file(str(SAMPLE / "tokenizer.json")).encode(text, add_special_tokens=False).ids
    assert engine.tokenize(text) == ids
    assert engine.detokenize(ids) == text
    session = engine.create_session(apply_prompt_template=False, sampler_config=greedy(), max_output_tokens=len(ids))
    session.run_prefill([text])
    assert session.run_decode().texts == [text]  # of bytes, and no "Stable text shrunk"
