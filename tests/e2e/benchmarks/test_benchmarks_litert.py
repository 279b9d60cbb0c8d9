"""benchmarks.litert: that what it compares is what it says, and that it goes on where it was interrupted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from gemcut.bundle.reader import open_bundle
from gemcut.errors import ConformanceError, UsageError
from gemcut.runtimes.runs import Job, Run
from gemcut.util.progress import Silent

ROOT = Path(__file__).resolve().parents[3]

from benchmarks import litert, litert_runs, litert_steps, litert_upstream, models  # noqa: E402
from benchmarks.common import BenchmarkError, figure  # noqa: E402
from benchmarks.litert_upstream import Lengths, export_upstream, lengths_of, tensorflow_stub  # noqa: E402

SCHEMA = "tensorflow.lite.python.schema_py_generated"


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random two-layer Gemma 3."""
    from gemcut.checkpoint.random import random_checkpoint

    return random_checkpoint(tmp_path_factory.mktemp("tiny") / "tiny", models.tiny())


def child(code: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Python code in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **env}, capture_output=True, text=True, check=False
    )


def benchmark(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command, from the repository's root."""
    words = [sys.executable, "-m", "benchmarks.litert", *map(str, arguments)]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)


# Upstream's side


def test_upstreams_undeclared_import_works_in_a_child_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "mine.py").write_text("here = True\n")
    with tensorflow_stub() as env:
        folder = Path(env["PYTHONPATH"].split(os.pathsep)[0])
        done = child(f"import {SCHEMA} as s, mine; print(s.ModelT.__name__, mine.here, s.__file__)", env)
        assert done.stdout.split()[:2] == ["ModelT", "True"], done.stderr
        assert str(folder) in done.stdout
        assert str(folder) not in sys.path
        assert "tensorflow" not in sys.modules
    assert not folder.exists()


def test_an_installed_tensorflow_is_not_shadowed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = tmp_path / "tensorflow"
    package.mkdir()
    (package / "__init__.py").write_text("__version__ = 'mine'\n")
    monkeypatch.syspath_prepend(tmp_path)
    with tensorflow_stub() as env:
        assert env == {}


def test_a_folder_named_tensorflow_is_no_tensorflow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "tensorflow").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    with tensorflow_stub() as env:
        done = child(f"import {SCHEMA} as s; print(s.ModelT.__name__)", env)
    assert done.stdout.strip() == "ModelT", done.stderr


