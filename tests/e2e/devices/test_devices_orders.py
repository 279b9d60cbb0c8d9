"""What golden runners read and write, and the proof on a device around it."""

from __future__ import annotations

import json
import shutil
import struct
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gemcut import devices
from gemcut.devices import Options
from gemcut.devices.base import Facts, Library, Need
from gemcut.devices.replay import Subject, check_devices, prove_on
from gemcut.errors import ConformanceError, LackingError, UnsupportedError
from gemcut.pipeline.failures import DeviceFailed
from gemcut.pipeline.proving import device_record
from gemcut.prove.wire import ORDER_MAGIC, read_result, write_order
from gemcut.util import processes
from gemcut.util.processes import Finished

# A golden runner of Python's: it answers from the recorded outputs, so that what is around it can be tested alone.
RUNNER = """
import json, struct, sys
verb, program, order, result, threads = sys.argv[1:]
said = json.loads(open(program).read())
if "error" in said:
    print(json.dumps(said)); sys.exit(1)
if "signal" in said:
    import os; os.kill(os.getpid(), said["signal"])
data = open(order, "rb").read()
assert data[:8] == b"GCORDER1"
open(result, "wb").write(bytes.fromhex(said["result"]))
print(json.dumps({"load": 0.1, "peak_memory": 12345678}))
"""


def result_bytes(recorded: Sequence[Any]) -> bytes:
    parts = [b"GCRESULT", struct.pack("<i", len(recorded))]
    for one in recorded:
        parts += [one.logprobs.astype("<f4").tobytes(), one.target_logprobs.astype("<f4").tobytes()]
        parts += [one.top1.astype("<i4").tobytes(), struct.pack("<i", len(one.greedy_ids))]
        parts += [np.asarray(one.greedy_ids, "<i4").tobytes()]
    return b"".join(parts)


@dataclass
class Here:
    """A device that is a folder of this machine's."""

    folder: Path
    says: dict[str, Any]
    spec: str = "here"
    runtimes: tuple[str, ...] = ("executorch",)
    seconds: float = 30.0
    kernels: tuple[str, ...] = ()
    lacking: tuple[Need, ...] = ()
    closed: list[bool] = field(default_factory=list)

    def needs(self, runtime: str) -> tuple[Need, ...]:
        return self.lacking

    def refuse(self, runtime: str, version: str) -> None:
        return

    def prepare(self, runtime: str, work: Path, progress: Any) -> None:
        (self.folder / "runner.py").write_text(RUNNER)

    def push(self, source: Path, name: str) -> None:
        if name.endswith(".pte"):
            (self.folder / name).write_text(json.dumps(self.says))
        else:
            shutil.copyfile(source, self.folder / name)

    def run(self, command: Sequence[str], seconds: float) -> Finished:
        return processes.run(command, seconds, self.folder)

    def pull(self, name: str, target: Path) -> None:
        shutil.copyfile(self.folder / name, target)

    def runner(self, runtime: str) -> tuple[str, ...]:
        return (sys.executable, "runner.py")

    def facts(self, runtime: str) -> Facts:
        library = Library("libx.so", "1.1.0", "0" * 64)
        runtimes = {"executorch": "1.1.0"}
        return Facts("Linux", "x86_64", "any", (), 2, 10**9, False, runtimes, library, self.kernels)

    def more(self, *arguments: Any) -> tuple[()]:
        return ()

    def close(self) -> None:
        self.closed.append(True)


@pytest.fixture
def sample(sample_int4: Any, subject_of_bundle: Callable[[Path], Subject]) -> Subject:
    return subject_of_bundle(sample_int4.path)


@pytest.fixture
def on_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sample: Subject, silent: Any) -> Callable[..., Any]:
    def prove(says: dict[str, Any], **other: Any) -> Any:
        folder = tmp_path / "device"
        folder.mkdir()
        device = Here(folder, says, **other)
        monkeypatch.setattr("gemcut.devices.replay.make_device", lambda spec, options: device)
        verdict = prove_on(sample, "here", tmp_path, silent)
        assert device.closed == [True]
        assert not list(tmp_path.glob("device-*")), "its scratch folder is gone"
        return verdict

    return prove


def test_an_order_says_what_is_documented(sample: Subject, tmp_path: Path) -> None:
    path, golden = tmp_path / "order.bin", sample.goldens[0]
    write_order(sample.goldens, 128, 2048, {7, 3}, path)
    data = path.read_bytes()
    assert data.startswith(ORDER_MAGIC)
    values = np.frombuffer(data, "<i4", offset=8)
    assert values[:6].tolist() == [len(sample.goldens), 128, 2048, 2, 3, 7]
    prompt, ids, first, rows, width, most = values[6:12]
    assert (prompt, ids, first) == (len(golden.prompt_ids), len(golden.ids), golden.first)
    assert values[12 : 12 + ids].tolist() == list(golden.ids)
    assert values[12 + ids : 12 + ids + rows * width].tolist() == golden.topk_ids.reshape(-1).tolist()
    assert most >= len(golden.greedy_ids)


