"""Devices behind adb: the real adb client against a small adbd, also when the device is lost and when we are killed."""

from __future__ import annotations

import contextlib
import filecmp
import json
import os
import platform
import random
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from gemcut.bench.results import Condition
from gemcut.cli import main
from gemcut.devices import Options, adb, make_device
from gemcut.devices.adb_client import Address, Client, OwnServer, choose, connect, free_port, server_version
from gemcut.devices.adb_facts import read_condition, read_facts
from gemcut.devices.replay import Subject, prove_on
from gemcut.errors import ConformanceError, LackingError, UnsupportedError, UsageError
from gemcut.runtimes.executorch.golden_runner.build import needs

from tests.support.fake_adbd import TMP, FakeAdbd

LONG = f"{random.randrange(10**6, 10**7)}.5"  # seconds, and how our own sleeping processes are known from others'
PHONE = f"""\
14
Pixel 6
Tensor

--gemcut--
Linux 5.10.157-android13
aarch64
--gemcut--
processor	: 0
Features	: fp asimd atomics asimddp
CPU implementer	: 0x41
CPU part	: 0xd05

processor	: 1
Features	: fp asimd atomics asimddp i8mm
CPU implementer	: 0x41
CPU part	: 0xd44
--gemcut--
MemTotal:        {7_654_321} kB
MemFree:          123456 kB
"""


@pytest.fixture(autouse=True)
def adb_is_here(ready: Callable[[str, str], None]) -> None:
    ready("adb", "executorch")


@pytest.fixture
def adbd(tmp_path: Path) -> Iterator[FakeAdbd]:
    root = tmp_path / "device"
    root.mkdir()
    with FakeAdbd(root) as device:
        yield device


@pytest.fixture
def folder(adbd: FakeAdbd, tmp_path: Path) -> Iterator[adb.AdbFolder]:
    """A folder on the device, through a server of our own."""
    server = OwnServer(tmp_path, everything=False)
    try:
        client = server.client(adbd.serial)
        connect(client, 20)
        # Android's folder isn't on this machine: the stand-in shows its own in that place
        yield adb.AdbFolder(f"adb:{adbd.serial}", client)
    finally:
        server.stop()


