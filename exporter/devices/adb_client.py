"""The ordinary adb client, every call with a time limit, and Gemcut's own adb servers.

adb is a client and a server on one port; a client that finds no server starts one that stays, and a client that finds
a server of another version kills it. Neither must happen here: the client is always given the server's address
(``adb -H 127.0.0.1 -P PORT``), which keeps it from starting one, and a server that isn't Gemcut's is asked for its
version first. Gemcut's own runs in the foreground (``adb nodaemon server``) as a child that ends with this process.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import ConformanceError, LackingError, UsageError
from ..util import processes
from ..util.processes import Finished

DEFAULT_PORT = 5037  # adb's default
CALL = 20.0  # seconds that a small call may take
_START = 15.0  # seconds until Gemcut's own server answers
_PROBE = 2.0
_TRIES = 3
_LOOPBACK = "127.0.0.1"
# adb's client/main.cpp: with these a server looks for no USB device, no emulator and no mDNS service.
_ALONE = {"ADB_USB": "0", "ADB_EMU": "0", "ADB_MDNS": "0"}
# What to do, by what a state begins with that adb gives a device that it can't use.
_HINTS = {
    "unauthorized": "unlock the device and allow USB debugging for this machine on its screen; if it doesn't ask, "
    "unplug it and plug it in again",
    "offline": "unplug the device and plug it in again, or restart it",
    "no permissions": "let your user open USB devices (on Linux, by udev's rules for Android), then plug it in again",
}


@dataclass(frozen=True)
class Address:
    """Where an adb server listens.

    Attributes:
        host: The host's name or address.
        port: The TCP port.
    """

    host: str
    port: int


@dataclass(frozen=True)
class Client:
    """Calls on one device of one server.

    Attributes:
        address: Where the server listens.
        serial: The device's serial; empty for calls on the server itself.
        env: Variables besides this process's environment.
    """

    address: Address
    serial: str
    env: Mapping[str, str]

    def call(self, *arguments: str, seconds: float = CALL) -> Finished:
        """Run ``adb -s SERIAL ARGUMENTS``.

        Raises:
            ConformanceError: It took longer; adb waits forever for a lost device.
        """
        where = ("-H", self.address.host, "-P", str(self.address.port))
        which = ("-s", self.serial) if self.serial else ()
        return processes.run(("adb", *where, *which, *arguments), seconds, env=self.env)

    def shell(self, line: str, seconds: float = CALL) -> Finished:
        """Run a line in the device's shell; return exit code, output and errors (adb's shell protocol, version 2).

        Raises:
            ConformanceError: It took longer.
        """
        return self.call("shell", line, seconds=seconds)

    def is_there(self) -> bool:
        """Return whether the device answers."""
        try:
            return self.call("get-state", seconds=CALL / 4).stdout.strip() == "device"
        except ConformanceError:
            return False


class OwnServer:
    """Gemcut's own adb server on a free port, without the user's keys, until ``stop`` or the end of this process."""

    def __init__(self, work: Path, everything: bool, keys: Path | None = None) -> None:
        """Start the server.

        Args:
            work: The folder of its home, which gets the keys that it makes, and of its log.
            everything: Whether it looks for USB devices and emulators; else it only knows what it is told to connect
                to.
            keys: A private key to offer besides its own; it is read, never written.

        Raises:
            LackingError: There is no adb, or it doesn't start; the message has the last line of its log.
        """
        home = work / "adb"
        home.mkdir(parents=True, exist_ok=True)
        self.env = {"HOME": str(home), "ANDROID_USER_HOME": str(home), "ANDROID_SDK_HOME": str(home)}
        if keys:
            self.env["ADB_VENDOR_KEYS"] = str(keys)
        self._log = home / "server.log"
        for _ in range(_TRIES):  # another process may take the port before the server does
            self.address = Address(_LOOPBACK, free_port())
            if self._started({} if everything else _ALONE):
                return
        raise LackingError(
            f"adb's server doesn't start: {_last_line(self._log)}", hint="run adb nodaemon server to see why"
        )

    def _started(self, env: Mapping[str, str]) -> bool:
        command = ("adb", "-P", str(self.address.port), "nodaemon", "server")
        with self._log.open("wb") as log:
            self._process: subprocess.Popen[bytes] = processes.start(command, None, {**self.env, **env}, out=log)
        ready = False
        try:
            until = time.monotonic() + _START
            while not ready and time.monotonic() < until and self._process.poll() is None:
                ready = server_version(self.address) is not None
                time.sleep(0.05)
        finally:
            if not ready:
                self.stop()
        return ready and self._process.poll() is None

    def client(self, serial: str) -> Client:
        """Return a client for one of its devices."""
        return Client(self.address, serial, self.env)

    def stop(self) -> None:
        """End the server."""
        processes.stop(self._process)


def free_port() -> int:
    """Return a TCP port of this machine's loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        return int(probe.getsockname()[1])


