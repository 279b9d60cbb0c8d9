"""``adb[:SERIAL]``: a phone, an Android emulator, or anything else with adbd, reached through the ordinary adb client.

What runs there is the golden runner of the PyPI wheel, a glibc program, with its libraries, glibc and glibc's own
loader beside it, started through that loader: it needs nothing of the device but its kernel, so no NDK is needed here.
That proves the device's processor (the kernels that it chooses, its arithmetic), its kernel and its memory with the
wheel's runtime. It does not prove the library that an app ships, nor Android's C library, nor the sandbox of an app:
``android-lib`` proves the first.

Which server: a device that is given as HOST:PORT is reached through Gemcut's own adb server on a free port. A device on
USB, or an emulator, can be held by one server only; if the user's is running, it is used and left running. If none is
running, Gemcut starts its own, with the user's key (``~/.android/adbkey``) read and never written, so that a phone that
trusts this machine needs no new consent.
"""

from __future__ import annotations

import os
import re
import secrets
import shlex
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConformanceError, LackingError, UnsupportedError
from ..runtimes.golden_runner import NativeGoldenRunner
from ..util.fetching import apt_command
from ..util.processes import Finished
from ..util.progress import Progress
from ..util.text import size_text
from .adb_client import (
    CALL,
    Client,
    OwnServer,
    choose,
    connect,
    require_adb,
    require_same_version,
    server_version,
    users_address,
    users_key,
)
from .adb_facts import ASK, ASK_CONDITION, read_condition, read_facts
from .adb_runner import FOLDER, native_command, stage_native, with_runtime
from .base import Device, DeviceKind, Facts, Need
from .golden_runners import golden_runner, runtimes_with
from .options import Options

if TYPE_CHECKING:
    from ..bench.results import Condition
    from ..bundle.reader import Bundle
    from ..prove.behaviour import Check
    from ..prove.golden import Golden, Recorded

_ROOTS = ("/data/local/tmp", "/tmp")  # what Android's shell user may write and execute in; what any Linux has
_SLOWEST = 1e6  # the least bytes per second of a push or pull
_SETTLE = 30.0  # seconds until a connected device answers
_APPEAR = 10.0  # seconds until a server that was just started has seen what is attached
_PID = ".pid"
_LOOK = "run adb devices -l to see what is attached"
_MACHINES = {"aarch64": "aarch64", "arm64": "aarch64", "x86_64": "x86_64"}
_NETWORK = re.compile(r"(\[[0-9a-fA-F:]+\]|[^:\s]+):\d{1,5}")