def running(text: str) -> list[int]:
    """Processes of this machine with that text in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if text.encode() in path.read_bytes() and int(path.parent.name) != os.getpid():
                found.append(int(path.parent.name))
    return found


def gone(text: str, seconds: float = 10) -> bool:
    """Whether no such process is left, or none soon."""
    until = time.monotonic() + seconds
    while running(text) and time.monotonic() < until:
        time.sleep(0.05)
    return not running(text)


@pytest.mark.parametrize("size", [0, 1, 70_000, 3_000_001])
def test_files_come_back_as_they_went(folder: adb.AdbFolder, tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    (tmp_path / "out").write_bytes(data)
    folder.push(tmp_path / "out", "in a folder/its name")
    folder.pull("in a folder/its name", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == data


@pytest.mark.large
def test_a_program_past_two_gibibytes_is_pushed_whole(folder: adb.AdbFolder, adbd: FakeAdbd, tmp_path: Path) -> None:
    size = (1 << 31) + 70_001  # past what 32 bits with a sign hold
    with (tmp_path / "out").open("wb") as file:
        for at in (0, 1 << 30, size - 8):
            file.seek(at)
            file.write(os.urandom(8))
    folder.push(tmp_path / "out", "model.pte")
    (there,) = adbd.root.rglob("model.pte")
    assert there.stat().st_size == size
    assert filecmp.cmp(tmp_path / "out", there, shallow=False)
    there.unlink()


def test_a_folder_is_pushed_whole_and_its_programs_run(folder: adb.AdbFolder, tmp_path: Path) -> None:
    (tmp_path / "tools" / "deep").mkdir(parents=True)
    script = tmp_path / "tools" / "deep" / "hello"
    script.write_text("#!/bin/sh\necho hello $1\n")
    script.chmod(0o755)
    folder.push(tmp_path / "tools", "tools")
    assert folder.run(("tools/deep/hello", "you there"), 10).stdout == "hello you there\n"


def test_output_errors_and_exit_code_come_apart(folder: adb.AdbFolder) -> None:
    done = folder.run(("sh", "-c", "echo out; echo err >&2; exit 7"), 10)
    assert (done.code, done.stdout, done.stderr) == (7, "out\n", "err\n")


@pytest.mark.parametrize("code", [1, 137, 255])
def test_no_exit_code_is_taken_for_adbs_own(folder: adb.AdbFolder, code: int) -> None:
    assert folder.run(("sh", "-c", f"exit {code}"), 10).code == code


def test_a_crash_is_its_signal(folder: adb.AdbFolder) -> None:
    done = folder.run(("sh", "-c", "kill -SEGV $$"), 10)
    assert done.signal == signal.SIGSEGV


def test_a_missing_file_is_named(folder: adb.AdbFolder, tmp_path: Path) -> None:
    with pytest.raises(ConformanceError, match=r"has no file result\.bin"):
        folder.pull("result.bin", tmp_path / "result.bin")


def test_a_push_that_fails_says_why(folder: adb.AdbFolder, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    folder.push(tmp_path / "file", "name")
    with pytest.raises(ConformanceError, match="adb push of file failed"):
        folder._copy("push", str(tmp_path / "file"), f"{folder.path}/name/below", 1)


def test_what_takes_too_long_is_ended_there_too(folder: adb.AdbFolder) -> None:
    began = time.monotonic()
    with pytest.raises(ConformanceError, match="took more than 1 seconds and was ended"):
        folder.run(("sh", "-c", f"sleep {LONG} & sleep {LONG}; true"), 1)
    assert time.monotonic() - began < 15
    assert gone(LONG)


def test_a_device_lost_on_the_way_is_an_error_at_once(folder: adb.AdbFolder, adbd: FakeAdbd) -> None:
    def pull_the_cable() -> None:
        until = time.monotonic() + 30
        while not running(f"sleep\0{LONG}") and time.monotonic() < until:
            time.sleep(0.05)
        adbd.drop()

    threading.Thread(target=pull_the_cable).start()
    began = time.monotonic()
    with pytest.raises(ConformanceError, match="was lost"):
        folder.run(("sleep", LONG), 60)
    assert time.monotonic() - began < 20
    assert gone(LONG)


def test_a_device_that_falls_silent_is_an_error_within_the_limit(folder: adb.AdbFolder, adbd: FakeAdbd) -> None:
    adbd.silent = True
    began = time.monotonic()
    with pytest.raises(ConformanceError, match=r"took more than|was lost"):
        folder.run(("true",), 2)
    assert time.monotonic() - began < 20


def test_the_device_and_its_server_leave_nothing(adbd: FakeAdbd, tmp_path: Path) -> None:
    device = adb.AdbDevice(f"adb:{adbd.serial}", 60)
    device._folder = adb.AdbFolder(device.spec, device._client(tmp_path))
    server = device._server
    assert server
    assert list(adbd.root.iterdir())
    device.close()
    assert not list(adbd.root.iterdir())
    assert server_version(server.address) is None
    assert gone(str(server.address.port))
    assert any(f"rm -rf {TMP}/gemcut-" in line for line in adbd.commands)


def test_nothing_is_left_after_kill_9(adbd: FakeAdbd, tmp_path: Path) -> None:
    program = f"""
        from pathlib import Path
        from gemcut.devices import adb
        device = adb.AdbDevice("adb:{adbd.serial}", 60)
        device._folder = adb.AdbFolder(device.spec, device._client(Path({str(tmp_path)!r})))
        print(device._server.address.port, flush=True)
        device.run(("sleep", {LONG!r}), 600)
    """
    child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True)
    assert child.stdout
    port = int(child.stdout.readline())
    until = time.monotonic() + 20
    while not running(f"sleep\0{LONG}") and time.monotonic() < until:
        time.sleep(0.05)
    assert running(f"sleep\0{LONG}")
    child.kill()
    child.wait()
    child.stdout.close()
    assert gone(LONG)
    assert server_version(Address("127.0.0.1", port)) is None
    assert gone(str(port))


@pytest.fixture
def users_server(adbd: FakeAdbd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OwnServer]:
    """A server as the user might have it, with a device attached, at the address that adb's variables name."""
    home = tmp_path / "user"
    home.mkdir()
    server = OwnServer(home, everything=False)
    try:
        connect(server.client(adbd.serial), 20)
        monkeypatch.delenv("ADB_SERVER_SOCKET", raising=False)
        monkeypatch.delenv("ANDROID_SERIAL", raising=False)
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(server.address.port))
        yield server
    finally:
        server.stop()


