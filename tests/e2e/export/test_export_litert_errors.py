"""LiteRT exports that fail or are cut off, and bundles that were damaged."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from gemcut.bundle.reader import open_bundle
from gemcut.bundle.staging import Staging
from gemcut.formats.litertlm import BINARY, LLM_METADATA, PROGRAM, find_section, mapped, program_section, read_sections

from tests.support.exports import kept, lock_of
from tests.support.files import small_disk

Run = Callable[..., Any]
Here = Callable[..., Any]
CONTEXT = 256
WORDS = ("--target", "linux-x86_64", "--runtime", "litert", "--context", CONTEXT, "--prefill-lengths", "8,32")
CLOSED = """
description = "int8, of which not a thousandth of a nat is forgiven"

[schemes.rows]
weight = "int8"

[schemes.linear]
weight = "int8"
activation = "int8-dynamic"

[[rules]]
match = 'model\\.embed_tokens'
scheme = "rows"
reason = "A test's."

[[rules]]
match = '.*'
scheme = "linear"
reason = "A test's."

[gate]
mean_kl = 0.0
reason = "Nothing quantized gets through."
"""


@dataclass(frozen=True)
class Exported:
    """A proven float32 bundle of the tiny checkpoint, and the cache that its skeleton went to."""

    path: Path
    cache: Path
    seconds: dict[str, float]

    def skeletons(self) -> dict[str, bytes]:
        folder = self.cache / "litert-skeletons"
        return {path.name: path.read_bytes() for path in folder.iterdir()}


def left_in(folder: Path) -> list[str]:
    """What stayed in a temporary folder."""
    return [path.name for path in folder.iterdir()]


@pytest.fixture(scope="module")
def exported(tiny: Path, tmp_path_factory: pytest.TempPathFactory, run: Run) -> Exported:
    words = ("export", tiny, *WORDS, "--recipe", "float32", "--plain-tflite", "--json")
    folder = kept("litert-and-its-cache", *words)
    place, cache, said = folder / "place", folder / "cache", folder / "said.json"
    with lock_of(folder):
        if not said.is_file():
            shutil.rmtree(folder, ignore_errors=True)
            place.mkdir(parents=True)
            done = run(*words, "-o", place / "bundle", cwd=place, GEMCUT_CACHE=str(cache))
            assert done.returncode == 0, done.stdout + done.stderr
            said.write_text(done.stdout)
    assert [path.name for path in place.iterdir()] == ["bundle"]
    own = shutil.copytree(cache, tmp_path_factory.mktemp("cache") / "cache")  # other tests add to it
    return Exported(place / "bundle", own, json.loads(said.read_text())["seconds"])


@pytest.fixture
def temporary(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """TMPDIR, of this process too."""
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def copy(exported: Exported, tmp_path: Path) -> Path:
    """The bundle, to be damaged."""
    return Path(shutil.copytree(exported.path, tmp_path / "bundle"))


def test_the_flags_that_were_given_are_in_the_program(exported: Exported, here: Here) -> None:
    from litert_lm_builder.runtime.proto import llm_metadata_pb2

    program = exported.path / "model.litertlm"
    found = json.loads(here("inspect", exported.path, "--json").out)
    assert (found["manifest"]["context"], found["manifest"]["prefill_chunk"]) == (CONTEXT, 32)
    assert [row["signature"] for row in found["layout"]["signature"]] == ["decode", "prefill_8", "prefill_32"]
    with mapped(program, find_section(program, LLM_METADATA)) as data:
        assert llm_metadata_pb2.LlmMetadata.FromString(bytes(data)).max_num_tokens == CONTEXT
    assert (exported.path / "model.tflite").is_file()


# Bundles whose bytes changed.


def test_one_flipped_byte_in_any_section_or_the_header(copy: Path, here: Here, temporary: Path) -> None:
    program = copy / "model.litertlm"
    data = program.read_bytes()
    places = {"header": [0, 8, 24, 40, 200]}
    for index, section in enumerate(read_sections(program)):
        places[f"{index} {section.kind}"] = [section.begin, section.begin + section.size // 2, section.end - 1]
    assert len(places) >= 9
    for where, offsets in places.items():
        for at in offsets:
            program.write_bytes(data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :])
            said = here("validate", copy)
            assert said.code == 6, f"{where}, byte {at}: {said.err}"
            assert "model.litertlm was changed or swapped" in said.err
            assert "hint: " in said.err
            assert "Running the goldens" not in said.err
    assert left_in(temporary) == []


@pytest.mark.parametrize("name", ["model.litertlm", "model.tflite", "tokenizer.json", "goldens/recorded.jsonl"])
@pytest.mark.parametrize("command", ["validate", "chat", "bench"])
def test_a_missing_file(name: str, command: str, copy: Path, here: Here) -> None:
    (copy / name).unlink()
    said = here(command, copy, *(["--prompt", "hi"] if command == "chat" else []))
    assert said.code == 6
    assert f"{name} is missing" in said.err
    assert said.out == ""


def repack(source: Path, out: Path, program: bytes) -> Path:
    """The bundle with another program and hashes that fit it: what whoever can write the manifest can do."""
    with open_bundle(source) as opened, Staging(out, "dir") as staging:
        for name in opened.manifest.files:
            staging.add(name, program if name == opened.manifest.program else opened.read(name))
        staging.publish(opened.manifest)
    return out


def forged(exported: Exported, out: Path, kind: str, change: Callable[[bytes], bytes]) -> Path:
    """The bundle whose section of a kind was changed in place, to the same length, with hashes that fit."""
    program = exported.path / "model.litertlm"
    data, section = program.read_bytes(), find_section(program, kind)
    content = change(data[section.begin : section.end])
    assert len(content) == section.size
    return repack(exported.path, out, data[: section.begin] + content + data[section.end :])


def zeroed(begin: float, count: int) -> Callable[[bytes], bytes]:
    """Zeros from a share of a section's length on."""

    def change(data: bytes) -> bytes:
        at = int(len(data) * begin)
        return data[:at] + bytes(count) + data[at + count :]

    return change