class AdbFolder:
    """A folder on a device behind adb, made on entry: what ``base.Device`` asks of push, run and pull."""

    def __init__(self, spec: str, client: Client, before: str = "") -> None:
        """Make the folder.

        Args:
            spec: The device, as messages name it.
            client: Calls on the device.
            before: Shell commands that precede each program.

        Raises:
            ConformanceError: The device was lost, or has no folder for files.
        """
        self.spec, self._client, self._before, self.path = spec, client, before, ""
        self._mark = f"gemcut-end-{secrets.token_hex(6)} "
        self._end_marker = f"echo {self._mark}$? >&2"
        name = f"gemcut-{secrets.token_hex(6)}"
        roots = " ".join(_ROOTS)
        made = self.line(f"for d in {roots}; do mkdir -m 700 $d/{name} 2>/dev/null && echo $d/{name} && break; done")
        self.path = made.stdout.strip()
        if not self.path:
            raise ConformanceError(f"{spec} has no writable folder in {' or '.join(_ROOTS)}: {made.stderr.strip()}")

    def line(self, line: str, seconds: float = CALL) -> Finished:
        """Run a line of shell.

        Raises:
            ConformanceError: The device was lost, or is too slow.
        """
        return self._ended(f"{line}\n{self._end_marker}", line.split()[0], seconds)

    def _ended(self, script: str, what: str, seconds: float) -> Finished:
        """Run a script that ends with ``_end_marker``: adb itself exits with 0 when it loses a device on the way."""
        try:
            done = self._client.shell(script, seconds)
        except ConformanceError as error:
            raise self._timed_out(what, seconds) from error
        errors, mark, code = done.stderr.rpartition(self._mark)
        if not mark:
            said = (done.stderr.strip().splitlines() or ["the connection ended"])[-1]
            raise ConformanceError(f"{self.spec} was lost: {said}", hint=_LOOK)
        return Finished(int(code), done.stdout, errors)

    def push(self, source: Path, name: str) -> None:
        """See ``base.Device``; ``name`` may have folders in it, and a folder is copied with all that is in it."""
        size = sum(f.stat().st_size for f in ([source] if source.is_file() else source.rglob("*")) if f.is_file())
        self._require_room(size, source.name)
        if "/" in name:
            self.line(f"mkdir -p {shlex.quote(f'{self.path}/{Path(name).parent}')}")
        self._copy("push", str(source), f"{self.path}/{name}", size)

    def _require_room(self, size: int, name: str) -> None:
        """Check that a file fits on the device, where its df says how much is free (POSIX: 1024 bytes a block)."""
        said = self.line(f"df -Pk {shlex.quote(self.path)} 2>/dev/null").stdout.strip().splitlines()
        columns = said[-1].split() if len(said) > 1 else []
        free = int(columns[3]) * 1024 if len(columns) >= 6 and columns[3].isdigit() else size
        if free < size:
            raise LackingError(
                f"{self.spec} has {size_text(free)} free in {Path(self.path).parent}, but {name} takes "
                f"{size_text(size)}",
                hint="free some of the device's storage and try again; gemcut leaves nothing there",
            )

    def pull(self, name: str, target: Path) -> None:
        """See ``base.Device``."""
        path = f"{self.path}/{name}"
        said = self.line(f"stat -c %s {shlex.quote(path)}")
        if said.code:
            raise ConformanceError(f"{self.spec} has no file {name}: the program didn't write it")
        size = int(said.stdout)
        self._copy("pull", path, str(target), size)
        if target.stat().st_size != size:
            raise ConformanceError(f"{self.spec}: only {target.stat().st_size} of the {size} bytes of {name} arrived")

    def _copy(self, verb: str, source: str, target: str, size: int) -> None:
        limit = CALL + size / _SLOWEST
        try:
            done = self._client.call(verb, source, target, seconds=limit)
        except ConformanceError as error:
            raise self._timed_out(f"adb {verb}", limit) from error
        if done.code:
            if not self._client.is_there():
                raise ConformanceError(f"{self.spec} was lost during adb {verb}", hint=_LOOK)
            lines = (done.stderr or done.stdout).strip().splitlines() or [f"exit code {done.code}"]
            raise ConformanceError(
                f"{self.spec}: adb {verb} of {Path(source).name} failed: {lines[-1]}",
                hint="check that the device's disk isn't full: adb shell df",
            )

    def run(self, command: Sequence[str], seconds: float) -> Finished:
        """See ``base.Device``."""
        # adbd hangs up on the shell, which leads a session, when this process ends: the program must not outlive it.
        script = (
            f"cd {shlex.quote(self.path)} && echo $$ > {_PID} && export HOME=$PWD TMPDIR=$PWD\n{self._before}\n"
            f"trap 'kill -9 -$$ || kill -9 $program' HUP\n{shlex.join(command)} & program=$!\nwait $program\ncode=$?\n"
            f"rm -f {_PID}\n(exit $code)\n{self._end_marker}"
        )
        try:
            return self._ended(script, Path(command[0]).name, seconds)
        except KeyboardInterrupt:
            self._kill()
            raise

    def _kill(self) -> None:
        """End what ``run`` started, and its children: adbd gives every shell its own session."""
        note = shlex.quote(f"{self.path}/{_PID}")
        with suppress(ConformanceError):
            self._client.shell(f"p=$(cat {note}) && rm {note} && {{ kill -9 -$p || kill -9 $p; }}", CALL / 4)

    def _timed_out(self, what: str, seconds: float) -> ConformanceError:
        """The error of a call that took too long; ends what it may have left running on the device."""
        if not self._client.is_there():
            said = f"{self.spec} was lost: {what} gave no answer within {seconds:.0f} seconds"
            return ConformanceError(said, hint=_LOOK)
        self._kill()
        return ConformanceError(
            f"{self.spec}: {what} took more than {seconds:.0f} seconds and was ended",
            hint="the program hangs, or the device is slow: allow more time with --timeout SECONDS",
        )

    def remove(self) -> None:
        """Remove the folder; does nothing if the device was lost."""
        with suppress(ConformanceError):
            self._client.shell(f"rm -rf {shlex.quote(self.path)}")

    def facts(self) -> Facts:
        """Return system, processor and memory, without a runtime's facts."""
        return read_facts(self.line(ASK).stdout)

    def condition(self) -> Condition | None:
        """Return battery and heat, as far as the device tells."""
        return read_condition(self.line(ASK_CONDITION).stdout)

    def machine(self) -> str:
        """Return the device's machine, 'aarch64' or 'x86_64'.

        Raises:
            UnsupportedError: It is another machine.
        """
        said = self.line("uname -m").stdout.strip()
        if said not in _MACHINES:
            raise UnsupportedError(
                f"{self.spec} is of machine type {said or 'unknown'}; there are runners only for aarch64 and x86_64",
                hint="use a 64-bit device, or a 64-bit image of the emulator",
            )
        return _MACHINES[said]