def write_litertlm(path: Path, prefill: tuple[int, ...], cache: int, model_type: str) -> Path:
    """A ``.litertlm`` whose program has signatures of these lengths, and no operators."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema
    from litert_lm_builder import litertlm_builder

    model = schema.ModelT()
    model.version = 3
    model.buffers = [schema.BufferT()]
    model.subgraphs, model.signatureDefs = [], []
    for name, length in (*((f"prefill_{n}", n) for n in prefill), ("decode", 1)):
        graph, signature = schema.SubGraphT(), schema.SignatureDefT()
        graph.tensors, signature.inputs = [], []
        for title, shape in (("tokens", [1, length]), ("mask", [1, 1, length, cache])):
            tensor, entry = schema.TensorT(), schema.TensorMapT()
            tensor.name, tensor.shape = title, shape
            entry.name, entry.tensorIndex = title, len(graph.tensors)
            graph.tensors.append(tensor)
            signature.inputs.append(entry)
        signature.signatureKey, signature.subgraphIndex = name, len(model.subgraphs)
        model.subgraphs.append(graph)
        model.signatureDefs.append(signature)
    flat = flatbuffers.Builder()
    flat.Finish(model.Pack(flat), b"TFL3")
    program = path.with_suffix(".tflite")
    program.write_bytes(flat.Output())
    builder = litertlm_builder.LitertLmFileBuilder()
    builder.add_tflite_model(str(program), litertlm_builder.TfLiteModelType(model_type))
    with path.open("wb") as file:
        builder.build(file)
    return path


def test_lengths_are_read_off_the_signatures(tmp_path: Path) -> None:
    file = write_litertlm(tmp_path / "a.litertlm", (512, 128), 2048, "tf_lite_prefill_decode")
    assert lengths_of(file) == Lengths((128, 512), 2048)


def test_a_file_without_a_decoder_has_no_lengths(tmp_path: Path) -> None:
    file = write_litertlm(tmp_path / "a.litertlm", (128,), 2048, "tf_lite_embedder")
    with pytest.raises(ConformanceError, match="tf_lite_prefill_decode"):
        lengths_of(file)


def test_upstream_exports_with_the_lengths_it_is_given(tiny_checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / "model.litertlm"
    out.parent.mkdir()
    found = export_upstream(tiny_checkpoint, out, (64,), 256)
    assert [path.name for path in out.parent.iterdir()] == ["model.litertlm"]
    assert lengths_of(out) == Lengths((64,), 256)
    assert found["recipe"] == "dynamic_wi8_afp32"
    assert found["needed"] == {}
    assert found["peak_memory"] > out.stat().st_size
    assert sum(found["seconds"].values()) < found["wall"]
    work = tmp_path / "work"
    work.mkdir()
    first = litert_runs.first_start(out, 1, work)
    assert first.weight_cache > 0
    run = litert_runs.run_engine(Job("litert", str(out), (32, 100), (16,), 1), work)
    assert min(first.load, run.load, *run.decode, *run.prefill) > 0
    assert not list(work.iterdir())
    assert [path.name for path in out.parent.iterdir()] == ["model.litertlm"], "the weight cache goes elsewhere"


def test_a_failed_upstream_export_leaves_nothing_and_says_why(tmp_path: Path) -> None:
    checkpoint, out = tmp_path / "empty", tmp_path / "out"
    checkpoint.mkdir()
    out.mkdir()
    (checkpoint / "config.json").write_text('{"model_type": "no_such_model"}')
    with pytest.raises(BenchmarkError, match="upstream's export failed"):
        export_upstream(checkpoint, out / "model.litertlm")
    assert not list(out.iterdir())


@pytest.mark.parametrize("kind", sorted(litert_upstream.NEEDED))
def test_what_upstream_needs_is_still_needed(kind: str, tmp_path: Path) -> None:
    """When this fails upstream has mended it: take the entry out of NEEDED."""
    checkpoint = litert_runs.sample_checkpoint()
    assert json.loads((checkpoint / "config.json").read_text())["model_type"] == kind
    code = "import sys; from litert_torch.generative.export_hf.export import export; export(*sys.argv[1:])"
    with tensorflow_stub() as env:
        words = [sys.executable, "-c", code, str(checkpoint), str(tmp_path)]
        done = subprocess.run(words, env={**os.environ, **env}, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "does not support setting experts implementation" in done.stderr


# Steps


def test_a_step_is_made_once(tmp_path: Path) -> None:
    made: list[Path] = []

    def make(part: Path) -> dict[str, Any]:
        made.append(part)
        (part / "file").write_text(str(len(made)))
        return {"number": len(made)}

    first = litert_steps.Work(tmp_path / "work", Silent()).step("one", "one", {"lengths": (1, 2)}, make)
    again = litert_steps.Work(tmp_path / "work", Silent()).step("one", "one", {"lengths": (1, 2)}, make)
    assert first == again
    assert (len(made), again[1]) == (1, {"number": 1})
    other = litert_steps.Work(tmp_path / "work", Silent()).step("one", "one", {"lengths": (1, 3)}, make)
    assert other[1] == {"number": 2}
    assert (other[0] / "file").read_text() == "2"


def test_an_interrupted_step_leaves_what_was_there(tmp_path: Path) -> None:
    work = litert_steps.Work(tmp_path / "work", Silent())
    folder, _ = work.step("one", "one", {}, lambda part: {"file": (part / "file").write_text("whole")})

    def interrupted(part: Path) -> dict[str, Any]:
        (part / "file").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work.step("one", "one", {"new": True}, interrupted)
    assert (folder / "file").read_text() == "whole"
    assert sorted(path.name for path in work.folder.iterdir()) == [litert_steps.MARK, "one"]


def plain_way(name: str) -> litert_steps.Way:
    """Writes a file that is no program, and counts."""

    def make(part: Path) -> dict[str, Any]:
        (part / "model.pte").write_text(name)
        return {"wall": 1.0, "program": 0.5, "peak_memory": 9, "recipe": "int8", "needed": {}}

    return litert_steps.Way(name, f"the {name}", "executorch", "model.pte", {}, make)


def test_exports_are_made_in_turn_and_only_the_first_is_kept(tmp_path: Path) -> None:
    said: list[str] = []

    class Said(Silent):
        def stage(self, name: str) -> None:
            said.append(name)

    work = litert_steps.Work(tmp_path / "work", Said())
    exports, failed = litert_steps.export_in_turn(work, lambda: [plain_way("one"), plain_way("two")], 2)
    assert said == [f"exporting: the {name}, run {run} of 2" for run in (1, 2) for name in ("one", "two")]
    assert failed == {}
    assert [(export.name, export.program.read_text(), export.size) for export in exports] == [
        ("one", "one", 3),
        ("two", "two", 3),
    ]
    assert [len(export.runs) for export in exports] == [2, 2]
    assert [path.name for path in (work.folder / "export-one-2").iterdir()] == [litert_steps.RECORD]


def test_a_failure_of_upstreams_is_told_and_ends_nothing(tmp_path: Path) -> None:
    checkpoint = tmp_path / "empty"
    checkpoint.mkdir()
    (checkpoint / "config.json").write_text('{"model_type": "no_such_model"}')
    work = litert_steps.Work(tmp_path / "work", Silent())
    ways = [litert_steps.upstream_way("upstream", "upstream", checkpoint, None, {}), plain_way("ours")]
    exports, failed = litert_steps.export_in_turn(work, lambda: ways, 2)
    assert [export.name for export in exports] == ["ours"]
    assert "Unrecognized configuration class" in failed["upstream"]
    assert not (work.folder / "export-upstream").exists()


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    done = benchmark("--work", tmp_path)
    assert done.returncode == UsageError.exit_code
    assert "not this benchmark's" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_an_unknown_model_says_which_there_are(tmp_path: Path) -> None:
    done = benchmark("--model", "no-such", "--work", tmp_path / "work")
    assert done.returncode == UsageError.exit_code
    assert "sample, 1b, 270m, tiny" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("shape", "parameters"), [("270m", 268_098_176), ("1b", 999_885_952)])
def test_random_models_have_as_many_parameters_as_the_real_ones(shape: str, parameters: int) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(litert_runs.SHAPES[shape]())
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


# Figures


def test_fidelity_is_what_the_export_recorded(sample_int4: Any, tmp_path: Path) -> None:
    """The bundle's own figures, made by other code from the same goldens."""
    logits = tmp_path / "logits.f32"
    positions = litert_runs.make_reference(litert_runs.sample_checkpoint(), sample_int4.path, logits)
    found = litert_runs.measure_fidelity("executorch", sample_int4.path / "model.pte", sample_int4.path, logits)
    with open_bundle(sample_int4.path) as bundle:
        recorded = bundle.manifest.fidelity
    assert recorded is not None
    assert found.positions == positions == recorded.positions
    assert found.top1 == pytest.approx(recorded.top1)
    assert found.mean_kl == pytest.approx(recorded.mean_kl, rel=1e-3)
    assert found.p99_kl == pytest.approx(recorded.p99_kl, rel=1e-3)


