"""The benchmarks: that each runs, and that what it reports is what it measured. No figure's size is asserted."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from gemcut.bundle.reader import open_bundle
from gemcut.errors import LackingError, UsageError

ROOT = Path(__file__).resolve().parents[3]

from benchmarks import bandwidth, llama_build, llama_cpp, models, quality  # noqa: E402
from benchmarks.common import BenchmarkError, figure, ratio, run, scratch  # noqa: E402
from benchmarks.speed import step_bytes  # noqa: E402

COMMANDS = ("bandwidth", "export", "first_route", "litert", "llama_cpp", "models", "quality", "sizes", "speed", "start")


def benchmark(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs one as the README says: from the repository's root."""
    words = [sys.executable, "-m", f"benchmarks.{name}", *map(str, arguments)]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random two-layer Gemma 3."""
    from gemcut.checkpoint.random import random_checkpoint

    return random_checkpoint(tmp_path_factory.mktemp("tiny") / "tiny", models.tiny())


@pytest.fixture(scope="session")
def llama() -> llama_build.LlamaCpp:
    """A built llama.cpp: the folder that GEMCUT_LLAMA_CPP names, or the one that --build makes."""
    folder = Path(os.environ.get("GEMCUT_LLAMA_CPP") or llama_build.default_folder())
    try:
        return llama_build.locate(folder)
    except LackingError as error:
        pytest.skip(f"{error.message}: {error.hint}")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_names_what_it_does(name: str) -> None:
    done = benchmark(name, "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Usage: python -m benchmarks.{name}")


def test_every_command_stands_in_the_readme() -> None:
    readme = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    for name in ("export", "speed", "llama_cpp", "bandwidth", "models", "quality", "sizes", "start"):
        assert f"python -m benchmarks.{name}" in readme


def test_speed_measures_a_bundle_beside_the_bandwidth(sample_int4: Any, tmp_path: Path) -> None:
    out = tmp_path / "speed.json"
    words = ("--runs", 1, "--megabytes", 32, "--json", out)
    done = benchmark("speed", sample_int4.path, *words)
    assert done.returncode == 0, done.stderr
    assert "share of the limit" in done.stdout
    assert "prefill 128 (tokens/s)" in done.stdout
    document = json.loads(out.read_text(encoding="utf-8"))
    (result,) = document["results"]
    assert document["benchmark"] == "speed"
    assert document["machine"]["packages"]["executorch"]
    assert document["bandwidth"]["median"] > 0
    assert set(result["prefill"]) == {"128", "512"}
    assert result["decode"]["min"] <= result["decode"]["median"] <= result["decode"]["max"]
    assert result["program"] == (sample_int4.path / "model.pte").stat().st_size
    assert result["peak_memory"]["median"] > result["program"]
    per_step = result["step"]["weights"] + result["step"]["cache"]
    assert result["limit"]["median"] == pytest.approx(document["bandwidth"]["median"] / per_step)
    assert result["share"]["median"] == pytest.approx(result["decode"]["median"] / result["limit"]["median"])


def test_start_compares_the_same_program_in_fresh_processes(sample_int4: Any, tmp_path: Path) -> None:
    out = tmp_path / "start.json"
    done = benchmark("start", sample_int4.path, "--rounds", 1, "--json", out)
    assert done.returncode == 0, done.stderr
    results = json.loads(out.read_text(encoding="utf-8"))["results"]
    ours, plain, ratios = (results[name]["median"] for name in ("ours", "plain", "plain / ours"))
    assert min(ours, plain) > 0
    assert ratios == pytest.approx(plain / ours)
    assert "plain / ours" in done.stdout


def test_quality_compares_each_bundle_in_its_runtime(tiny_checkpoint: Path, tmp_path: Path) -> None:
    out, plot = tmp_path / "quality.json", tmp_path / "quality.html"
    words = ("--recipe", "int8", "--runtime", "executorch", "--no-plain", "--plot", plot, "--json", out)
    done = benchmark("quality", "--model", tiny_checkpoint, *words)
    assert done.returncode == 0, done.stderr
    (one,) = json.loads(out.read_text(encoding="utf-8"))["results"]
    assert (one["recipe"], one["runtime"]) == ("int8", "executorch")
    assert one["size"] > 100_000
    assert set(one["by_text"]) == {"english", "code", "dutch", "polish", "vietnamese"}
    assert 0 < one["mean_kl"] < one["p99_kl"] < 1
    assert 0.5 < one["top1"] <= 1
    assert one["perplexity_ratio"] == pytest.approx(1, abs=0.1)
    assert "int8" in done.stdout
    assert "mean KL" in plot.read_text(encoding="utf-8")


def test_quality_takes_each_recipe_with_and_without_calibration_if_that_differs() -> None:
    assert quality._ways(("int4", "float32"), True) == [("int4", False), ("int4", True), ("float32", False)]
    assert quality._ways(("int4", "float32"), False) == [("int4", False), ("float32", False)]


def test_quality_names_the_models_that_it_knows(tmp_path: Path) -> None:
    done = benchmark("quality", "--model", tmp_path / "nowhere")
    assert done.returncode == UsageError.exit_code
    assert "270m, smollm2" in done.stderr


def test_a_step_reads_all_linears_and_the_cache_so_far(sample_int4: Any) -> None:
    with open_bundle(sample_int4.path) as bundle:
        first, second, past = (step_bytes(bundle, position) for position in (0, 1, bundle.manifest.context - 1))
        tensors = bundle.manifest.tensors
        cache = _float_cache_row(json.loads(bundle.read("config.json")))
    assert tensors["head"].bytes < tensors["embedding"].bytes // 2, "the head is the embedding's table"
    gathered = tensors["per-layer embedding"].bytes
    assert first.weights == sum(record.bytes for record in tensors.values()) - gathered
    assert first.cache == cache
    assert second.cache == 2 * cache
    assert past.cache < bundle.manifest.context * cache, "sliding layers read no more than their ring"
    assert past.total == past.weights + past.cache


def _float_cache_row(config: dict[str, Any]) -> int:
    """Bytes of keys and values, float32, of one position in the layers that own a cache (Gemma 4)."""
    owned = config["num_hidden_layers"] - config["num_kv_shared_layers"]
    row = 0
    for kind in config["layer_types"][:owned]:
        full = kind == "full_attention"
        row += config["global_head_dim"] if full else config["head_dim"]
        heads = config["num_key_value_heads"]
        assert not full or config.get("num_global_key_value_heads") in (None, heads)
    return 2 * 4 * row * config["num_key_value_heads"]


def test_speed_of_what_is_no_bundle_says_so(tmp_path: Path) -> None:
    done = benchmark("speed", tmp_path)
    assert done.returncode == UsageError.exit_code
    assert "is not a bundle" in done.stderr
    assert "Traceback" not in done.stderr


def test_bandwidth_is_that_of_the_buffer_read() -> None:
    rate = bandwidth.read_bandwidth(threads=1, megabytes=16, passes=2)
    assert 1e8 < rate < 1e13


def test_ratios_pair_the_rounds() -> None:
    found = ratio(figure([2.0, 30.0, 4.0]), figure([1.0, 10.0, 4.0]))
    assert found.values == (2.0, 3.0, 1.0)
    assert (found.min, found.median, found.max) == (1.0, 2.0, 3.0)


def test_a_failing_program_is_an_error_with_its_last_words() -> None:
    with pytest.raises(BenchmarkError, match="no such thing"):
        run([sys.executable, "-c", "raise SystemExit('no such thing')"], "the child")


def test_a_scratch_folder_is_gone_after_a_failure_and_needs_room() -> None:
    made: list[Path] = []

    def interrupted() -> None:
        with scratch(1) as folder:
            made.append(folder)
            (folder / "large").write_bytes(b"x")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not made[0].exists()
    with pytest.raises(LackingError, match="GB free"), scratch(1 << 62):
        pass


def test_the_270m_has_the_real_shape() -> None:
    config = models.gemma3_270m()
    assert (config.vocab_size, config.hidden_size, config.intermediate_size) == (262144, 640, 2048)
    assert config.layer_types.count("full_attention") == 3
    assert config.layer_types[5] == "full_attention"
    assert config.rope_parameters["full_attention"]["rope_theta"] == 1_000_000.0
    assert config.rope_parameters["sliding_attention"]["rope_theta"] == 10_000.0


def test_first_route_comparison_needs_a_random_model() -> None:
    done = benchmark("export", "--model", "sample", "--compare-first-route")
    assert done.returncode == UsageError.exit_code
    assert "--compare-first-route" in done.stderr


def test_export_is_timed_by_stage_beside_the_first_route(tmp_path: Path) -> None:
    out = tmp_path / "export.json"
    done = benchmark("export", "--model", "tiny", "--runs", 1, "--compare-first-route", "--json", out)
    assert done.returncode == 0, done.stderr
    assert "first route / gemcut" in done.stdout
    (result,) = json.loads(out.read_text(encoding="utf-8"))["results"]
    ours, first = result["gemcut"], result["first_route"]
    assert {"load", "reference", "quantize", "lower", "prove"} <= set(ours["seconds"])
    assert list(first["seconds"]) == ["load", "quantize", "trace", "lower", "emit"]
    assert ours["program"]["median"] < ours["wall"]["median"]
    assert min(ours["size"]["median"], first["size"]["median"]) > 100_000
    wanted = first["wall"]["median"] / ours["wall"]["median"]
    assert result["speedup_with_proof"]["median"] == pytest.approx(wanted)


def test_without_a_built_llama_cpp_the_command_says_how_to_build_it(tmp_path: Path) -> None:
    done = benchmark("llama_cpp", "--llama-cpp", tmp_path)
    assert done.returncode == LackingError.exit_code
    assert "llama-bench is missing" in done.stderr
    assert "--build" in done.stderr


def test_build_leaves_a_folder_that_holds_something_else_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="something other"):
        llama_build.build(tmp_path, jobs=1)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_bundle_of_other_weights_is_refused(sample_int4: Any, tiny_checkpoint: Path) -> None:
    with open_bundle(sample_int4.path) as bundle, pytest.raises(UsageError, match="not made of"):
        llama_cpp.check_same_weights(bundle, tiny_checkpoint)


def test_llama_cpp_converts_and_runs_the_same_weights(
    llama: llama_build.LlamaCpp, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    files = llama_cpp.make_gguf(tiny_checkpoint, tmp_path, llama, threads=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in files.values())
    pure, mixed = files["Q4_0 --pure"], files["Q4_0"]
    assert pure.read_bytes()[:4] == b"GGUF"
    assert pure.stat().st_size < mixed.stat().st_size, "--pure holds the tied head in fewer bits"
    speeds = llama_cpp.llama_bench(pure, llama, threads=1)
    assert set(speeds) == set(llama_cpp.TESTS)
    assert all(rate > 0 for rate in speeds.values())


def test_a_failed_conversion_leaves_nothing_behind(
    llama: llama_build.LlamaCpp, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(tiny_checkpoint, broken)
    config = json.loads((broken / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps({**config, "architectures": ["NoSuchModel"]}))
    with pytest.raises(BenchmarkError, match="conversion to GGUF"):
        llama_cpp.make_gguf(broken, tmp_path, llama, threads=1)
    assert [path.name for path in tmp_path.iterdir()] == ["broken"]
