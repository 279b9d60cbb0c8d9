"""The virtual machine, booted for real and reached over adb alone."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gemcut.cli import main
from gemcut.devices import Options, make_device
from gemcut.devices.replay import Subject, prove_on
from gemcut.devices.vm import machine
from gemcut.devices.vm.image import Image, image
from gemcut.errors import ConformanceError, UsageError

SPEC = "arm64-vm"
FEW = {"executorch": 6, "litert": 1}  # goldens; under emulation each takes seconds
LIMIT = 400.0


def children_of_adb_or_qemu(work: Path) -> list[str]:
    """Command lines of processes that have the work folder in their command line or environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (path / "cmdline").read_bytes()
            known = command + (path / "environ").read_bytes()
            if str(work).encode() in known and (b"qemu" in command or b"adb" in command):
                found.append(command.decode(errors="replace"))
    return found


@pytest.mark.parametrize(("memory", "what"), [("2X", "is not a size"), ("", "is not a size"), ("64M", "takes more")])
def test_a_memory_that_is_none_is_refused(memory: str, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        machine.mebibytes(memory)


def test_memory_is_read_as_qemu_writes_it() -> None:
    assert [machine.mebibytes(text) for text in ("2G", "512M", "1g")] == [2048, 512, 1024]


@pytest.mark.parametrize("runtime", ["executorch", "litert"])
def test_the_sample_is_proven(
    runtime: str,
    request: pytest.FixtureRequest,
    ready: Callable[[str, str], None],
    subject_of_bundle: Callable[[Path], Subject],
    few: Callable[[Subject, int], Subject],
    tmp_path: Path,
    silent: Any,
) -> None:
    ready(SPEC, runtime)
    exported = request.getfixturevalue({"executorch": "sample_int4", "litert": "sample_litert"}[runtime])
    subject = few(subject_of_bundle(exported.path), FEW[runtime])
    verdict = prove_on(subject, SPEC, tmp_path, silent, Options(seconds=LIMIT, memory="1G"))
    assert verdict.passed, verdict.failures
    assert verdict.conformance
    assert verdict.conformance.max_logprob_diff > 0 or runtime == "litert", "other kernels than the host's ran"
    facts = verdict.facts
    assert facts
    assert facts.emulated
    assert facts.architecture == "aarch64"
    assert {"asimddp", "atomics"} <= set(facts.features), "what a cortex-a76 has"
    assert "i8mm" not in facts.features
    assert 0.8e9 < facts.memory <= 1 << 30
    assert 4 << 20 < verdict.peak_memory < facts.memory, "the program's, in the machine"
    assert bool(facts.kernels) == (runtime == "executorch")
    assert [check.name for check in verdict.checks] == (["engine_tokens"] if runtime == "litert" else [])
    assert not children_of_adb_or_qemu(tmp_path)


def test_a_program_that_does_not_fit_is_a_verdict(
    ready: Callable[[str, str], None], tmp_path: Path, silent: Any
) -> None:
    ready(SPEC, "executorch")
    device = make_device(SPEC, Options(seconds=LIMIT, memory="256M"))
    try:
        device.prepare("executorch", tmp_path, silent)
        hungry = ("awk", 'BEGIN { text = "12345678"; while (1) text = text text }')
        with pytest.raises(ConformanceError, match="doesn't fit into 256M"):
            device.run(hungry, 120)
        assert device.run(("echo", "still there"), 30).stdout == "still there\n", "adbd must survive it"
    finally:
        device.close()
    assert not children_of_adb_or_qemu(tmp_path)


def test_a_bundle_is_measured_over_adb_and_its_speed_is_no_phones(
    ready: Callable[[str, str], None], sample_int4: Any, tmp_path: Path, silent: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """The machine as any device with adbd: nothing but its board says that it is one."""
    ready(SPEC, "executorch")
    machine_of_its_own = machine.Machine(image(silent), 1024, tmp_path)
    try:
        where = f"adb:localhost:{machine_of_its_own.port}"
        assert main(["bench", str(sample_int4.path), "--on", where, "-r", "2", "-p", "32", "-n", "4", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
    finally:
        machine_of_its_own.stop()
    assert found["emulated"]
    assert (found["place"]["architecture"], found["place"]["before"]) == ("aarch64", None)
    (measured,) = found["bundles"]
    assert [test["test"] for test in measured["tests"]] == ["pp32", "tg4"]
    program = (sample_int4.path / "model.pte").stat().st_size
    assert program < measured["peak_memory"]["mean"] < 20 * program
    assert 0 < measured["own_memory"]["mean"] < measured["peak_memory"]["mean"]
    assert not children_of_adb_or_qemu(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_nothing_is_left_when_we_are_ended(
    number: int, ready: Callable[[str, str], None], tmp_path: Path, silent: Any
) -> None:
    ready(SPEC, "executorch")
    program = f"""
        import signal, sys
        from pathlib import Path
        signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started the tests may have it ignored
        from gemcut.util.progress import Silent
        from gemcut.devices import make_device
        device = make_device("arm64-vm")
        try:
            device.prepare("executorch", Path({str(tmp_path)!r}), Silent())
            print("up", flush=True)
            device.run(("sleep", "600"), 600)
        finally:
            device.close()
    """
    child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE)
    assert child.stdout
    assert child.stdout.readline() == b"up\n"
    until = time.monotonic() + 60
    while not any(said.startswith("adb") and "sleep 600" in said for said in children_of_adb_or_qemu(tmp_path)):
        assert time.monotonic() < until, children_of_adb_or_qemu(tmp_path)
        time.sleep(0.1)
    os.kill(child.pid, number)
    child.wait(60)
    child.stdout.close()
    until = time.monotonic() + 30
    while children_of_adb_or_qemu(tmp_path) and time.monotonic() < until:
        time.sleep(0.1)
    assert not children_of_adb_or_qemu(tmp_path)


def test_a_machine_that_does_not_come_up_says_what_its_console_said(
    ready: Callable[[str, str], None], tmp_path: Path, silent: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready(SPEC, "executorch")
    good = image(silent)
    (tmp_path / "initrd.gz").write_bytes(b"no archive")
    monkeypatch.setattr(machine, "BOOT", 30.0)
    with pytest.raises(ConformanceError, match=r"(?s)before it was up.*Kernel panic.*mount root fs"):
        machine.Machine(Image(good.kernel, tmp_path / "initrd.gz"), 512, tmp_path)
    assert not children_of_adb_or_qemu(tmp_path)