@pytest.mark.parametrize("command", ["validate", "bench", "chat"])
def test_a_broken_program_with_hashes_that_fit(
    command: str, exported: Exported, tmp_path: Path, here: Here, temporary: Path
) -> None:
    """bench is the engine alone: what it keeps to itself is said all the same."""
    bundle = forged(exported, tmp_path / "bundle", PROGRAM, zeroed(0, 4096))
    said = here(command, bundle, *{"bench": ["--runs", 1], "chat": ["--prompt", "hi"]}.get(command, []))
    assert said.code == 6, said.err
    assert said.out == ""
    problem = said.err[said.err.index("error: ") :]
    who = "LiteRT-LM refuses" if command == "bench" else "LiteRT refuses"
    assert f"{who} model.litertlm: " in problem
    assert len(problem.partition("model.litertlm: ")[2].split("hint: ")[0].strip()) > 20
    assert "hint: " in problem
    assert left_in(temporary) == []
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_a_broken_tokenizer_is_told_in_the_engine_s_own_words(
    exported: Exported, tmp_path: Path, here: Here, temporary: Path
) -> None:
    """The Interpreter and the identity tokenizer never see it; the engine's exception says only that it failed."""
    program = exported.path / "model.litertlm"
    kind = next(section.kind for section in read_sections(program) if "Tokenizer" in section.kind)
    bundle = forged(exported, tmp_path / "bundle", kind, lambda data: data[:8] + b"\xff" * (len(data) - 8))
    said = here("validate", bundle)
    assert said.code == 6, said.err
    problem = said.err[said.err.index("error: ") :]
    assert "LiteRT-LM refuses model.litertlm: " in problem
    assert any(word in problem.lower() for word in ("token", "decompress", "parse", "inflate", "zlib")), problem
    assert left_in(temporary) == []


def test_broken_metadata_is_told(exported: Exported, tmp_path: Path, here: Here) -> None:
    said = here("validate", forged(exported, tmp_path / "bundle", LLM_METADATA, lambda data: b"\xff" * len(data)))
    assert said.code == 6
    assert "LlmMetadata" in said.err


