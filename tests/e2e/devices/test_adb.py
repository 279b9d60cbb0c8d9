"""Devices behind adb: the real adb client against a small adbd, also when the device is lost and when we are killed."""

from __future__ import annotations

import contextlib
import filecmp
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
from gemcut.devices import Options, adb, make_device
from gemcut.devices.adb_client import Address, OwnServer, connect, free_port, server_version
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
    facts = adb.read_facts(PHONE)
    assert facts.system == "Android 14 on Pixel 6 (Linux 5.10.157-android13)"
    assert (facts.architecture, facts.cpu, facts.cores, facts.emulated) == ("aarch64", "Tensor", 2, False)
    assert facts.features == ("asimd", "asimddp", "atomics", "fp"), "what every core has, not the big one's i8mm"
    assert facts.memory == 7_654_321 * 1024


def test_an_emulators_facts_say_so() -> None:
    assert adb.read_facts(PHONE.replace("Tensor\n\n", "\n1\n")).emulated


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