def test_a_reply_that_was_cut_short_is_cut_at_the_same_place(sample: Subject, tmp_path: Path) -> None:
    cut = [replace(one, greedy_ids=one.greedy_ids[:5], ended=False) for one in sample.host]
    write_order(sample.goldens, 128, 2048, (), tmp_path / "order.bin", host=cut)
    assert np.frombuffer((tmp_path / "order.bin").read_bytes(), "<i4", offset=8)[9] == 5


def test_a_result_is_read_as_it_was_recorded(sample: Subject, tmp_path: Path) -> None:
    stops, path = sample.bundle.manifest.stop_ids, tmp_path / "result.bin"
    path.write_bytes(result_bytes(sample.host))
    for one, host in zip(read_result(path, sample.goldens, stops, sample.decode), sample.host, strict=True):
        assert np.array_equal(one.logprobs, host.logprobs)
        assert (one.greedy_ids, one.greedy_text, one.ended) == (host.greedy_ids, host.greedy_text, host.ended)


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (lambda data: b"NONSENSE" + data[8:], "no result"),
        (lambda data: data[:-5], "truncated"),
        (lambda data: data + b"1234", "too many"),
        (lambda data: data[:8] + struct.pack("<i", 2) + data[12:], "of 2 goldens"),
    ],
)
def test_a_spoiled_result(sample: Subject, tmp_path: Path, spoil: Callable[[bytes], bytes], word: str) -> None:
    path = tmp_path / "result.bin"
    path.write_bytes(spoil(result_bytes(sample.host)))
    with pytest.raises(ConformanceError, match=word):
        read_result(path, sample.goldens, (), sample.decode)


def test_the_same_results_are_proven(on_here: Callable[..., Any], sample: Subject) -> None:
    verdict = on_here({"result": result_bytes(sample.host).hex()})
    assert (verdict.passed, verdict.conformance.max_logprob_diff, verdict.peak_memory) == (True, 0.0, 12345678)
    record = device_record(verdict)
    assert (record.device, record.runtimes, record.library_sha256) == ("here", {"executorch": "1.1.0"}, "0" * 64)


def test_other_results_are_a_verdict(on_here: Callable[..., Any], sample: Subject) -> None:
    wrong = [replace(one, logprobs=one.logprobs * 0.5) for one in sample.host]
    verdict = on_here({"result": result_bytes(wrong).hex()})
    assert not verdict.passed
    assert "a log-probability differs" in verdict.failures[0]
    assert "the executorch bundle behaves differently on here: " in DeviceFailed(verdict, ()).message


def test_a_crash_is_a_verdict(on_here: Callable[..., Any]) -> None:
    verdict = on_here({"signal": 11})
    assert verdict.conformance is None
    assert "crashed on this program (signal 11)" in verdict.refused
    assert "libx.so of ExecuTorch 1.1.0" in verdict.refused


def test_killed_for_memory_is_a_verdict(on_here: Callable[..., Any]) -> None:
    assert "1.0 GB of memory is too little" in on_here({"signal": 9}).refused


def test_an_error_of_the_runner_is_told(on_here: Callable[..., Any]) -> None:
    assert "lacks aten::nothing.out" in on_here({"error": "lacks aten::nothing.out", "code": 20}).refused


def test_a_kernel_that_is_lacking_is_named_before_anything_runs(on_here: Callable[..., Any], sample: Subject) -> None:
    manifest = sample.bundle.manifest
    needed = manifest.kernels or manifest.operators
    verdict = on_here({"signal": 11}, kernels=tuple(name for name in needed if name != needed[0]))
    assert f"lacks the operator {needed[0]}" in verdict.refused


def test_what_a_device_needs_is_said_with_its_command(on_here: Callable[..., Any]) -> None:
    with pytest.raises(LackingError, match="needs qemu on this machine") as caught:
        on_here({}, lacking=(Need("qemu", "apt-get install -y qemu-user-static", "qemu-user-static"),))
    assert "apt-get install -y qemu-user-static" in (caught.value.hint or "")


def test_a_device_for_another_runtime_is_refused_before_any_work(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("gemcut.devices.replay.make_device", lambda spec, options: Here(tmp_path, {}))
    with pytest.raises(UnsupportedError, match="runs executorch bundles, not litert bundles"):
        check_devices(("here",), {"litert": "2.3.0"})


def test_the_host_is_proven_on_in_any_case() -> None:
    check_devices(("host",), {"executorch": "1.5.1", "litert": "0.18.1"})


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("android-lb", "did you mean 'android-lib'"),
        ("arm64-vm:x", "takes nothing after its name"),
        ("arm64-user:", "PROFILE is missing"),
        ("host", "this machine itself"),
    ],
)
def test_specs_that_cannot_be_taken(spec: str, words: str) -> None:
    with pytest.raises((UnsupportedError, devices.UsageError), match=words):
        devices.make_device(spec, Options())


def test_every_kind_can_be_made_without_starting_anything() -> None:
    for kind in devices.DEVICES:
        if not kind.is_host:
            device = devices.make_device(kind.name)
            assert device.spec.startswith(kind.name)
            assert device.runtimes
            device.close()
