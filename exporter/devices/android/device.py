"""``android-lib`` and ``android-lib-arm64``: the library that apps ship, loaded by a golden runner on this machine."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ConformanceError, LackingError, UnsupportedError
from ...runtimes import RUNTIMES
from ...util import processes
from ...util.fetching import apt_command
from ...util.platform import host_threads
from ...util.processes import Finished
from ...util.progress import Progress
from ..base import Facts, Library, Need
from . import toolchain
from .libraries import ABIS, AndroidLibrary, check, resolve

if TYPE_CHECKING:
    from ...bundle.reader import Bundle
    from ...prove.behaviour import Check
    from ...prove.golden import Golden, Recorded
    from ..arm64.profiles import Profile

PROFILE = "cortex-a76"  # for the arm64 library: phones since 2019 have its dot product
_FACTS_SECONDS = 60.0


class AndroidDevice:
    """An Android library on this machine; see ``base.Device``."""

    def __init__(self, name: str, text: str, arch: str, seconds: float) -> None:
        self.spec = f"{name}:{text}"
        self.runtimes = tuple(runtime.name for runtime in RUNTIMES if runtime.android_library)
        self.seconds = seconds
        self._text, self._arch = text, arch
        self._emulated = arch != toolchain.machine()
        self._library: AndroidLibrary | None = None
        self._home = self._folder = Path()
        self._profile: Profile | None = None
        self._facts: Facts | None = None

    def needs(self, runtime: str) -> tuple[Need, ...]:
        """See ``base.Device``."""
        found = list(toolchain.needs(self._arch))
        if shutil.which("npm") is None:  # also for the user's own library: the headers are fetched with it
            found.append(Need("npm", apt_command(("npm",)), "npm"))
        if self._arch == "x86_64" and not self._emulated:
            from .java import needs

            found += needs()
        return tuple(found)

    def refuse(self, runtime: str, version: str) -> None:
        """See ``base.Device``."""
        if runtime not in self.runtimes:
            raise UnsupportedError(
                f"{self.spec} runs {', '.join(self.runtimes)} bundles, not {runtime} bundles",
                hint="See gemcut devices for what each device proves.",
            )
        if not sys.platform.startswith("linux") or self._arch not in ABIS:
            raise UnsupportedError(
                f"{self.spec} runs on Linux on x86-64 or arm64, not on {platform.system()} on {platform.machine()}",
                hint="Use adb, which proves on a phone or an Android emulator from any machine.",
            )
        check(self._text, self._arch)

    def prepare(self, runtime: str, work: Path, progress: Progress) -> None:
        """See ``base.Device``."""
        from .shims import build

        self._library = resolve(self._text, self._arch, progress)
        self._home = build(self._library, self._arch, progress)
        self._folder = work / "android-lib"
        self._folder.mkdir(parents=True, exist_ok=True)
        if self._emulated:
            from ..arm64.profiles import load

            self._profile = load(PROFILE)
            write_root(self._profile.cpuinfo, self._root)
        elif host_threads() < (os.cpu_count() or 1):
            write_root(first_processors(host_threads()), self._root)

    @property
    def _root(self) -> Path:
        return self._folder / ".root"

    def push(self, source: Path, name: str) -> None:
        """See ``base.Device``."""
        target = self._folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        target.symlink_to(source.resolve())

    def run(self, command: Sequence[str], seconds: float) -> Finished:
        """See ``base.Device``."""
        return processes.run(command, seconds, self._folder, self._env)

    @property
    def _env(self) -> dict[str, str]:
        return {"GEMCUT_ROOT": str(self._root)} if self._root.is_dir() else {}

    def pull(self, name: str, target: Path) -> None:
        """See ``base.Device``."""
        source = self._folder / name
        if not source.is_file():
            raise ConformanceError(f"{self.spec}: the golden runner ended without writing {name}")
        shutil.copyfile(source, target)

    def runner(self, runtime: str) -> tuple[str, ...]:
        """See ``base.Device``."""
        from .shims import RUNNER

        runner = str(self._home / RUNNER)
        if self._profile is None:
            return (runner,)
        emulator = toolchain.emulator(self._arch)
        if emulator is None:
            raise LackingError("QEMU's user-mode emulation is not installed", hint=apt_command(("qemu-user-static",)))
        return (emulator, "-cpu", self._profile.qemu_cpu, "-L", str(toolchain.sysroot(self._arch)), runner)

    def facts(self, runtime: str) -> Facts:
        """See ``base.Device``."""
        if self._facts is None:
            self._facts = self._ask(runtime)
        return self._facts

    def _ask(self, runtime: str) -> Facts:
        library = self._prepared()
        done = self.run((*self.runner(runtime), "facts"), _FACTS_SECONDS)
        said = _object(done.stdout)
        if done.code or not said:
            how = f"signal {done.signal}" if done.signal else f"exit code {done.code}"
            last = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
            raise ConformanceError(f"{self.spec}: the library can't be loaded here ({how}): {last}")
        return Facts(
            system=f"{platform.system()} {platform.release()}",
            architecture=self._arch,
            cpu=self._profile.name if self._profile else _cpu_name(),
            features=tuple(said["features"]),
            cores=1 if self._emulated else host_threads(),
            memory=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
            emulated=self._emulated,
            runtimes={runtime: library.version},
            library=Library(library.name, library.version, library.sha256),
            kernels=tuple(said["kernels"]),
            backends=tuple(said["backends"]),
        )

    def _prepared(self) -> AndroidLibrary:
        if self._library is None:
            raise RuntimeError(f"{self.spec} is not prepared")
        return self._library

    def more(
        self, bundle: Bundle, goldens: Sequence[Golden], host: Sequence[Recorded], work: Path, progress: Progress
    ) -> tuple[Check, ...]:
        """See ``base.Device``: what ``LlmModule.generate`` of the library's own Java classes replies to the goldens."""
        from . import java

        if self._arch != "x86_64" or self._emulated:
            return ()
        library = self._prepared()
        if reason := java.why_not(library):
            progress.note(f"{self.spec}: the Java classes were not tried: {reason}")
            return ()
        found = java.java_text(library, bundle, goldens, host, work, self.seconds, progress, self._env)
        return () if found is None else (found,)

    def close(self) -> None:
        """See ``base.Device``. Nothing keeps running: each command ends with all of its children."""
        if self._folder != Path():
            shutil.rmtree(self._folder, ignore_errors=True)


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def write_root(cpuinfo: str, root: Path) -> None:
    """Write the files by which the runtime's cpuinfo library finds processors and their features, for GEMCUT_ROOT.

    Args:
        cpuinfo: What /proc/cpuinfo says. On an emulated CPU it must agree with QEMU's -cpu: a feature that is claimed
            but missing ends in SIGILL.
        root: The folder that ``proc`` and ``sys`` are created in.
    """
    processors = sum(line.startswith("processor") for line in cpuinfo.splitlines())
    listed = "0" if processors < 2 else f"0-{processors - 1}"
    cpus = root / "sys/devices/system/cpu"
    for folder in (root / "proc", cpus):
        folder.mkdir(parents=True, exist_ok=True)
    (root / "proc/cpuinfo").write_text(cpuinfo, encoding="utf-8")
    for name in ("possible", "present", "online"):
        (cpus / name).write_text(f"{listed}\n", encoding="utf-8")


def first_processors(count: int) -> str:
    """Return what this machine's /proc/cpuinfo says of its first processors: a library starts a thread for each."""
    parts = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split("\n\n")
    return "".join(f"{part}\n\n" for part in parts[:count])


def _cpu_name() -> str:
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    named = (line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name"))
    return next(named, platform.machine())
