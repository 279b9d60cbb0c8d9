"""The device ``arm64-user``: the runtimes' arm64 builds from PyPI under qemu-user, in one thread."""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import ConformanceError, LackingError, UnsupportedError
from ...prove.wire import last_object
from ...runtimes import find_runtime
from ...runtimes.golden_runner import NativeGoldenRunner, PythonGoldenRunner
from ...util import fetching, processes
from ...util.processes import Finished
from ...util.progress import Progress
from ..base import Facts, Need
from ..golden_runners import golden_runner, runtimes_with
from ..guest_package import write_package
from .profiles import DEFAULT, Profile, emulator, knows, load, qemu_version
from .sysroot import CROSS, site, sysroot, sysroot_home, write_prefix

if TYPE_CHECKING:
    from ...bundle.reader import Bundle
    from ...prove.behaviour import Check
    from ...prove.golden import Golden, Recorded

_QEMU = "qemu-user-static"
_COMPILER = "g++-aarch64-linux-gnu"
_FACTS_SECONDS = 60.0
# A process that shares the goldens holds the program and its packed weights.
_SHARED_BYTES = 256 << 20
_MOST_PROCESSES = 4
# Variables of the host that would reach the guest: what they name is for x86-64, or for another Python.
_UNSET = ("LD_LIBRARY_PATH", "LD_PRELOAD", "PYTHONHOME", "PYTHONSTARTUP")


