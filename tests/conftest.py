"""Exports that several tests share: made once a session, through the command line as a user would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from gemcut.util.progress import Silent
from graph import parity_table

# Folders whose tests install packages, fetch and build into one cache, or boot machines.
_ONE_AT_A_TIME = frozenset({"devices", "check", "android"})


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Where tests run in several processes, those of one file share one, for what they have made is shared."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return "one at a time" if _ONE_AT_A_TIME.intersection(Path(file).parts) else file

    return ByFile(config, log)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """The parity table's rows, from whichever process found them."""
    if report.when == "teardown":
        parity_table.take(report.user_properties)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """The parity table, of the families whose tests ran."""
    if parity_table.ROWS:
        terminalreporter.section("ExecuTorch against transformers, float32")
        for line in parity_table.lines():
            terminalreporter.write_line(line)


def gemcut(
    *arguments: object, cwd: Path | None = None, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs the command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "gemcut.cli", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="session")
def debian() -> Callable[..., None]:
    """Installs Debian packages where this machine allows it (root, or sudo without a password), else skips."""
    from gemcut.errors import LackingError
    from gemcut.util.fetching import apt_install

    def want(*packages: str) -> None:
        try:
            apt_install(packages, Silent())
        except LackingError as error:
            pytest.skip(f"{error.message}; {error.hint}")

    return want


@pytest.fixture(scope="session")
def silent() -> Silent:
    return Silent()


@dataclass(frozen=True)
class Exported:
    """A bundle, what ``export --json`` said of it (document) and of the run (result), and what it wrote to stderr."""

    path: Path
    document: dict[str, Any]
    stderr: str
    result: dict[str, Any]


def export(out: Path, cache: Path, *arguments: object) -> Exported:
    """Exports through the command line, with a cache of this session's, and fails with its output where that fails."""
    done = gemcut("export", *arguments, "-o", out, "--json", env={"GEMCUT_CACHE": str(cache)})
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout)
    (bundle,) = result["bundles"]
    return Exported(out, bundle, done.stderr, result)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of this session's own: what a user's machine kept from other versions must not be tested."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GEMCUT_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def kept_cache(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What devices fetch and build, kept from one session to the next: it is checked by hash, and slow to get."""
    kept = request.config.cache
    return kept.mkdir("gemcut-devices") if kept else tmp_path_factory.mktemp("devices")


@pytest.fixture(scope="session")
def sample_int4(own_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The sample for android-arm64 with the target's own recipe."""
    return export(tmp_path_factory.mktemp("int4") / "bundle", own_cache, "--target", "android-arm64")


@pytest.fixture(scope="session")
def sample_diary(own_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The sample with its adapter merged in, else as ``sample_int4``."""
    out = tmp_path_factory.mktemp("diary") / "bundle"
    return export(out, own_cache, "--adapter", "sample", "--target", "android-arm64")


@pytest.fixture(scope="session")
def sample_litert(own_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The sample for android-arm64 and LiteRT, with the target's own recipe."""
    out = tmp_path_factory.mktemp("litert") / "bundle"
    return export(out, own_cache, "--target", "android-arm64", "--runtime", "litert")


@pytest.fixture(scope="session")
def sample_float32(own_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The sample for this machine, nothing quantized, as a zip."""
    out = tmp_path_factory.mktemp("float32") / "bundle.gemcut"
    words = ("--target", "linux-x86_64", "--recipe", "float32", "--context", 512, "--format", "zip")
    return export(out, own_cache, *words)