def test_the_users_server_is_asked_and_runs_on(users_server: OwnServer, adbd: FakeAdbd, tmp_path: Path) -> None:
    device = adb.AdbDevice("adb", 60)
    client = device._client(tmp_path)
    assert (client.address, client.serial) == (users_server.address, adbd.serial)
    device._folder = adb.AdbFolder("adb", client)
    assert device.run(("echo", "there"), 10).stdout == "there\n"
    device.close()
    assert users_server._process.poll() is None
    assert users_server.client(adbd.serial).is_there()


def test_a_networks_device_is_left_to_the_users_server(users_server: OwnServer, adbd: FakeAdbd, tmp_path: Path) -> None:
    device = adb.AdbDevice(f"adb:{adbd.serial}", 60)
    client = device._client(tmp_path)
    assert client.address != users_server.address
    device.close()
    assert users_server._process.poll() is None
    assert users_server.client(adbd.serial).is_there()


def test_of_several_devices_one_must_be_named(users_server: OwnServer, tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    with FakeAdbd(tmp_path / "second") as other:
        connect(users_server.client(other.serial), 20)
        with pytest.raises(UsageError, match="several devices"):
            adb.AdbDevice("adb", 60)._client(tmp_path)
        with pytest.raises(LackingError, match="no ready device nothing-like-it"):
            adb.AdbDevice("adb:nothing-like-it", 60)._client(tmp_path)


def test_a_server_of_another_version_is_not_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The adb client would kill it; so it must not be called at all."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def serve() -> None:
            while True:
                link, _ = listener.accept()
                with link:
                    heard.append(link.recv(64))
                    link.sendall(b"OKAY0004001f")

        threading.Thread(target=serve, daemon=True).start()
        monkeypatch.delenv("ADB_SERVER_SOCKET", raising=False)
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(port))
        with pytest.raises(LackingError, match="version 31"):
            adb.AdbDevice("adb", 60)._client(tmp_path)
    assert heard == [b"000chost:version"]


def test_a_client_never_starts_a_server(tmp_path: Path) -> None:
    server = OwnServer(tmp_path, everything=False)
    client = server.client("localhost:1")
    server.stop()
    assert client.call("devices").code != 0
    assert not client.is_there()
    assert gone(str(server.address.port))


def test_no_device_at_the_address(tmp_path: Path) -> None:
    server = OwnServer(tmp_path, everything=False)
    try:
        with pytest.raises(ConformanceError, match="didn't answer as an adb device within 2 seconds"):
            connect(server.client(f"localhost:{free_port()}"), 2)
    finally:
        server.stop()


def test_a_phones_facts() -> None:
    facts = read_facts(PHONE)
    assert facts.system == "Android 14 on Pixel 6 (Linux 5.10.157-android13)"
    assert (facts.architecture, facts.cpu, facts.cores, facts.emulated) == ("aarch64", "Tensor", 2, False)
    assert facts.features == ("asimd", "asimddp", "atomics", "fp"), "what every core has, not the big one's i8mm"
    assert facts.memory == 7_654_321 * 1024