def test_the_engine_names_a_file_that_it_cannot_open(tmp_path: Path) -> None:
    file = tmp_path / "broken.litertlm"
    file.write_bytes(b"LITERTLM" + bytes(100))
    with pytest.raises(BenchmarkError, match=r"LiteRT-LM refuses broken\.litertlm: \S+"):
        litert_runs.first_start(file, 1, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["broken.litertlm"]


def contender(name: str, rate: float, memory: int, kl: float = 0.5) -> litert.Contender:
    """Figures over two rounds, the second half as fast."""
    job = Job("litert", "model.litertlm", (128,), (64,), 1, 128)
    runs = [Run(1.0, (128 / rate * slower,), (64 / rate * slower,), 10, memory) for slower in (1, 2)]
    return litert.Contender(
        name=name,
        title=name,
        recipe="int8",
        needed={},
        prefill_lengths=(128,),
        cache_length=2048,
        size=1000,
        program_size=900,
        exports=({"wall": 4.0, "program": 2.0, "peak_memory": 100},),
        fidelity=litert_runs.Fidelity(10, kl, kl, 1.0),
        app=litert.speed(job, runs),
    )


def test_more_than_one_means_that_ours_is_better() -> None:
    ours, theirs = contender("litertlm-int8", 30.0, 50), contender("upstream-as-it-comes", 10.0, 200)
    found = {
        (section, row.title): litert.advantage(row, ours, theirs)
        for section, rows in litert.sections_of(ours).items()
        for row in rows
    }
    for title in ("decode (tokens/s)", "prefill 128 (tokens/s)"):
        advantage = found["app", title]
        assert advantage is not None
        assert advantage.values == pytest.approx((3.0, 3.0))
    assert found["app", "peak memory (MB)"] == figure([4.0, 4.0])
    assert found["file, export, fidelity", "mean KL (nats)"] == figure([1.0])
    assert found["file, export, fidelity", "top-1"] is None, "near 1 a ratio says nothing"
    assert found["signatures", "decode (tokens/s)"] is None, "it was not measured"


def test_of_a_prompt_that_was_run_twice_the_second_counts() -> None:
    job = Job("litert", "model.litertlm", (128, 512, 512), (64,), 1, 128)
    found = litert.speed(job, [Run(1.0, (1.0, 8.0, 2.0), (4.0,), 10, 20)])
    assert {prompt: rate.median for prompt, rate in found.prefill.items()} == {128: 128.0, 512: 256.0}
    assert found.decode.median == 16.0


def test_nothing_is_divided_by_an_exact_program() -> None:
    exact, theirs = contender("litertlm-float32", 30.0, 50, kl=0.0), contender("upstream-as-it-comes", 10.0, 200)
    rows = {row.title: row for row in litert.sections_of(exact)["file, export, fidelity"]}
    assert litert.advantage(rows["mean KL (nats)"], exact, theirs) is None


def test_each_recipe_has_a_table_with_both_of_upstreams() -> None:
    names = ["litertlm-int8", "litertlm-int4", "upstream-same-lengths", "upstream-as-it-comes", "pte-int8", "pte-int4"]
    groups = litert.groups_of([contender(name, 1.0, 1) for name in names])
    assert [[one.name for one in group] for group in groups] == [
        ["litertlm-int8", "upstream-same-lengths", "upstream-as-it-comes", "pte-int8"],
        ["litertlm-int4", "upstream-same-lengths", "upstream-as-it-comes", "pte-int4"],
    ]


def test_all_four_are_compared_and_a_second_run_goes_on_from_the_first(tmp_path: Path) -> None:
    work, out = tmp_path / "work", tmp_path / "litert.json"
    words = ("--model", "tiny", "--rounds", 1, "--work", work, "--json", out)
    done = benchmark(*words)
    assert done.returncode == 0, done.stderr
    document = json.loads(out.read_text(encoding="utf-8"))
    assert document["machine"]["packages"]["litert-torch"]
    assert document["failed"] == {}
    ours, same, default, pte = document["results"]
    assert [one["name"] for one in (ours, same, default, pte)] == [
        "litertlm-default",
        "upstream-same-lengths",
        "upstream-as-it-comes",
        "pte-default",
    ]
    assert (same["prefill_lengths"], same["cache_length"]) == (ours["prefill_lengths"], ours["cache_length"])
    assert (default["prefill_lengths"], default["cache_length"]) == ([128], 4096)
    assert same["recipe"] == default["recipe"] == "dynamic_wi8_afp32"
    programs = ("bundle/model.litertlm", "model.litertlm", "model.litertlm", "bundle/model.pte")
    for one, program in zip(document["results"], programs, strict=True):
        assert one["size"] == (work / f"export-{one['name']}" / program).stat().st_size
        assert one["fidelity"]["positions"] == ours["fidelity"]["positions"] > 100
        assert set(one["app"]["prefill"]) == {"128", "512"}
        assert one["title"] in done.stdout
    assert same["fidelity"] == default["fidelity"], "the cache's length changes no logit"
    assert max(one["fidelity"]["mean_kl"] for one in (ours, same, pte)) < 0.5
    assert min(one["first_start"]["weight_cache"] for one in (ours, same, default)) > 0
    assert pte["first_start"] is None
    assert not list(work.glob("*.part"))
    before = steps_of(work)
    again = benchmark(*words)
    assert again.returncode == 0, again.stderr
    kept = [name for name, (key, _) in steps_of(work).items() if key == before[name][0]]
    assert {"checkpoint-tiny", "export-upstream-as-it-comes"} <= set(kept), "and all others, unless Gemcut was edited"
    assert {name: steps_of(work)[name] for name in kept} == {name: before[name] for name in kept}
    assert again.stderr.count(": found in ") == len(kept)
    assert "round 1 of 1: ours .litertlm" in again.stderr


def steps_of(work: Path) -> dict[str, tuple[Any, int]]:
    """What each step in a work folder was made of, and when."""
    records = {path.parent.name: path for path in work.glob("*/step.json")}
    return {name: (json.loads(path.read_text())["key"], path.stat().st_mtime_ns) for name, path in records.items()}


def test_an_interrupted_export_leaves_the_steps_before_it(tmp_path: Path) -> None:
    work = tmp_path / "work"
    words = [sys.executable, "-m", "benchmarks.litert", "--model", "tiny", "--work", str(work)]
    with subprocess.Popen(words, cwd=ROOT, stderr=subprocess.DEVNULL) as running:
        while not (work / "export-litertlm-default.part").exists():
            assert running.poll() is None, "it ended before it could be interrupted"
            time.sleep(0.05)
        running.terminate()
        assert running.wait(60) != 0
    assert sorted(path.name for path in work.iterdir()) == ["checkpoint-tiny", litert_steps.MARK]
