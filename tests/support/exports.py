"""Exports that tests share: made once per content by the real command, and kept from one run of the tests to the next.

An export is kept under the hash of all that goes into it: gemcut's own sources (without the formats of its reports,
which come after it), the versions of all installed packages, the words of the command and the contents of the files
that they name. Making one is done under a lock, so that of all processes that want it one makes it, with a new
interpreter. One that an earlier run kept is proven again with ``gemcut validate`` before its first use.

A test that is about making an export, or wants a fresh one, calls ``command.gemcut("export", ...)`` itself.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import platform
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from gemcut.errors import EXIT_GATE

from tests.support.command import gemcut

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "exporter"
# Where they are kept; conftest sets it for all processes of a run.
STORE = "GEMCUT_TEST_STORE"
# This run of the tests, which all its processes share.
RUN = "GEMCUT_TEST_RUN"
# "kept": only what is kept already is used, and tests that want more are skipped.
MODE = "GEMCUT_TEST_EXPORTS"
# What neither a bundle nor what export says of it comes from: reports are made from its outcome, the rest is of other
# commands.
AFTER = ("report/formats", "report/rules.toml", "diff", "check", "schemas")
# By which processes compute otherwise.
VARIABLES = ("OMP_NUM_THREADS", "GEMCUT_THREADS")
_DAYS = 14


@dataclass(frozen=True)
class Exported:
    """A bundle that no test may change, and what was said of it.

    Attributes:
        path: The bundle.
        document: What ``export --json`` said of it.
        stderr: What the command wrote there.
        result: All that ``export --json`` said.
    """

    path: Path
    document: dict[str, Any]
    stderr: str
    result: dict[str, Any]


def exported(*words: object, name: str = "bundle") -> Exported:
    """Return the bundle that ``gemcut export WORDS`` makes.

    Args:
        words: Of the command line, without ``-o`` and ``--json``. A word that is an existing path counts by its
            contents, and by its last name.
        name: The bundle's own name.

    Returns:
        The bundle, in the store.
    """
    return exported_all(*words, name=name)[0]


def exported_all(*words: object, name: str = "bundle", cold: bool = False) -> tuple[Exported, ...]:
    """Return all bundles of an export for several runtimes, in its order; arguments as for ``exported``.

    Args:
        words: Of the command line.
        name: The bundle's own name.
        cold: If it must be made, it is in a new interpreter.
    """
    key = _hash([common_key(), name, [_content(word) for word in words]])
    folder = Path(os.environ[STORE]) / "exports" / key
    with lock_of(folder):
        said = _read(folder)
        if said is not None:
            _check_kept(folder, said)
        elif os.environ.get(MODE) == "kept":
            pytest.skip(f"no such export is kept: {' '.join(map(str, words))}; make test makes and keeps it")
        else:
            said = _make(folder, words, name, cold)
        os.utime(folder)
    result, stderr = said["result"], said["stderr"]
    pairs = zip(said["places"], result["bundles"], strict=True)
    return tuple(Exported(folder / "out" / place, one, stderr, result) for place, one in pairs)


def kept(kind: str, *content: object) -> Path:
    """Return a folder of the store for something else that tests make; it need not exist yet.

    Args:
        kind: What it is.
        content: All that it is made from, beside what every export is.
    """
    return Path(os.environ[STORE]) / kind / _hash([common_key(), [_content(word) for word in content]])


def cache() -> Path:
    """Return what ``GEMCUT_CACHE`` is to tests: what one of them computed, such as a conversion, serves the others."""
    folder = Path(os.environ[STORE]) / "caches" / common_key()
    folder.mkdir(parents=True, exist_ok=True)
    os.utime(folder)
    return folder


def lock_of(folder: Path) -> FileLock:
    """Return the lock under which a folder of the store is made."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(f"{folder}.lock")


def _read(folder: Path) -> dict[str, Any] | None:
    """What the store says of an export; None if there is none, or one that was not finished."""
    try:
        said = json.loads((folder / "done.json").read_text())
    except (OSError, ValueError):
        return None
    found = isinstance(said, dict) and all((folder / "out" / place).exists() for place in said["places"])
    return said if found else None