def test_another_template_in_the_container_fails_the_gate(exported: Exported, tmp_path: Path, here: Here) -> None:
    """No hash tells, and the Interpreter's leg passes: the engine's own prompts do."""
    bundle = forged(
        exported, tmp_path / "bundle", LLM_METADATA, lambda data: data.replace(b"start_of_turn>", b"start_of_tune>")
    )
    said = here("validate", bundle)
    assert said.code == 5, said.err
    assert "engine_template" in said.err
    assert "NOT proven on this machine" in said.out


@pytest.mark.parametrize("begin", [0.3, 0.6, 0.9])
def test_changed_weights_with_hashes_that_fit(begin: float, exported: Exported, tmp_path: Path, here: Here) -> None:
    said = here("validate", forged(exported, tmp_path / "bundle", PROGRAM, zeroed(begin, 4096)))
    assert said.code in (5, 6), said.err
    assert "failed: " in said.err or "error: " in said.err
    assert "\nproven on this machine" not in said.out


def test_a_truncated_container_with_hashes_that_fit(exported: Exported, tmp_path: Path, here: Here) -> None:
    data = (exported.path / "model.litertlm").read_bytes()
    for index, size in enumerate((0, 20, 20_000, len(data) // 2, len(data) - 1)):
        bundle = repack(exported.path, tmp_path / f"bundle{index}", data[:size])
        for command in ("validate", "inspect"):
            said = here(command, bundle)
            assert said.code == 6, f"{command}, {size} bytes: {said.err}"
            assert "model.litertlm" in said.err


# Exports that end badly.


@dataclass(frozen=True)
class Failed:
    """An export that its gate held back: the folder it ran in and its TMPDIR, and what it said."""

    place: Path
    temporary: Path
    done: Any


@pytest.fixture(scope="module")
def failed(exported: Exported, tiny: Path, tmp_path_factory: pytest.TempPathFactory, run: Run) -> Failed:
    place, temporary = tmp_path_factory.mktemp("failed"), tmp_path_factory.mktemp("temporary")
    recipe = tmp_path_factory.mktemp("recipe") / "closed.toml"
    recipe.write_text(CLOSED)
    words = ("export", tiny, *WORDS, "--recipe", recipe, "-o", place / "deeper" / "bundle", "--json")
    done = run(*words, cwd=place, TMPDIR=str(temporary), GEMCUT_CACHE=str(exported.cache))
    return Failed(place, temporary, done)


def test_a_failed_gate_publishes_nothing_and_leaves_nothing(failed: Failed) -> None:
    assert failed.done.returncode == 5, failed.done.stderr
    assert "the litert bundle failed its gate, nothing was published" in failed.done.stderr
    assert "mean_kl" in failed.done.stderr
    assert json.loads(failed.done.stdout)["error"]["kind"] == "GateFailed"
    assert list(failed.place.iterdir()) == []
    assert left_in(failed.temporary) == []


def test_a_second_recipe_of_a_model_is_not_converted_again(exported: Exported, failed: Failed) -> None:
    assert failed.done.returncode == 5
    assert "Converting for LiteRT: " not in failed.done.stderr, "no step of a conversion was told of"
    assert len(exported.skeletons()) == 1
    assert {"convert", "quantize"} <= exported.seconds.keys()


def ours(temporary: Path) -> list[int]:
    """Processes that were started with this TMPDIR, and still run."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if f"TMPDIR={temporary}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


@pytest.mark.parametrize("stage", ["Converting for LiteRT", "Proving the packed litert bundle"])
def test_a_signal(
    stage: str, exported: Exported, tiny: Path, tmp_path: Path, begin: Callable[..., subprocess.Popen[str]]
) -> None:
    place, temporary, cache = tmp_path / "place", tmp_path / "temporary", tmp_path / "cache"
    place.mkdir()
    temporary.mkdir()
    cache = cache if stage.startswith("Converting") else exported.cache
    out = place / "deeper" / "bundle"
    words = ("export", tiny, *WORDS, "--recipe", "float32", "-o", out)
    process = begin(*words, cwd=place, TMPDIR=str(temporary), GEMCUT_CACHE=str(cache))
    assert process.stderr
    said = []
    for line in process.stderr:
        said.append(line)
        if line.startswith(stage):
            assert list(out.parent.glob(".bundle.partial-*")), "nothing was under way"
            process.send_signal(signal.SIGINT)
            break
    stdout, rest = process.communicate(timeout=240)
    assert process.returncode == 130, "".join(said) + rest
    assert "error: interrupted, nothing was published" in rest
    assert "Traceback" not in rest
    assert stdout == ""
    assert list(place.iterdir()) == []
    assert left_in(temporary) == []
    assert ours(temporary) == []
    if stage.startswith("Converting"):
        kept = [path.relative_to(cache).parts[0] for path in cache.rglob("*") if path.is_file()]
        assert set(kept) <= {"references"}, "only what was whole is kept"


def test_a_full_disk(tiny: Path, tmp_path: Path, temporary: Path, run: Run) -> None:
    """Where LiteRT-LM writes its weight cache; in other stages, with the fake runtime: tests/unit/pipeline."""
    disk = tmp_path / "disk"
    words = ("export", tiny, "--target", "linux-x86_64", "--runtime", "litert", "--recipe", "float32")
    with small_disk(disk, "6900k"):
        done = run(
            *words, "--context", CONTEXT, "--format", "zip", "--fresh", "-o", disk / "bundle.gemcut", cwd=tmp_path
        )
        assert done.returncode == 8, done.stderr
        said = [line for line in done.stderr.splitlines() if not line.startswith(("error: ", "hint: "))]
        assert said[-1].startswith(("Proving the packed litert bundle", "Asking LiteRT-LM", "Measuring its speed"))
        assert "error: the disk is full" in done.stderr
        assert list(disk.iterdir()) == []
    assert [path.name for path in tmp_path.iterdir()] == ["disk"]
    assert left_in(temporary) == []


@pytest.mark.parametrize("form", ["dir", "zip"])
def test_several_runtimes_share_a_folder_and_none_is_overwritten(
    form: str, exported: Exported, tiny: Path, tmp_path: Path, here: Here
) -> None:
    from gemcut.pipeline.plan import make_plans
    from gemcut.pipeline.request import ExportRequest

    runtimes, ending = ("executorch", "litert"), ".gemcut" if form == "zip" else ""
    names = [f"tiny-android-arm64-{runtime}{ending}" for runtime in runtimes]
    request = ExportRequest(model=str(tiny), runtimes=runtimes, context=CONTEXT, format=form, output=tmp_path)  # type: ignore[arg-type]
    assert [plan.output for plan in make_plans(request)] == [tmp_path / name for name in names]
    there = tmp_path / names[1]
    shutil.copytree(exported.path, there)
    words = ("export", tiny, "--target", "android-arm64", "--runtime", "executorch,litert", "--context", CONTEXT)
    said = here(*words, "--format", form, "-o", tmp_path)
    assert said.code == 2
    assert f"{there} already holds a bundle" in " ".join(said.err.split()) or "exists" in said.err
    assert "Loading the float model" not in said.err
    assert [path.name for path in tmp_path.iterdir()] == [names[1]]


def test_damage_of_the_sections_that_nothing_runs_is_found_by_the_hash_alone(
    exported: Exported, tmp_path: Path, here: Here
) -> None:
    """What runs is proven by running it; the copies of manifest and goldens inside by the container's hash."""
    program = exported.path / "model.litertlm"
    data = program.read_bytes()
    inside = [section for section in read_sections(program) if section.kind == BINARY]
    assert {section.name for section in inside} >= {"manifest.json", "goldens/goldens.jsonl"}
    assert inside[0].begin > program_section(program).end
    bundle = Path(shutil.copytree(exported.path, tmp_path / "bundle"))
    at = inside[-1].begin
    (bundle / "model.litertlm").write_bytes(data[:at] + b"#" + data[at + 1 :])
    assert here("validate", bundle).code == 6
    assert os.path.getsize(bundle / "model.litertlm") == len(data)