@pytest.mark.parametrize("properties", ["\n\n1\n", "\n\n\n1\n", "\n\n\n\nranchu\n", "\n\n0\n0\ncutf_cvm\n"])
def test_an_emulators_facts_say_so(properties: str) -> None:
    """chip, board, ro.boot.qemu, ro.kernel.qemu, ro.hardware"""
    assert read_facts(PHONE.replace("Tensor\n\n", properties)).emulated


def test_qemus_own_board_is_a_virtual_machine() -> None:
    linux = "\n--gemcut--\nLinux 6.12\naarch64\n--gemcut--\n--gemcut--\n"
    assert read_facts(f"{linux}--gemcut--\nlinux,dummy-virt\n").emulated
    assert not read_facts(f"{linux}--gemcut--\nraspberrypi,5-model-b\nbrcm,bcm2712\n").emulated


def test_the_board_names_the_chip_of_an_older_android() -> None:
    assert read_facts(PHONE.replace("Tensor\n\n", "\nlahaina\n\n\nqcom\n")).cpu == "lahaina"


def test_a_phones_condition() -> None:
    battery = (
        "Current Battery Service state:\n  AC powered: false\n  USB powered: true\n  level: 84\n  temperature: 312\n"
    )
    thermal = "IsStatusOverride: false\nThermal Status: 2\nCached temperatures:\n"
    found = read_condition(f"{battery}--gemcut--\n{thermal}")
    assert found == Condition(battery=84, temperature=31.2, charging=True, thermal_status="moderate")
    assert read_condition("--gemcut--\n") is None


def test_a_linux_machines_facts(folder: adb.AdbFolder) -> None:
    facts = folder.facts()
    assert facts.system == f"Linux {platform.release()}"
    assert facts.architecture == platform.machine()
    assert facts.memory > 1 << 28
    assert facts.cores == os.cpu_count()


def test_a_machine_without_a_runner_is_refused(folder: adb.AdbFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adb.AdbFolder, "line", lambda *_: adb.Finished(0, "armv7l\n", ""))
    with pytest.raises(UnsupportedError, match="armv7l"):
        folder.machine()


def test_litert_is_refused_from_the_description() -> None:
    with pytest.raises(UnsupportedError, match="executorch"):
        make_device("adb").refuse("litert", "2.3.0")


def test_a_file_that_does_not_fit_is_refused_before_it_is_sent(
    folder: adb.AdbFolder, adbd: FakeAdbd, tmp_path: Path
) -> None:
    with (tmp_path / "huge.pte").open("wb") as file:
        file.truncate(1 << 43)  # sparse: 8 TiB
    with pytest.raises(LackingError, match=r"free in /data/local/tmp, but huge.pte takes 8.8 TB"):
        folder.push(tmp_path / "huge.pte", "huge.pte")
    assert not list(adbd.root.rglob("huge.pte"))