def users_address() -> Address:
    """Return where the user's own adb server would listen, reading the environment as adb does.

    Raises:
        UsageError: ``ADB_SERVER_SOCKET`` or ``ANDROID_ADB_SERVER_PORT`` is not a TCP address.
    """
    spec = os.environ.get("ADB_SERVER_SOCKET", "")
    host = os.environ.get("ANDROID_ADB_SERVER_ADDRESS") or _LOOPBACK
    port = os.environ.get("ANDROID_ADB_SERVER_PORT") or str(DEFAULT_PORT)
    if spec:
        found = re.fullmatch(r"tcp:(?:(.+):)?(\d+)", spec)
        if not found:
            raise UsageError(f"ADB_SERVER_SOCKET={spec} is not tcp:HOST:PORT", hint="unset it, or name a TCP socket")
        host, port = found[1] or _LOOPBACK, found[2]
    if not port.isdigit() or not 0 < int(port) < 1 << 16:
        raise UsageError(
            f"ANDROID_ADB_SERVER_PORT={port} is not a port", hint=f"unset it to use adb's default, {DEFAULT_PORT}"
        )
    return Address(_LOOPBACK if host == "localhost" else host, int(port))


def server_version(address: Address) -> int | None:
    """Return the protocol version of the adb server at an address; None if there is no server.

    Asks as adb does (``host:version``, adb's SERVICES.TXT); changes and starts nothing.
    """
    with contextlib.suppress(OSError, ValueError), socket.create_connection(address_pair(address), _PROBE) as link:
        link.settimeout(_PROBE)
        link.sendall(b"000chost:version")
        with link.makefile("rb") as answer:
            if answer.read(4) == b"OKAY":
                return int(answer.read(int(answer.read(4), 16)), 16)
    return None


def address_pair(address: Address) -> tuple[str, int]:
    """Return an address as sockets take it."""
    return address.host, address.port


def require_same_version(address: Address, running: int) -> None:
    """Check that the client on the path wouldn't kill a server that is running.

    Raises:
        LackingError: Their versions differ, so it would.
    """
    said = processes.run(("adb", "version"), CALL).stdout
    found = re.search(r"version \d+\.\d+\.(\d+)", said)
    if not found or int(found[1]) != running:
        in_path = found[1] if found else "unknown"
        raise LackingError(
            f"an adb server of version {running} is running on port {address.port}; the adb in PATH has version "
            f"{in_path} and would end it",
            hint="put the adb that started it first in PATH, or end it yourself: adb kill-server",
        )


def connect(client: Client, seconds: float) -> None:
    """Make Gemcut's own server connect to the device HOST:PORT that is the client's serial.

    Raises:
        ConformanceError: The device doesn't answer in time, or trusts none of the keys.
    """
    until, said = time.monotonic() + seconds, ""
    while time.monotonic() < until:
        with contextlib.suppress(ConformanceError):
            said = replace(client, serial="").call("connect", client.serial).stdout.strip()
            if client.is_there():
                return
        time.sleep(0.2)
    raise ConformanceError(
        f"{client.serial} didn't answer as an adb device within {seconds:.0f} seconds: {said or 'adb says nothing'}",
        hint="check that adbd listens there (adb tcpip 5555), and allow this machine on the phone's screen",
    )


def choose(client: Client, seconds: float) -> Client:
    """Return a client of the device that the user means, once it answers.

    Args:
        client: A client of its server. If its serial is empty, there must be exactly one device.
        seconds: How long a device may take to appear.

    Raises:
        LackingError: There is no such device, or it isn't ready; the message has the state that adb gives.
        UsageError: There are several devices.
    """
    until = time.monotonic() + seconds
    while True:
        lines = replace(client, serial="").call("devices").stdout.splitlines()[1:]
        states = dict(line.split("\t", 1) for line in lines if "\t" in line)
        wanted = {name: state for name, state in states.items() if client.serial in ("", name)}
        ready = [name for name, state in wanted.items() if state.strip() == "device"]
        if len(ready) > 1:
            raise UsageError(
                f"several devices are attached: {', '.join(ready)}", hint=f"name one of them: --on adb:{ready[0]}"
            )
        if ready:
            return replace(client, serial=ready[0])
        if time.monotonic() > until:
            break
        time.sleep(0.5)
    seen = ", ".join(f"{name} ({state.strip()})" for name, state in (wanted or states).items()) or "none"
    usual = "attach the device, allow USB debugging on its screen, and check with adb devices -l"
    said = " ".join(state.strip() for state in wanted.values())
    hint = next((hint for state, hint in _HINTS.items() if said.startswith(state)), usual)
    raise LackingError(
        f"adb has no ready device{f' {client.serial}' if client.serial else ''}; it sees: {seen}", hint=hint
    )


def users_key() -> Path | None:
    """Return the user's own adb key; None if there is none that can be read."""
    key = Path.home() / ".android" / "adbkey"
    return key if os.access(key, os.R_OK) else None


def require_adb() -> None:
    """Check that adb is installed.

    Raises:
        LackingError: It isn't.
    """
    if shutil.which("adb") is None:
        from ..util.fetching import apt_command

        raise LackingError("adb is not installed", hint=apt_command(("adb",)))


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() if log.exists() else []
    return lines[-1] if lines else "it says nothing"