class AdbDevice:
    """``adb[:SERIAL]``; see the module."""

    def __init__(self, spec: str, seconds: float) -> None:
        self.spec, self.seconds = spec, seconds
        self.runtimes = runtimes_with(NativeGoldenRunner)
        self._serial = spec.partition(":")[2]
        self._server: OwnServer | None = None
        self._folder: AdbFolder | None = None

    def needs(self, runtime: str) -> tuple[Need, ...]:
        """See ``base.Device``."""
        adb = () if shutil.which("adb") else (Need("adb", apt_command(("adb",)), "adb"),)
        return (*adb, *self._runner(runtime).needs("aarch64"))

    def _runner(self, runtime: str) -> NativeGoldenRunner:
        runner = golden_runner(runtime, self.spec)
        assert isinstance(runner, NativeGoldenRunner), "refuse must come first"
        return runner

    def refuse(self, runtime: str, version: str) -> None:
        """See ``base.Device``."""
        if runtime not in self.runtimes:
            raise UnsupportedError(
                f"{self.spec} runs {', '.join(self.runtimes)} bundles, not {runtime} bundles",
                hint="Use arm64-user or arm64-vm: they also run bundles whose golden runner is in Python.",
            )

    def prepare(self, runtime: str, work: Path, progress: Progress) -> None:
        """See ``base.Device``."""
        require_adb()
        self._folder = AdbFolder(self.spec, self._client(work))
        self._folder.push(stage_native(self._runner(runtime), self._folder.machine(), work, progress), FOLDER)

    def _client(self, work: Path) -> Client:
        """A client of the device that the user means, once it answers."""
        if _NETWORK.fullmatch(self._serial):
            self._server = OwnServer(work, everything=False, keys=users_key())
            client = self._server.client(self._serial)
            connect(client, _SETTLE)
            return client
        address = users_address()
        running = server_version(address)
        serial = self._serial or os.environ.get("ANDROID_SERIAL", "")
        if running is None:
            self._server = OwnServer(work, everything=True, keys=users_key())
            return choose(self._server.client(serial), _APPEAR)
        require_same_version(address, running)
        return choose(Client(address, serial, {}), 0)

    def push(self, source: Path, name: str) -> None:
        """See ``base.Device``."""
        self._opened_folder.push(source, name)

    def run(self, command: Sequence[str], seconds: float) -> Finished:
        """See ``base.Device``."""
        return self._opened_folder.run(command, seconds)

    def pull(self, name: str, target: Path) -> None:
        """See ``base.Device``."""
        self._opened_folder.pull(name, target)

    @property
    def _opened_folder(self) -> AdbFolder:
        if self._folder is None:
            raise RuntimeError("the device isn't prepared")
        return self._folder

    def runner(self, runtime: str) -> tuple[str, ...]:
        """See ``base.Device``."""
        return native_command(self._runner(runtime), self._opened_folder.machine())

    def facts(self, runtime: str) -> Facts:
        """See ``base.Device``."""
        return with_runtime(self._opened_folder.facts(), runtime, self.run((*self.runner(runtime), "facts"), CALL * 3))

    def condition(self) -> Condition | None:
        """See ``base.Conditioned``."""
        return self._opened_folder.condition()

    def more(
        self, bundle: Bundle, goldens: Sequence[Golden], host: Sequence[Recorded], work: Path, progress: Progress
    ) -> tuple[Check, ...]:
        """See ``base.Device``: none."""
        return ()

    def close(self) -> None:
        """See ``base.Device``; a server that isn't Gemcut's keeps running."""
        folder, self._folder = self._folder, None
        server, self._server = self._server, None
        try:
            if folder:
                folder.remove()
        finally:
            if server:
                server.stop()

    def __enter__(self) -> AdbDevice:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AdbKind(DeviceKind):
    """See ``DeviceKind``."""

    name = "adb"
    argument = "SERIAL"
    proves = "a phone's or an Android emulator's processor and kernel, through the PyPI runtimes for Linux"
    leaves_out = "the app's library and its sandbox"
    here = False

    def make(self, text: str, options: Options) -> Device:
        """See ``DeviceKind``."""
        return AdbDevice(text, options.limit)


DEVICE = AdbKind()