@pytest.fixture
def android(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Gives the stand-in Android's getprop and dumpsys."""

    def write(**props: str) -> None:
        tools = tmp_path / "tools"
        tools.mkdir(exist_ok=True)
        cases = "".join(f"{name.replace('_', '.')}) echo {value!r};;\n" for name, value in props.items())
        said = "echo '  USB powered: false'; echo '  level: 84'; echo '  temperature: 312'"
        scripts = {
            "getprop": f'case "$1" in\n{cases}*) echo;;\nesac',
            "dumpsys": f"case $1 in battery) {said};; thermalservice) echo 'Thermal Status: 1';; esac",
        }
        for name, text in scripts.items():
            (tools / name).write_text(f"#!/bin/sh\n{text}\n")
            (tools / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")

    return write


@pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64"), reason="there is no runner for this machine")
def test_two_bundles_are_measured_through_adb_in_turns(
    adbd: FakeAdbd, sample_int4: Any, android: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    lacking = [*needs(platform.machine()), *adb.AdbDevice("adb", 60).needs("executorch")]
    if lacking:
        pytest.skip(f"{lacking[0].what} is missing: {lacking[0].command}")
    android(ro_build_version_release="14", ro_product_model="Pixel 6", ro_soc_model="Tensor")
    words = ["bench", str(sample_int4.path), str(sample_int4.path), "--on", f"adb:{adbd.serial}", "-r", "2"]
    assert main([*words, "-p", "16", "-n", "4", "--threads", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["emulated"], found["runs"]) == (False, 2)
    place = found["place"]
    assert place["system"].startswith("Android 14 on Pixel 6 (Linux ")
    assert place["cpu"] == "Tensor"
    condition = {"battery": 84, "temperature": 31.2, "charging": False, "thermal_status": "light"}
    assert place["before"] == place["after"] == condition
    program = (sample_int4.path / "model.pte").stat().st_size
    for one in found["bundles"]:
        assert (one["threads"], one["runtime"]) == (2, "executorch")
        assert [test["test"] for test in one["tests"]] == ["pp16", "tg4"]
        assert all(len(test["tokens_per_second"]["samples"]) == 2 for test in one["tests"])
        assert program < one["peak_memory"]["mean"] < 20 * program
        assert 0 < one["own_memory"]["mean"] < one["peak_memory"]["mean"]
        assert 0 < one["mapped_memory"]["mean"] <= program
    runs = [line for line in adbd.commands if "runtime/runner bench" in line]
    assert [line.partition("runner bench ")[2].split()[0] for line in runs] == [
        f"bench-{number}/model.pte" for _ in range(2) for number in range(2)
    ]
    assert not list(adbd.root.iterdir())

    android(ro_hardware="ranchu", ro_product_model="sdk_gphone64_x86_64", ro_build_version_release="15")
    assert main([*words[:2], *words[3:5], "-r", "1", "-p", "8", "-n", "2"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("**Emulated: these speeds say nothing about a phone's.**")
    assert "| t/s (emulated) |" in shown.replace("  ", "")
    assert "Android 15 on sdk_gphone64_x86_64" in shown
    assert not list(adbd.root.iterdir())


@pytest.mark.parametrize(
    ("lines", "error", "hint"),
    [
        ([], "it sees: none", "attach the device"),
        (["one\tunauthorized"], "one \\(unauthorized\\)", "allow USB debugging for this machine"),
        (["one\toffline"], "one \\(offline\\)", "plug it in again"),
        (["one\tdevice", "two\tdevice"], "several devices are attached: one, two", "--on adb:one"),
    ],
)
def test_what_adb_sees_is_told_with_what_to_do(
    lines: list[str], error: str, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = adb.Finished(0, "\n".join(["List of devices attached", *lines, ""]), "")
    monkeypatch.setattr(Client, "call", lambda *_, **__: said)
    with pytest.raises((LackingError, UsageError), match=error) as caught:
        choose(Client(Address("127.0.0.1", 1), "", {}), 0)
    assert hint in str(caught.value.hint)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64"), reason="there is no runner for this machine")
def test_the_sample_is_proven_through_adb(
    adbd: FakeAdbd, sample_int4: Any, subject_of_bundle: Callable[[Path], Subject], tmp_path: Path, silent: Any
) -> None:
    """The whole way, with this machine behind the stand-in: its own runner, glibc and loader are pushed and run."""
    lacking = [*needs(platform.machine()), *adb.AdbDevice("adb", 60).needs("executorch")]
    if lacking:
        pytest.skip(f"{lacking[0].what} is missing: {lacking[0].command}")
    subject = subject_of_bundle(sample_int4.path)
    verdict = prove_on(subject, f"adb:{adbd.serial}", tmp_path, silent, Options(seconds=300))
    assert verdict.passed, verdict.failures
    assert verdict.facts
    assert verdict.facts.runtimes["executorch"]
    assert verdict.peak_memory > 1 << 20
    assert not list(adbd.root.iterdir())
