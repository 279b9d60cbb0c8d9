"""The golden runner in C++, built here and run on the sample: against the Python runtime, and on damaged input."""

from __future__ import annotations

import json
import platform
import shutil
import struct
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gemcut import bench
from gemcut.devices.replay import Subject
from gemcut.errors import LackingError, UnsupportedError
from gemcut.prompt.chats import Prompt
from gemcut.prove.conformance import compare
from gemcut.prove.golden import Golden, Recorded
from gemcut.prove.run import greedy, run_bundle
from gemcut.prove.wire import read_result, write_order
from gemcut.runtimes.executorch.golden_runner import build as native

HOST = platform.machine()
CHUNK = 128
CONTEXT = 512
# Both add float32 numbers in another order; over the sample's six layers that is some 1e-5 of a log-probability.
CLOSE = 1e-4


@pytest.fixture(scope="module")
def runner(device_cache: Path) -> Path:
    """The runner for this machine."""
    needs = native.needs(HOST)
    if needs:
        pytest.skip(f"the native runner can't be built here: {needs[0].what}; {needs[0].command}")
    return native.build(HOST) / native.RUNNER


@pytest.fixture(scope="module")
def float32(sample_float32: Any, subject_of_bundle: Callable[[Path], Subject]) -> Subject:
    return subject_of_bundle(sample_float32.path)


@pytest.fixture(scope="module")
def python(float32: Subject) -> Any:
    """The same program in ExecuTorch's Python runtime."""
    from gemcut.runtimes.executorch.runner import ExecuTorchRunner as open_runner

    opened = open_runner(float32.bundle.program)
    yield opened
    opened.close()


