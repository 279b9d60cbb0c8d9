"""``arm64-vm`` as a device: the machine of ``machine``, reached only through the adb of ``devices.adb``."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import ConformanceError, UnsupportedError
from ...runtimes.golden_runner import NativeGoldenRunner, PythonGoldenRunner
from ...util.fetching import apt_command
from ...util.processes import Finished
from ...util.progress import Progress
from ..adb import AdbFolder
from ..adb_client import OwnServer, connect
from ..adb_python import PACKAGE, guest_command, package
from ..adb_runner import FOLDER, native_command, need_packages, stage_native, with_runtime
from ..base import Facts, Need
from ..golden_runners import golden_runner, runtimes_with
from .image import NEEDED, image, mke2fs, python_disk
from .machine import CPU, QEMU, Machine, mebibytes

if TYPE_CHECKING:
    from ...bundle.reader import Bundle
    from ...prove.behaviour import Check
    from ...prove.golden import Golden, Recorded

DEFAULT_MEMORY = "2G"
_PYTHON = "/opt"  # where ``init.sh`` mounts the second disk
_MACHINE = "aarch64"
_SETTLE = 60.0
_ASK = 60.0
_LEAST_SHELL = "echo 1000 > /proc/self/oom_score_adj"  # when memory runs out, the program goes first
_KILLED = 137


class Arm64Vm:
    """See ``base.Device``.

    Attributes:
        memory: The machine's memory, as QEMU writes it.
    """

    def __init__(self, spec: str, seconds: float, memory: str = DEFAULT_MEMORY) -> None:
        """Check the memory's size; nothing is started.

        Raises:
            UsageError: The memory isn't a size, or is too small.
        """
        self.spec, self.seconds, self.memory = spec, seconds, memory
        self.runtimes = runtimes_with(NativeGoldenRunner, PythonGoldenRunner)
        self._mebibytes = mebibytes(memory)
        self._machine: Machine | None = None
        self._server: OwnServer | None = None
        self._folder: AdbFolder | None = None

    def needs(self, runtime: str) -> tuple[Need, ...]:
        """See ``base.Device``."""
        tools = {QEMU: "qemu-system-arm", "adb": "adb"}
        missing = [package for name, package in tools.items() if not shutil.which(name)]
        lacking = [Need(package, apt_command((package,)), package) for package in missing]
        runner = golden_runner(runtime, self.spec)
        compiler = runner.needs(_MACHINE) if isinstance(runner, NativeGoldenRunner) else ()
        return (*lacking, *need_packages(*NEEDED, "e2fsprogs"), *compiler)

    def refuse(self, runtime: str, version: str) -> None:
        """See ``base.Device``."""
        if runtime not in self.runtimes:
            raise UnsupportedError(
                f"{self.spec} runs {', '.join(self.runtimes)} bundles, not {runtime} bundles",
                hint="See gemcut devices for what each device proves.",
            )

    def prepare(self, runtime: str, work: Path, progress: Progress) -> None:
        """See ``base.Device``."""
        mke2fs()
        booted = image(progress)
        runner = golden_runner(runtime, self.spec)
        if isinstance(runner, NativeGoldenRunner):
            staged, folder, library = stage_native(runner, _MACHINE, work, progress), FOLDER, None
        else:
            staged, folder, library = package(runner, work), PACKAGE, python_disk(runner.wheels, progress)
        progress.note(f"booting {self.spec} with {self.memory}")
        self._machine = Machine(booted, self._mebibytes, work, library)
        self._server = OwnServer(work, everything=False)
        client = self._server.client(f"localhost:{self._machine.port}")
        connect(client, _SETTLE)
        self._folder = AdbFolder(self.spec, client, _LEAST_SHELL)
        self._folder.push(staged, folder)

    @property
    def _opened_folder(self) -> AdbFolder:
        if self._folder is None:
            raise RuntimeError("the device isn't prepared")
        return self._folder

    def push(self, source: Path, name: str) -> None:
        """See ``base.Device``."""
        self._opened_folder.push(source, name)

    def run(self, command: Sequence[str], seconds: float) -> Finished:
        """See ``base.Device``.

        Raises:
            ConformanceError: It took longer, the device was lost, or the machine's memory didn't suffice.
        """
        try:
            done = self._opened_folder.run(command, seconds)
        except ConformanceError as error:
            if self._machine and self._machine.killed_for_memory():
                raise self._too_big() from error
            raise
        if done.code == _KILLED and self._machine and self._machine.killed_for_memory():
            raise self._too_big()
        return done

    def _too_big(self) -> ConformanceError:
        return ConformanceError(
            f"{self.spec}: the program doesn't fit into {self.memory} of memory: the machine's kernel ended it",
            hint="Choose a coarser recipe or a shorter --context; gemcut plan says how much memory a bundle needs.",
        )

    def pull(self, name: str, target: Path) -> None:
        """See ``base.Device``."""
        self._opened_folder.pull(name, target)

    def runner(self, runtime: str) -> tuple[str, ...]:
        """See ``base.Device``."""
        runner = golden_runner(runtime, self.spec)
        if isinstance(runner, NativeGoldenRunner):
            return native_command(runner, _MACHINE)
        return guest_command(_PYTHON, runner)

    def facts(self, runtime: str) -> Facts:
        """See ``base.Device``."""
        found = replace(self._opened_folder.facts(), cpu=f"{CPU} (QEMU)", emulated=True)
        return with_runtime(found, runtime, self.run((*self.runner(runtime), "facts"), _ASK))

    def more(
        self, bundle: Bundle, goldens: Sequence[Golden], host: Sequence[Recorded], work: Path, progress: Progress
    ) -> tuple[Check, ...]:
        """See ``base.Device``: none."""
        return ()

    def close(self) -> None:
        """See ``base.Device``."""
        machine, self._machine = self._machine, None
        server, self._server = self._server, None
        self._folder = None  # it is gone with the machine's disk
        try:
            if server:
                server.stop()
        finally:
            if machine:
                machine.stop()

    def __enter__(self) -> Arm64Vm:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