def _make(folder: Path, words: tuple[object, ...], name: str, cold: bool) -> dict[str, Any]:
    shutil.rmtree(folder, ignore_errors=True)
    place = folder / "out"
    place.mkdir(parents=True)
    begun = time.monotonic()
    variables = {"GEMCUT_CACHE": str(cache())}
    # Fresh: it may hang on no export that was made before.
    done = gemcut("export", *words, "-o", place / name, "--json", "--fresh", cwd=place, env=variables, cold=cold)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout)
    places = [Path(one["bundle"]).relative_to(place).as_posix() for one in result["bundles"]]
    said = {"result": result, "places": places, "stderr": done.stderr, "words": [str(word) for word in words]}
    assert common_key.__wrapped__() == common_key(), "sources changed while the tests ran: start them again"
    (folder / "run").write_text(os.environ.get(RUN, ""))
    (folder / "done.part").write_text(json.dumps(said))
    (folder / "done.part").rename(folder / "done.json")
    _note("exports", f"{time.monotonic() - begun:.1f} s  export {' '.join(said['words'])}")
    return said


def _check_kept(folder: Path, said: dict[str, Any]) -> None:
    """Prove once in a run what an earlier run left; one that isn't sound is no longer kept."""
    run = os.environ.get(RUN, "")
    if (folder / "run").read_text() == run:
        return
    for place, one in zip(said["places"], said["result"]["bundles"], strict=True):
        done = gemcut("validate", folder / "out" / place, cwd=folder)
        if done.returncode != (0 if one["proven"] else EXIT_GATE):
            (folder / "done.json").unlink()
            pytest.fail(f"a kept bundle is no longer sound, the next run makes it again: {done.stderr}{done.stdout}")
    (folder / "run").write_text(run)
    _note("kept", f"export {' '.join(said['words'])}")


def _note(kind: str, line: str) -> None:
    """Count it: what a run made and what it took is printed at its end."""
    with (Path(os.environ[STORE]) / f"run-{os.environ.get(RUN, '')}.txt").open("a") as file:
        file.write(f"{kind}\t{line}\n")


def noted() -> list[tuple[str, str]]:
    """Return what this run made and took: kind and line."""
    path = Path(os.environ[STORE]) / f"run-{os.environ.get(RUN, '')}.txt"
    lines = path.read_text().splitlines() if path.is_file() else []
    return [(kind, line) for kind, _, line in (each.partition("\t") for each in lines)]


def tidy(store: Path) -> None:
    """Remove what no run has used for two weeks; locks stay, as someone may wait for one."""
    for path in [*store.glob("*/*"), *store.glob("run-*.txt")]:
        if path.suffix != ".lock" and time.time() - path.stat().st_mtime > _DAYS * 86400:
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


@functools.cache
def common_key() -> str:
    """Return the hash of what all exports are made from: sources, packages, Python, processor, and how many threads."""
    packages = sorted(f"{each.name} {each.version}" for each in metadata.distributions())
    sources = [
        (path.relative_to(ROOT).as_posix(), hashlib.sha256(path.read_bytes()).hexdigest()) for path in sources_of()
    ]
    variables = [os.environ.get(name) for name in VARIABLES]
    return _hash([sources, packages, platform.python_version(), platform.machine(), _processor(), variables])


def sources_of() -> Iterator[Path]:
    """Yield the files that a bundle's content can hang on."""
    for folder in (PACKAGE, ROOT / "targets"):
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            if path.is_file() and "__pycache__" not in path.parts and not name.startswith(AFTER):
                yield path


@functools.cache
def _processor() -> str:
    from gemcut.util.platform import processor

    return processor()


def _content(word: object) -> Any:
    path = Path(str(word))
    if not isinstance(word, Path) or not path.exists():
        return str(word)
    files = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    return [path.name, [(str(each.relative_to(path)), _digest(each)) for each in files]]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:24]
