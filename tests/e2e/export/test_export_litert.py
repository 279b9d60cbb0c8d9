"""The sample for both runtimes in one command: what comes out for LiteRT, what other commands do with it, and flags."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gemcut
import jsonschema
import pytest
from gemcut.bundle.manifest import SCHEMA_FILE
from gemcut.bundle.reader import open_bundle
from gemcut.formats.litertlm import extract, mapped, program_section, read_binary, read_sections
from gemcut.prompt.toolcalls import ToolCall, parse_tool_calls

from tests.support.exports import Exported

Run = Callable[..., Any]
Here = Callable[..., Any]
GOLDENS = ("goldens/goldens.jsonl", "goldens/goldens.safetensors")
CONTEXT = 256  # of the tiny checkpoint
RECORDED = ("goldens/recorded.jsonl", "goldens/recorded.safetensors")
STAGES = (
    "Opening the checkpoint",
    "Loading the float model",
    "Running the float model on the golden prompts",
    "Compiling the chat template",
    "Calibrating on text",
    "Quantizing: int4",
    "Tracing",
    "Lowering for ExecuTorch",
    "Converting for LiteRT",
    "Quantizing: int4",
    "Packing for executorch",
    "Proving the packed executorch bundle",
    "Measuring its speed on this host",
    "Packing for litert",
    "Proving the packed litert bundle",
    "Asking LiteRT-LM's engine for the same",
    "Measuring its speed on this host",
    "Sealing",
    "Publishing",
)


@dataclass(frozen=True)
class Zipped:
    """The sample for LiteRT alone as a zip, with the plain program: its file, and what stayed in TMPDIR."""

    path: Path
    temporary: tuple[str, ...]


def schema(name: str) -> Any:
    return json.loads((Path(gemcut.__file__).parent / "schemas" / f"{name}.schema.json").read_text())


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture(scope="module")
def document(sample_both: tuple[Exported, ...]) -> dict[str, Any]:
    """What the command that made both bundles says as JSON."""
    return sample_both[0].result


@pytest.fixture(scope="module")
def bundle(sample_litert: Exported) -> Path:
    """The bundle for LiteRT; no test may change it."""
    return sample_litert.path


@pytest.fixture(scope="module")
def zipped(tmp_path_factory: pytest.TempPathFactory, run: Run) -> Zipped:
    """Made in another process than ``bundle``, converted anew, and elsewhere."""
    place, temporary = tmp_path_factory.mktemp("place"), tmp_path_factory.mktemp("temporary")
    out, cache = place / "sample.gemcut", tmp_path_factory.mktemp("empty") / "cache"
    words = ("export", "--target", "android-arm64", "--runtime", "litert", "--plain-tflite", "--format", "zip")
    others = {"PYTHONHASHSEED": "2", "TZ": "Asia/Kolkata", "TMPDIR": str(temporary), "GEMCUT_CACHE": str(cache)}
    done = run(*words, "-o", out, cwd=place, **others)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in place.iterdir()] == [out.name]
    assert len(list((cache / "litert-skeletons").iterdir())) == 1
    return Zipped(out, tuple(str(path.relative_to(temporary)) for path in temporary.rglob("*")))


@pytest.fixture(scope="module")
def manifest(bundle: Path) -> dict[str, Any]:
    return json.loads((bundle / "manifest.json").read_text())


@pytest.fixture(scope="module")
def program(bundle: Path) -> Path:
    return bundle / "model.litertlm"


def entry(document: dict[str, Any], runtime: str) -> dict[str, Any]:
    return next(each for each in document["bundles"] if each["runtime"] == runtime)


def test_one_command_makes_and_proves_a_bundle_for_each_runtime(
    sample_both: tuple[Exported, ...], document: dict[str, Any]
) -> None:
    jsonschema.validate(document, schema("export"))
    names = ["sample-android-arm64-executorch", "sample-android-arm64-litert"]
    folder = sample_both[0].path.parent
    assert sorted(path.name for path in folder.iterdir()) == names
    assert [Path(each["bundle"]) for each in document["bundles"]] == [folder / name for name in names]
    for each in document["bundles"]:
        assert each["proven"] is True
        files = [path for path in Path(each["bundle"]).rglob("*") if path.is_file()]
        assert each["size"] == sum(path.stat().st_size for path in files)
        assert each["fidelity"]["prompts"] >= 24
        assert each["behaviour"]["tool_calls"] >= 0.9
        assert set(each["speed"]) == {"prefill", "decode"}
        assert min(each["speed"].values()) > 0
    engine = {"engine_tokens": 1.0, "engine_template": 1.0, "engine_text": 1.0}
    assert engine.items() <= entry(document, "litert")["behaviour"]["rates"].items()
    assert not engine.keys() & entry(document, "executorch")["behaviour"]["rates"].keys()
    assert {"convert", "quantize", "lower", "prove"} <= document["seconds"].keys()


def test_only_our_own_words_reach_the_user(sample_litert: Exported) -> None:
    said = [line.partition(": ")[0] if "%" in line else line for line in sample_litert.stderr.splitlines()]
    stages = [line for line, before in zip(said, ["", *said], strict=False) if line != before]
    assert [line for line in stages if not line.startswith("note: ")] == list(STAGES)


def test_nothing_is_left_in_the_temporary_folder(zipped: Zipped) -> None:
    assert list(zipped.temporary) == []


def test_both_have_one_set_of_goldens(sample_both: tuple[Exported, ...]) -> None:
    executorch, litert = sample_both
    with open_bundle(executorch.path) as one, open_bundle(litert.path) as other:
        for name in (*GOLDENS, "tokenizer.json", "chat_template.jinja", "generation_config.json"):
            assert one.read(name) == other.read(name)
        assert one.manifest.model == other.manifest.model
        assert one.manifest.gate == other.manifest.gate
        assert one.manifest.recipe == other.manifest.recipe


def test_the_bundle_holds_what_a_bundle_holds(bundle: Path, manifest: dict[str, Any]) -> None:
    present = {str(path.relative_to(bundle)) for path in bundle.rglob("*") if path.is_file()}
    assert present == {
        "manifest.json",
        "manifest.sha256",
        "model.litertlm",
        "tokenizer.json",
        "tokenizer.model",
        "tokenizer_config.json",
        "config.json",
        "chat_template.jinja",
        "prompt.json",
        "generation_config.json",
        *GOLDENS,
        *RECORDED,
        "LICENSE",
        "NOTICE",
        "README.md",
    }
    jsonschema.validate(manifest, json.loads(SCHEMA_FILE.read_text()))
    assert (manifest["program"], manifest["runtime"]["name"]) == ("model.litertlm", "litert")
    assert (manifest["context"], manifest["prefill_chunk"]) == (2048, 128)
    assert manifest["delegates"].keys() == {"XNNPACK"}
    assert manifest["delegate_coverage"] == 1.0
    assert {"litert-torch", "litert-converter", "ai-edge-litert"} <= manifest["libraries"].keys()
    assert manifest["tensors"]["head"]["schemes"] == {"int8, int8-dynamic": 1}
    assert manifest["tensors"]["embedding"]["schemes"] == {"int8": 1}
    assert str(Path.home()) not in json.dumps(manifest)


def test_manifest_and_goldens_survive_unpacking_by_litert_lm(bundle: Path, program: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "litert_lm_cli.main", "unpack", str(program), "--output-dir", str(tmp_path / "out")]
    subprocess.run(words, check=True, capture_output=True, env={"HOME": str(tmp_path / "home")})
    described = tomllib.loads((tmp_path / "out" / "model.toml").read_text())
    files = {
        entry["additional_metadata"][0]["value"]: (tmp_path / "out" / entry["data_path"]).read_bytes()
        for entry in described["section"]
        if entry["section_type"] == "GenericBinaryData"
    }
    assert files.keys() == {"manifest.json", *GOLDENS, *RECORDED}
    for name in (*GOLDENS, *RECORDED):
        assert files[name] == (bundle / name).read_bytes()
    assert files["manifest.json"] == read_binary(program, "manifest.json")


def test_the_manifest_inside_is_the_one_outside_but_for_its_own_container(
    program: Path, manifest: dict[str, Any]
) -> None:
    inside = json.loads(read_binary(program, "manifest.json"))
    jsonschema.validate(inside, json.loads(SCHEMA_FILE.read_text()))
    assert inside["proven"] is True
    files = {name: record for name, record in manifest["files"].items() if name != "model.litertlm"}
    assert inside == {**manifest, "files": files}


def test_the_plain_program_is_the_container_s(zipped: Zipped, program: Path) -> None:
    with mapped(program, program_section(program)) as inside, open_bundle(zipped.path) as opened:
        assert inside == opened.read("model.tflite")
    assert [section.kind for section in read_sections(program) if section.runs] == [
        "LlmMetadataProto",
        "SP_Tokenizer",
        "TFLiteModel",
    ]


def test_it_is_proven_again_anywhere(zipped: Zipped, sample_litert: Exported, tmp_path: Path, run: Run) -> None:
    work, temporary = tmp_path / "elsewhere", tmp_path / "temporary"
    work.mkdir()
    temporary.mkdir()
    path = Path(shutil.copyfile(zipped.path, work / "renamed.gemcut"))
    done = run("validate", path, "--json", cwd=work, TMPDIR=str(temporary), GEMCUT_CACHE=str(tmp_path / "none"))
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    jsonschema.validate(document, schema("validate"))
    assert document["passed"] is document["proven"] is True
    found = document["here"]
    assert found["violations"] == found["failures"] == []
    assert found["positions"] == entry(sample_litert.result, "litert")["fidelity"]["positions"]
    assert {name: found["behaviour"][name] for name in ("engine_tokens", "engine_template", "engine_text")} == {
        "engine_tokens": 1.0,
        "engine_template": 1.0,
        "engine_text": 1.0,
    }
    assert [path.name for path in work.iterdir()] == ["renamed.gemcut"]
    assert not list(temporary.iterdir())
    assert not (tmp_path / "none").exists()


def test_inspect_shows_sections_signatures_and_quantization(bundle: Path, manifest: dict[str, Any], here: Here) -> None:
    said = here("inspect", bundle, "--json")
    document = json.loads(said.out)
    jsonschema.validate(document, schema("inspect"))
    assert document["manifest"] == manifest
    sections = document["layout"]["section"]
    assert [(row["section"], row["name"]) for row in sections] == [
        ("LlmMetadataProto", ""),
        ("SP_Tokenizer", ""),
        ("TFLiteModel", "tf_lite_prefill_decode"),
        *(("GenericBinaryData", name) for name in sorted((*GOLDENS, *RECORDED, "manifest.json"))),
    ]
    container = bundle / "model.litertlm"
    with mapped(container, program_section(container)) as inside:
        assert sections[2]["bytes"] == f"{len(inside):,}"
    signatures = {row["signature"]: row for row in document["layout"]["signature"]}
    assert list(signatures) == ["decode", "prefill_16", "prefill_128"]
    assert "logits float32 [1, 1, 2048]" in signatures["decode"]["outputs"]
    assert "tokens int32 [1, 128]" in signatures["prefill_128"]["inputs"]
    assert document["oldest_runtime"] == "0.11.0"
    shown = here("inspect", bundle, "--all").out
    for word in (
        "LlmMetadataProto",
        "goldens/recorded.jsonl",
        "prefill_128",
        "logits float32 [1, 1, 2048]",
        "XNNPACK",
        "int4 by 32, int8-dynamic",
        "embedding",
        "model.litertlm",
        "litert 0.18",
    ):
        assert word in shown


def test_bench_measures_the_engine(bundle: Path, here: Here) -> None:
    before = sorted((path, path.stat().st_mtime_ns) for path in bundle.rglob("*"))
    said = here("bench", bundle, "--prompt", 100, "--prompt", 2047, "--runs", 1, "--threads", 1, "--json")
    assert said.code == 0, said.err
    found = json.loads(said.out)
    jsonschema.validate(found, schema("bench"))
    (measured,) = found["bundles"]
    assert (found["runs"], measured["threads"], measured["proven"]) == (1, 1, True)
    assert [test["test"] for test in measured["tests"]] == ["pp100", "pp2047", "tg64"]
    for figure in (measured["load"], *(test["tokens_per_second"] for test in measured["tests"])):
        assert figure["mean"] > 0
        assert figure["sd"] is None
    program = (bundle / "model.litertlm").stat().st_size
    assert program < measured["peak_memory"]["mean"] < measured["memory_before"]["mean"], "not Python's"
    assert measured["written"] > 0
    assert sorted((path, path.stat().st_mtime_ns) for path in bundle.rglob("*")) == before
    shown = here("bench", bundle, "--prompt", 2048)
    assert shown.code == 2
    assert "leaves only 2047" in shown.err


def test_chat_answers_with_a_tool_call(bundle: Path, tmp_path: Path, here: Here) -> None:
    golden = json.loads((bundle / "goldens/goldens.jsonl").read_text().splitlines()[0])
    tools = tmp_path / "tools.json"
    tools.write_text(json.dumps(golden["tools"]))
    said = here("chat", bundle, "--prompt", golden["messages"][0]["content"], "--tools", tools, "--json")
    assert said.code == 0, said.err
    document = json.loads(said.out)
    jsonschema.validate(document, schema("chat"))
    (turn,) = document["turns"]
    assert turn["reply"] == golden["greedy_text"]
    assert parse_tool_calls(turn["reply"]) == [ToolCall("add_reminder", {"text": "buy tomatoes", "time": "08:45"})]
    assert (turn["ended"], turn["fed"]) == ("stop", golden["prompt_length"])


def test_two_exports_of_the_same_inputs_are_the_same_bytes(sample_litert: Exported, zipped: Zipped) -> None:
    with open_bundle(sample_litert.path) as one, open_bundle(zipped.path) as other:
        plain = other.manifest.files["model.tflite"]
        assert sha256(other.read("model.tflite")) == plain.sha256
        assert other.manifest.files.keys() - one.manifest.files.keys() == {"model.tflite"}
        for name in sorted(one.manifest.files.keys() - {"README.md", "model.litertlm"}):
            assert sha256(one.read(name)) == sha256(other.read(name)), name
    with mapped(
        sample_litert.path / "model.litertlm", program_section(sample_litert.path / "model.litertlm")
    ) as inside:
        assert sha256(bytes(inside)) == plain.sha256


def test_the_container_says_neither_when_nor_where_it_was_made(program: Path, tmp_path: Path) -> None:
    for section in read_sections(program):
        extract(program, section, tmp_path / "section")
        data = (tmp_path / "section").read_bytes()
        for place in (Path.home(), Path(gemcut.__file__).parent, Path(sys.prefix)):
            assert str(place).encode() not in data, section.kind
    assert b"1970-01-01T00:00:00+00:00" in program.read_bytes()[:16384]


# Flags, on a tiny checkpoint.


@pytest.mark.parametrize(
    ("runtime", "flags", "code", "words"),
    [
        ("executorch", ["--plain-tflite"], 2, ["--plain-tflite", "add litert to --runtime"]),
        ("litert", ["--prefill-lengths", "0"], 2, ["--prefill-lengths '0'"]),
        ("litert", ["--prefill-lengths", "eight"], 2, ["--prefill-lengths 'eight'", "16,128"]),
        ("litert", ["--prefill-lengths", "8,8"], 2, ["--prefill-lengths '8,8'", "each number of tokens once"]),
        ("litert", ["--prefill-lengths", ""], 2, ["--prefill-lengths ''"]),
        ("litert", ["--prefill-lengths", "8,257"], 2, ["--prefill-lengths 257", "1 to 256 tokens"]),
        ("executorch", ["--prefill-lengths", "257"], 2, ["--prefill-lengths 257", "1 to 256 tokens"]),
        ("executorch", ["--prefill-lengths", "8,32"], 2, ["--prefill-lengths 8,32", "Use --prefill-lengths 32"]),
        ("executorch,litert", ["--prefill-lengths", "8,32"], 2, ["ExecuTorch", "Use --prefill-lengths 32"]),
        ("litert", ["--context", "257"], 2, ["257", "longer than the model's 256", "--context 256"]),
        ("litert", ["--context", "8"], 2, ["too short"]),
        ("litert,litert", [], 2, ["--runtime 'litert,litert'", "name each runtime once"]),
        ("litert,", [], 2, ["--runtime 'litert,'"]),
        ("litert-lm", [], 4, ["unknown runtime 'litert-lm'", "did you mean 'litert'"]),
        ("litert,executorhc", [], 4, ["did you mean 'executorch'"]),
    ],
)
def test_a_flag_that_cannot_be_taken(
    runtime: str, flags: list[str], code: int, words: list[str], tiny: Path, tmp_path: Path, here: Here
) -> None:
    context = [] if "--context" in flags else ["--context", CONTEXT]
    out = tmp_path / "out" / "bundle"
    said = here("export", tiny, "--target", "linux-x86_64", "--runtime", runtime, *context, *flags, "-o", out)
    assert said.code == code, said.err
    for word in words:
        assert word in " ".join(said.err.split())
    assert "Loading the float model" not in said.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("runtime", "lengths", "prefill"),
    [
        ("litert", (), (16, 128)),
        ("litert", (4, 200), (4, 200)),
        ("executorch", (), (128,)),
        ("executorch", (64,), (64,)),
    ],
)
def test_each_runtime_takes_its_own_lengths(
    runtime: str, lengths: tuple[int, ...], prefill: tuple[int, ...], tiny: Path, tmp_path: Path
) -> None:
    """The flag's, else the target's for that runtime; the cache has room for them."""
    from gemcut.pipeline.plan import make_plans
    from gemcut.pipeline.request import ExportRequest

    request = ExportRequest(
        model=str(tiny), runtimes=(runtime,), context=CONTEXT, prefill_lengths=lengths, output=tmp_path / "bundle"
    )
    (plan,) = make_plans(request)
    assert plan.shape.prefill == prefill
    assert plan.cache.chunk == prefill[-1]
    assert plan.cache.context == CONTEXT + (prefill[0] - 1 if runtime == "litert" else 0)
    assert plan.output == tmp_path / "bundle"


def test_a_dynamic_shape_takes_prompts_of_any_length(tiny: Path, tmp_path: Path, run: Run, here: Here) -> None:
    out = tmp_path / "bundle"
    words = ("export", tiny, "--target", "linux-x86_64", "--runtime", "litert", "--recipe", "float32")
    done = run(*words, "--dynamic-shape", "--context", CONTEXT, "-o", out, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    layout = json.loads(here("inspect", out, "--json").out)["layout"]["signature"]
    assert [row["signature"] for row in layout] == ["decode", "prefill"]
    assert "tokens int32 [1, any]" in layout[1]["inputs"]
    assert "mask float32 [1, 1, any, any]" in layout[1]["inputs"]
    assert here("validate", out).code == 0
    assert here("chat", out, "--prompt", "hello", "--max-new-tokens", 3).code == 0