class Arm64User:
    """See ``base.Device``. Nothing but the cache is kept between proofs.

    Args:
        profile: The name of a shipped CPU profile, or a TOML file; empty for ``cortex-a76``.
        seconds: The time limit of a run.
    """

    def __init__(self, profile: str, seconds: float) -> None:
        self.profile: Profile = load(profile or DEFAULT)
        self.spec = f"arm64-user:{profile or DEFAULT}"
        self.seconds = seconds
        self.runtimes = runtimes_with(NativeGoldenRunner, PythonGoldenRunner)
        self._place: Path | None = None
        self._command: tuple[str, ...] = ()
        self._env: dict[str, str] = {}
        self._largest = 0

    def needs(self, runtime: str) -> tuple[Need, ...]:
        """See ``base.Device``."""
        native = isinstance(golden_runner(runtime, self.spec), NativeGoldenRunner)
        return (*self._emulator_needs(), *(_native_needs() if native else _python_needs()))

    def _emulator_needs(self) -> tuple[Need, ...]:
        qemu = emulator()
        if qemu is None:
            return (Need(_QEMU, fetching.apt_command((_QEMU,)), _QEMU),)
        if knows(qemu, self.profile.qemu_cpu):
            return ()
        wanted = f" {self.profile.oldest_qemu} or later" if self.profile.oldest_qemu else ""
        what = f"a QEMU{wanted} that knows {self.profile.qemu_cpu} ({Path(qemu).name} is {qemu_version(qemu)})"
        return (Need(what, fetching.apt_command(("-t", "bookworm-backports", _QEMU))),)

    def refuse(self, runtime: str, version: str) -> None:
        """See ``base.Device``."""
        if runtime not in self.runtimes:
            raise UnsupportedError(f"{self.spec} runs {', '.join(self.runtimes)} bundles, not {runtime} bundles")
        plugin = find_runtime(runtime)
        lacking = plugin.run_obstacle(self.profile.cpuinfo, "aarch64")
        if lacking:
            others = (find_runtime(name) for name in self.runtimes)
            able = [each.name for each in others if not each.run_obstacle(self.profile.cpuinfo, "aarch64")]
            other = f", or export for {' or '.join(able)}, which runs there" if able else ""
            raise UnsupportedError(
                f"{plugin.title} {version} can't run on {self.profile.name}: its arm64 build needs {lacking}, which "
                "this processor doesn't have",
                hint=f"Prove the bundle on arm64-user:{DEFAULT}{other}.",
            )

    def prepare(self, runtime: str, work: Path, progress: Progress) -> None:
        """See ``base.Device``."""
        qemu = emulator()
        for need in self.needs(runtime):
            raise LackingError(f"{self.spec} needs {need.what}", hint=need.command)
        assert qemu is not None
        self._place = Path(tempfile.mkdtemp(dir=work, prefix="arm64-user-")).absolute()
        prefix = self._place / "prefix"
        prefix.mkdir()
        (self._place / "files").mkdir()
        unset = (part for name in _UNSET for part in ("-U", name))
        emulated = (qemu, "-cpu", self.profile.qemu_cpu, *unset, "-L", str(prefix))
        runner = golden_runner(runtime, self.spec)
        if isinstance(runner, NativeGoldenRunner):
            program = runner.build("aarch64", progress) / runner.executable
            write_prefix(CROSS, self.profile, prefix)
            self._command, self._env = (*emulated, str(program)), {}
            return
        root = sysroot(progress)
        write_prefix(root, self.profile, prefix)
        write_package((runner.module, *runner.late), self._place / "package")
        path = os.pathsep.join(map(str, (self._place / "package", *site(runner.wheels, progress))))
        python = str(prefix / "usr/bin/python3.11")
        # -S and -s keep the host's Python out; PYTHONPATH must count, so no -I.
        self._command, self._env = (*emulated, python, "-S", "-s", "-m"), {"PYTHONPATH": path}

    @property
    def _files(self) -> Path:
        assert self._place is not None, "prepare must come first"
        return self._place / "files"

    def push(self, source: Path, name: str) -> None:
        """See ``base.Device``."""
        self._largest = max(self._largest, source.stat().st_size)
        target = self._files / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        target.symlink_to(source.absolute())

    def run(self, command: Sequence[str], seconds: float) -> Finished:
        """See ``base.Device``."""
        return processes.run(command, seconds, self._files, self._env)

    def pull(self, name: str, target: Path) -> None:
        """See ``base.Device``."""
        source = self._files / name
        if not source.is_file():
            raise ConformanceError(f"{self.spec}: the program ended without writing {name}")
        if source.resolve() != target.resolve():
            shutil.copyfile(source, target)

    def runner(self, runtime: str) -> tuple[str, ...]:
        """See ``base.Device``."""
        runner = golden_runner(runtime, self.spec)
        if isinstance(runner, NativeGoldenRunner):
            return self._command
        count = 1 if self._largest > _SHARED_BYTES else min(_MOST_PROCESSES, len(os.sched_getaffinity(0)))
        return (*self._command, runner.module, "--processes", str(count))

    def facts(self, runtime: str) -> Facts:
        """See ``base.Device``; the features are what the guest reads, and the memory is the host's, without a limit."""
        done = self.run((*self.runner(runtime), "facts"), _FACTS_SECONDS)
        said = last_object(done.stdout)
        if done.code or not said:
            log = " / ".join(done.stderr.strip().splitlines()[-3:]) or f"exit code {done.code}"
            raise ConformanceError(f"{self.spec}: the {runtime} runner doesn't start: {log}")
        versions: Mapping[str, str] = said.get("versions") or {runtime: str(said.get("version", ""))}
        qemu = emulator()
        return Facts(
            system=f"Linux arm64 (qemu-user {qemu_version(qemu) if qemu else ''})",
            architecture="arm64",
            cpu=self.profile.name,
            features=tuple(said.get("features") or self.profile.features),
            cores=1,
            memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            emulated=True,
            runtimes=versions,
            kernels=tuple(said.get("kernels", ())),
            backends=tuple(said.get("backends", ())),
        )

    def more(
        self, bundle: Bundle, goldens: Sequence[Golden], host: Sequence[Recorded], work: Path, progress: Progress
    ) -> tuple[Check, ...]:
        """See ``base.Device``: none."""
        return ()

    def close(self) -> None:
        """See ``base.Device``."""
        if self._place is not None:
            with suppress(FileNotFoundError):
                shutil.rmtree(self._place)
            self._place = None


def _native_needs() -> tuple[Need, ...]:
    if shutil.which("aarch64-linux-gnu-g++") and (CROSS / "lib/libc.so.6").exists():
        return ()
    return (Need(_COMPILER, fetching.apt_command((_COMPILER,)), _COMPILER),)


def _python_needs() -> tuple[Need, ...]:
    found = []
    if not sysroot_home().is_dir():
        if shutil.which("mmdebstrap") is None:
            found.append(Need("mmdebstrap", fetching.apt_command(("mmdebstrap", "arch-test")), "mmdebstrap"))
        if not fetching.may_install():
            found.append(Need("root, to make Debian's arm64 root", "sudo gemcut devices setup arm64-user"))
    if importlib.util.find_spec("pip") is None:
        found.append(Need("pip", "python -m ensurepip"))
    return tuple(found)
