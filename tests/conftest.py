"""How tests are shared out among processes, what they share, and the exports that several of them read."""

from __future__ import annotations

import multiprocessing.util
import os
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# Two processes on two cores, each with two threads that wait by spinning, take many times as long.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("GEMCUT_THREADS", "1")

from gemcut.util.progress import Silent

from tests.support import exports, parity_table
from tests.support.exports import Exported, exported, exported_all

# Folders whose tests install packages, fetch and build into one cache, or boot machines.
_ONE_AT_A_TIME = frozenset({"devices", "check", "android"})
# Where tests run in several processes the longest begin first, so that no process is left with one at the end.
# Those of CI jobs make their own exports: while one process makes the shared ones, none waits for it.
_FIRST = ("ci", "e2e", "integration", "unit")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--families", metavar="FILE.md", type=Path, help="write what the sweep over all families found")


def pytest_configure(config: pytest.Config) -> None:
    """Say to every process of this run where exports are kept, and which run it is."""
    cache = getattr(config, "cache", None)  # -p no:cacheprovider
    if exports.STORE not in os.environ:
        os.environ[exports.STORE] = str(cache.mkdir("gemcut") if cache else tempfile.mkdtemp(prefix="gemcut-tests-"))
    os.environ.setdefault(exports.RUN, uuid.uuid4().hex)
    multiprocessing.util.get_temp_dir()  # once and for all, before a test says that another folder is TMPDIR
    if not hasattr(config, "workerinput"):
        exports.tidy(Path(os.environ[exports.STORE]))
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False  # by the number of tests, of which those that export have few


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the long ones first, if several processes share them; else the order is that of the files."""
    if not hasattr(config, "workerinput") or config.pluginmanager.has_plugin("randomly"):
        return

    def rank(item: pytest.Item) -> tuple[bool, int]:
        parts = Path(item.nodeid.partition("::")[0]).parts
        alone = _ONE_AT_A_TIME.intersection(parts) or "_of_devices_" in item.nodeid
        return not alone, min((_FIRST.index(tree) for tree in _FIRST if tree in parts), default=0)

    items.sort(key=rank)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Where tests run in several processes, those of one file share one, for what they have made is shared."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            alone = _ONE_AT_A_TIME.intersection(Path(file).parts) or "_of_devices_" in nodeid
            return "one at a time" if alone else file

    return ByFile(config, log)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """The parity table's rows, from whichever process found them."""
    if report.when == "teardown":
        parity_table.take(report.user_properties)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """The parity table, of the families whose tests ran, and the exports that were made."""
    if config.option.families:
        config.option.families.write_text(parity_table.page(), encoding="utf-8")
    if parity_table.ROWS:
        terminalreporter.section("ExecuTorch against transformers, float32")
        for line in parity_table.lines():
            terminalreporter.write_line(line)
    noted = exports.noted()
    if noted:
        made = [line for kind, line in noted if kind == "exports"]
        terminalreporter.section(f"shared exports: {len(made)} made, {len(noted) - len(made)} kept and proven again")
        for line in made:
            terminalreporter.write_line(line)


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


@pytest.fixture(scope="session", autouse=True)
def own_cache() -> Iterator[Path]:
    """A cache of these sources' own, for all processes: what a user's machine kept must not be tested."""
    folder = exports.cache()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GEMCUT_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def kept_cache(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What devices fetch and build, kept from one session to the next: it is checked by hash, and slow to get."""
    kept = request.config.cache
    return kept.mkdir("gemcut-devices") if kept else tmp_path_factory.mktemp("devices")


@pytest.fixture(scope="session")
def sample_both(own_cache: Path) -> tuple[Exported, ...]:
    """The sample for android-arm64 and both runtimes, with the target's own recipe."""
    return exported_all("--target", "android-arm64", "--runtime", "executorch,litert", cold=True)


@pytest.fixture(scope="session")
def sample_int4(sample_both: tuple[Exported, ...]) -> Exported:
    """The one for ExecuTorch."""
    return sample_both[0]


@pytest.fixture(scope="session")
def sample_diary(own_cache: Path) -> Exported:
    """The sample with its adapter merged in, else as ``sample_int4``."""
    return exported("--adapter", "sample", "--target", "android-arm64")


@pytest.fixture(scope="session")
def sample_litert(sample_both: tuple[Exported, ...]) -> Exported:
    """The one for LiteRT."""
    return sample_both[1]


@pytest.fixture(scope="session")
def sample_float32(own_cache: Path) -> Exported:
    """The sample for this machine, nothing quantized, as a zip."""
    words = ("--target", "linux-x86_64", "--recipe", "float32", "--context", 512, "--format", "zip")
    return exported(*words, name="bundle.gemcut")
