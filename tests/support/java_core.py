"""The app's core, compiled once a session with Debian's JDK, and what it says of a bundle."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from gemcut.util.progress import Silent

DEMO = Path(__file__).parents[2] / "android_demo"
CORE = DEMO / "core"
JARS = {
    Path("/usr/share/java/gson.jar"): "libgoogle-gson-java",
    Path("/usr/share/java/junit4.jar"): "junit4",
    Path("/usr/share/java/hamcrest.jar"): "libhamcrest-java",
}
JDK = "openjdk-17-jdk-headless"
# --release 8 and every warning but the one that 8 is old: what an Android build takes too.
JAVAC = ("javac", "-J-Xmx512m", "--release", "8", "-Xlint:all", "-Xlint:-options", "-Werror", "-encoding", "UTF-8")
JAVA = ("java", "-Xmx1g", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")


def _lacking() -> list[str]:
    packages = [package for jar, package in JARS.items() if not jar.is_file()]
    return packages if shutil.which("javac") else [JDK, *packages]


@cache
def _why_not() -> str:
    """Installs what a Java build lacks where this machine allows it; returns why it can't be, or nothing."""
    from gemcut.errors import LackingError
    from gemcut.util.fetching import apt_command, apt_install

    lacking = _lacking()
    try:
        apt_install(lacking, Silent())
    except LackingError as error:
        return f"{error.message}; {error.hint}"
    lacking = _lacking()
    return f"{', '.join(lacking)} can't be found: {apt_command(lacking)}" if lacking else ""


def javac(sources: Iterable[Path], classpath: Iterable[Path], out: Path) -> Path:
    """Compiles Java to class files in ``out``, and fails with the compiler's words where that fails."""
    out.mkdir(parents=True, exist_ok=True)
    path = ":".join(map(str, classpath))
    done = subprocess.run(
        [*JAVAC, "-cp", path, "-d", str(out), *map(str, sources)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@dataclass(frozen=True)
class Core:
    """The core's class files: ``main`` of the core itself, ``tests`` of its tests; ``jars`` are what both want."""

    main: Path
    tests: Path
    jars: tuple[Path, ...]

    def java(self, name: str, *arguments: object, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Runs a class of the core or its tests."""
        path = ":".join(map(str, (self.main, self.tests, *self.jars)))
        return subprocess.run(
            [*JAVA, "-cp", path, name, *map(str, arguments)],
            input=stdin,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )

    def ask(self, verb: str, *arguments: object, lines: Iterable[object] = ()) -> list[Any]:
        """Runs a verb of ``Verbs`` and returns its answers, one for each line of JSON."""
        given = "".join(f"{line}\n" for line in lines)
        done = self.java("org.gemcut.core.Verbs", verb, *arguments, stdin=given)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr
        return [json.loads(line) for line in done.stdout.split("\n") if line]


@pytest.fixture(scope="session")
def jdk() -> tuple[Path, ...]:
    """The jars that the core and its tests want; skips with the command that gets what is missing."""
    if why := _why_not():
        pytest.skip(f"no Java can be built here: {why}")
    return tuple(JARS)


@pytest.fixture(scope="session")
def core(jdk: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory) -> Core:
    """The core and its tests, compiled."""
    out = tmp_path_factory.mktemp("core")
    gson = next(jar for jar in jdk if jar.name == "gson.jar")
    main = javac(sorted((CORE / "src/main/java").rglob("*.java")), [gson], out / "main")
    tests = javac(sorted((CORE / "src/test/java").rglob("*.java")), [main, *jdk], out / "tests")
    return Core(main, tests, jdk)


@pytest.fixture
def variant(tmp_path: Path) -> Callable[..., Path]:
    """Makes a copy of a bundle in which some files have another content, None for none at all."""

    def make(bundle: Path, name: str, changes: dict[str, bytes | None]) -> Path:
        folder = tmp_path / name
        shutil.copytree(bundle, folder, copy_function=lambda source, target: Path(target).hardlink_to(source))
        for file, data in changes.items():
            (folder / file).unlink(missing_ok=True)  # a new file: the old one is the session's too
            if data is not None:
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                (folder / file).write_bytes(data)
        return folder

    return make