def call(runner: Path, *arguments: object, prefix: Sequence[str] = ()) -> tuple[int, dict[str, Any]]:
    """Its exit code and the one line that it prints."""
    command = [*prefix, str(runner), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    (line,) = done.stdout.splitlines()
    return done.returncode, json.loads(line)


def run(runner: Path, subject: Subject, goldens: Sequence[Golden], folder: Path, **how: Any) -> tuple[Recorded, ...]:
    """What the runner makes of some goldens. how: chunk, threads, stops, prefix, times (a dictionary, filled)."""
    stops = how.get("stops", subject.bundle.manifest.stop_ids)
    order, result = folder / "order.bin", folder / "result.bin"
    write_order(goldens, how.get("chunk", CHUNK), subject.bundle.manifest.context, stops, order)
    threads, prefix = how.get("threads", 1), how.get("prefix", ())
    code, said = call(runner, "run", subject.bundle.program, order, result, threads, prefix=prefix)
    assert code == 0, said
    how.get("times", {}).update(said)
    return read_result(result, goldens, stops, subject.decode)


def golden_of(ids: Sequence[int], prompt: int, first: int, reply: int, ended: bool = False) -> Golden:
    """A golden that scores ``ids`` from ``first`` on; its reply may have ``reply`` tokens."""
    rows = len(ids) - 1 - first
    top = np.tile(np.arange(64, dtype=np.int32) * 7, (rows, 1))
    zeros = np.zeros((rows, 64), np.float32)
    return Golden(
        Prompt("made-up", "text", text="x"),
        "x",
        tuple(ids[:prompt]),
        tuple(ids),
        first,
        top,
        zeros,
        zeros[:, 0],
        (0,) * reply,
        "",
        ended,
        np.zeros(reply, np.float32),
    )


def assert_close(found: Sequence[Recorded], wanted: Sequence[Recorded]) -> None:
    for here, there in zip(found, wanted, strict=True):
        assert np.abs(here.logprobs - there.logprobs).max() <= CLOSE
        assert np.abs(here.target_logprobs - there.target_logprobs).max() <= CLOSE
        assert (here.top1 == there.top1).all()
        assert (here.greedy_ids, here.greedy_text, here.ended) == (there.greedy_ids, there.greedy_text, there.ended)


def test_it_is_built_once_and_without_torch(runner: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEMCUT_CACHE", str(tmp_path))
    began = time.time()
    home = native.build(HOST)
    assert home.is_relative_to(tmp_path)
    made = (home / native.RUNNER).stat().st_mtime
    assert made >= began - 1
    assert native.build(HOST) == home
    assert (home / native.RUNNER).stat().st_mtime == made
    assert [path.name for path in home.parent.iterdir()] == [home.name]

    moved = shutil.copytree(home, tmp_path / "elsewhere")
    shutil.rmtree(home)
    linked = subprocess.run(["ldd", moved / native.RUNNER], capture_output=True, text=True, check=True).stdout
    assert "not found" not in linked
    assert not any(name in linked for name in ("libtorch", "libc10", "libpython"))
    assert f"{moved}/libexecutorch.so" in linked
    assert call(moved / native.RUNNER, "facts")[0] == 0


def test_its_facts_are_the_runtimes(runner: Path) -> None:
    code, facts = call(runner, "facts")
    assert code == 0
    assert {"llama::custom_sdpa.out", "llama::update_cache.out", "aten::add.out"} <= set(facts["kernels"])
    assert len(facts["kernels"]) == len(set(facts["kernels"])) > 200
    assert facts["backends"] == ["XnnpackBackend"]
    assert facts["version"] == pytest.importorskip("executorch.version").__version__.partition("+")[0]
    known = Path("/proc/cpuinfo").read_text()
    line = next(line for line in known.splitlines() if line.lower().startswith(("flags", "features")))
    assert set(facts["features"]) == set(line.partition(":")[2].split())


def test_every_golden_of_the_int4_sample_conforms(
    runner: Path, sample_int4: Any, subject_of_bundle: Callable[[Path], Subject], tmp_path: Path
) -> None:
    subject, times = subject_of_bundle(sample_int4.path), dict[str, Any]()
    found = run(runner, subject, subject.goldens, tmp_path, times=times)
    conformance = compare(subject.goldens, subject.host, found)
    assert conformance.passed, conformance.failures
    assert conformance.mean_kl < 1e-4
    assert [one.greedy_ids for one in found] == [one.greedy_ids for one in subject.host]
    assert len(times["step_seconds"]) == times["steps"] > 32 * len(subject.goldens) // 2
    size = subject.bundle.program.stat().st_size
    assert size < times["peak_memory"] < 20 * size, "the model's, not the runtime's libraries"
    assert 0 < times["own_memory"] < times["peak_memory"]
    assert 0 < times["mapped_memory"] <= size
    assert min(times["load"], times["prefill"], times["decode"]) > 0


@pytest.mark.parametrize(("chunk", "threads"), [(CHUNK, 1), (CHUNK, 2), (24, 1), (1, 1)])
def test_it_does_what_the_python_runtime_does(
    chunk: int, threads: int, runner: Path, float32: Subject, python: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    """Whatever the chunks: what of a prompt is computed once, and where the reply takes over, depends on them."""
    monkeypatch.setattr(python, "prefill_chunk", chunk)
    goldens = float32.goldens[:4]
    wanted = run_bundle(python, goldens, float32.bundle.manifest.stop_ids, float32.decode)
    assert_close(run(runner, float32, goldens, tmp_path, chunk=chunk, threads=threads), wanted)


def test_long_sequences_wrap_the_window_and_fill_the_cache(
    runner: Path, float32: Subject, python: Any, tmp_path: Path
) -> None:
    """More keys than one of its kernel's blocks has, and a reply up to the cache's last position."""
    ids = [token for golden in float32.goldens for token in golden.ids][: CONTEXT + 1]
    long = golden_of(ids, prompt=CONTEXT - 12, first=CONTEXT - 40, reply=12)
    short = golden_of(ids[:40], prompt=5, first=4, reply=0)  # after the long one: nothing of it may be left
    late = golden_of(ids[:200], prompt=CHUNK, first=CHUNK + 40, reply=6)  # scored from behind the prompt on
    wanted = run_bundle(python, (long, short, late), (), float32.decode)
    assert [len(one.greedy_ids) for one in wanted] == [12, 0, 6]
    assert_close(run(runner, float32, (long, short, late), tmp_path, stops=()), wanted)


@pytest.mark.parametrize("parts", [None, 0, 3, 30])
def test_a_reply_is_the_same_wherever_it_leaves_the_scored_sequence(
    parts: int | None, runner: Path, float32: Subject, python: Any, tmp_path: Path
) -> None:
    prompt = next(golden.prompt_ids for golden in float32.goldens if len(golden.prompt_ids) > CHUNK)
    own = greedy(python, prompt, 40, frozenset())
    ids = [*prompt, *own[:33]]
    if parts is not None:
        ids[len(prompt) + parts] = (own[parts] + 1) % python.vocab_size
    golden = golden_of(ids, prompt=len(prompt), first=len(prompt) - 1, reply=40)
    stops = float32.bundle.manifest.stop_ids
    wanted = run_bundle(python, (golden, golden), stops, float32.decode)
    times: dict[str, Any] = {}
    assert_close(run(runner, float32, (golden, golden), tmp_path, times=times), wanted)
    assert times["tokens"] == 2 * len(prompt)  # nothing was computed twice


@pytest.fixture
def ordered(float32: Subject, tmp_path: Path) -> tuple[Path, Path, Path]:
    """A program, an order for it, and where the result goes."""
    order = tmp_path / "order.bin"
    write_order(float32.goldens[:2], CHUNK, CONTEXT, float32.bundle.manifest.stop_ids, order)
    return float32.bundle.program, order, tmp_path / "result.bin"


def refused(runner: Path, program: Path, order: Path, result: Path) -> dict[str, Any]:
    """What it says where it can't run them; it leaves no result then."""
    code, said = call(runner, "run", program, order, result, 1)
    assert code == 1
    assert set(said) == {"error", "code"}
    assert not result.exists()
    return said


def test_a_missing_or_truncated_program_is_refused(runner: Path, ordered: Any, tmp_path: Path) -> None:
    program, order, result = ordered
    assert "can't be read" in refused(runner, tmp_path / "none.pte", order, result)["error"]
    for size in (0, 20, 5000, program.stat().st_size // 2):
        cut = tmp_path / "cut.pte"
        cut.write_bytes(program.read_bytes()[:size])
        said = refused(runner, cut, order, result)
        assert said["code"] in (0x12, 0x22, 0x23), (size, said)  # InvalidArgument, AccessFailed, InvalidProgram
    cut.write_bytes(b"PK\3\4" + bytes(4096))
    assert refused(runner, cut, order, result)["code"] == 0x23


def test_a_missing_operator_and_backend_are_named(runner: Path, ordered: Any, tmp_path: Path) -> None:
    program, order, result = ordered
    other = tmp_path / "other.pte"
    whole = program.read_bytes()
    assert whole.count(b"llama::update_cache_with_indices\0") == 1
    other.write_bytes(whole.replace(b"llama::update_cache_with_indices\0", b"llama::update_cache_with_indicez\0"))
    said = refused(runner, other, order, result)
    assert said["code"] == 0x14
    assert "lacks the operator llama::update_cache_with_indicez.out" in said["error"]

    other.write_bytes(whole.replace(b"XnnpackBackend\0", b"XnnpackBackenz\0"))
    said = refused(runner, other, order, result)
    assert said["code"] == 0x20
    assert "XnnpackBackenz" in said["error"]


def test_damaged_orders_are_refused(runner: Path, ordered: Any) -> None:
    program, order, result = ordered
    whole = order.read_bytes()
    header, stops = 8, struct.unpack_from("<i", whole, 20)[0]
    golden = header + 16 + 4 * stops
    cases = {
        "is not an order": b"GCORDER2" + whole[8:],
        "truncated": whole[:-4],
        "nothing to run": whole[:8] + bytes(4) + whole[12:],
        "longer than": whole + bytes(4),
        "positions of the program's cache": whole[:16] + struct.pack("<i", 40) + whole[20:],
        "a golden of": whole[: golden + 12] + struct.pack("<i", 1 << 20) + whole[golden + 16 :],
        "name token 1000000": whole[:-4] + struct.pack("<i", 1_000_000),
    }
    for telling, content in cases.items():
        order.write_bytes(content)
        assert telling in refused(runner, program, order, result)["error"]
    for size in range(0, golden + 24, 3):
        order.write_bytes(whole[:size])
        assert "truncated" in refused(runner, program, order, result)["error"]
    order.unlink()
    assert f"the order {order} can't be opened" in refused(runner, program, order, result)["error"]


def test_it_says_how_it_is_used(runner: Path) -> None:
    done = subprocess.run([runner, "walk"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "run PROGRAM ORDER RESULT THREADS" in done.stderr


def test_what_is_missing_to_build_it_is_said_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEMCUT_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    for arch in native.ARCHITECTURES:
        (need,) = native.needs(arch)
        assert need.what.endswith("g++")
        assert need.command.endswith(f"apt-get install -y {need.package}")
        with pytest.raises(LackingError, match=r"g\+\+ is missing") as caught:
            native.build(arch)
        assert caught.value.hint == need.command
    with pytest.raises(UnsupportedError, match="riscv64"):
        native.build("riscv64")


def test_a_failing_compiler_is_quoted_and_leaves_nothing(
    runner: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = tmp_path / "wrong.cpp"
    wrong.write_text("int wrong() { return undeclared_name; }\n")
    monkeypatch.setenv("GEMCUT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(native, "KERNELS", wrong)
    with pytest.raises(LackingError, match="undeclared_name"):
        native.build(HOST)
    assert list((tmp_path / "cache" / "devices" / "native").iterdir()) == []


def test_the_same_source_is_the_same_on_arm64(
    float32: Subject, python: Any, ready: Callable[[str, str], None], tmp_path: Path
) -> None:
    """One golden and the features that the emulated processor has. qemu's own sysroot is Debian's cross libraries."""
    ready("arm64-user", "executorch")
    sysroot = Path("/usr/aarch64-linux-gnu")
    arm = native.build("aarch64") / native.RUNNER
    features = {}
    for cpu in ("cortex-a53", "cortex-a76"):
        prefix = ("qemu-aarch64-static", "-cpu", cpu, "-L", str(sysroot))
        features[cpu] = set(call(arm, "facts", prefix=prefix)[1]["features"])
    assert {"asimddp", "atomics", "fphp"} <= features["cortex-a76"] - features["cortex-a53"]
    assert {"fp", "asimd", "crc32"} <= features["cortex-a53"]
    goldens = (min(float32.goldens, key=lambda golden: len(golden.ids)),)
    wanted = run_bundle(python, goldens, float32.bundle.manifest.stop_ids, float32.decode)
    assert_close(run(arm, float32, goldens, tmp_path, prefix=prefix), wanted)


def test_it_measures_what_the_python_runtime_does(runner: Path, sample_int4: Any, silent: Any) -> None:
    """Two processes of which one has Python and torch in it: what the program takes is the same thing in both."""
    program = sample_int4.path / "model.pte"
    code, said = call(runner, "bench", program, 1, CHUNK, 0, "64,200", "8")
    assert code == 0, said
    assert (len(said["prefill"]), len(said["decode"]), said["threads"]) == (2, 1, 1)
    assert min(said["load"], *said["prefill"], *said["decode"]) > 0
    (run,) = bench.measure(bench.Job("executorch", str(program), (64, 200), (8,), 1), 1, silent)
    assert said["memory_before"] < 20e6 < 100e6 < run.memory_before
    assert said["mapped_memory"] == pytest.approx(run.mapped_memory, abs=1e6)
    assert said["own_memory"] == pytest.approx(run.own_memory, abs=6e6)
    assert said["peak_memory"] == pytest.approx(run.peak_memory, abs=12e6), "some of torch's code is read meanwhile"


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ((1, CHUNK, 0, "12x", "8"), "prompts are not up to 32 lengths: 12x"),
        ((1, CHUNK, 0, "16", "-1"), "generations are not up to 32 lengths: -1"),
        ((1, CHUNK, 0, "-", "-"), "nothing to measure"),
        ((1, CHUNK, 0, "5000", "-"), "failed at position"),
    ],
)
def test_lengths_that_it_cannot_measure_are_refused(
    words: Sequence[object], what: str, runner: Path, sample_int4: Any
) -> None:
    code, said = call(runner, "bench", sample_int4.path / "model.pte", *words)
    assert code == 1
    assert what in said["error"]
