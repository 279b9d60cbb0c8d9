"""Exports that tests share: made once per content by the real command, and kept from one run of the tests to the next.

An export is kept under the hash of all that goes into it: gemcut's own sources (without its reports, which come after
it), the versions of the libraries, the words of the command and the contents of the files that they name. Making one
is done under a lock, so that of all processes that want it one makes it. One that was kept by an earlier run is proven
again with ``gemcut validate`` before its first use. A test that is about making an export calls
``command.gemcut("export", ...)`` itself, or asks for ``anew=True``.
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

from tests.support.command import gemcut

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "exporter"
# Where they are kept; conftest sets it for all processes of a run.
STORE = "GEMCUT_TEST_STORE"
# This run of the tests, which all its processes share.
RUN = "GEMCUT_TEST_RUN"
# "kept": only what is kept already is used, and tests that want more are skipped.
MODE = "GEMCUT_TEST_EXPORTS"
# What an export's bundle doesn't come from. Reports are made from its outcome; the rest are other commands.
AFTER = ("report", "diff", "check", "schemas")
LIBRARIES = (
    *("torch", "torchao", "transformers", "tokenizers", "safetensors", "numpy", "jinja2", "peft"),
    *("executorch", "litert-torch", "ai-edge-litert", "litert-lm", "litert-lm-builder", "ai-edge-quantizer"),
)
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


def exported(*words: object, name: str = "bundle", anew: bool = False, **variables: str) -> Exported:
    """Return the bundle that ``gemcut export WORDS`` makes.

    Args:
        words: Of the command line, without ``-o`` and ``--json``. A word that is an existing path counts by its
            contents, and by its last name.
        name: The bundle's own name.
        anew: Make it, even if it is kept.
        variables: Of the environment, beside the run's own.

    Returns:
        The bundle, in the store.
    """
    return exported_all(*words, name=name, anew=anew, **variables)[0]


def exported_all(*words: object, name: str = "bundle", anew: bool = False, **variables: str) -> tuple[Exported, ...]:
    """Return all bundles of an export for several runtimes, in its order; arguments as for ``exported``."""
    store = Path(os.environ[STORE])
    key = _hash([common_key(), name, sorted(variables.items()), [_content(word) for word in words]])
    folder = store / "exports" / key
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        done = folder / "done.json"
        if done.is_file() and not anew:
            _check_kept(folder)
        elif os.environ.get(MODE) == "kept":
            pytest.skip(f"no such export is kept: {' '.join(map(str, words))}; make test makes and keeps it")
        else:
            _make(folder, words, name, variables)
        os.utime(done)
    said = json.loads(done.read_text())
    result = said["result"]
    return tuple(Exported(Path(one["bundle"]), one, said["stderr"], result) for one in result["bundles"])


def kept(kind: str, *content: object) -> Path:
    """Return a folder of the store for something else that tests make; it need not exist yet.

    Args:
        kind: What it is.
        content: All that it is made from, beside what every export is.
    """
    return Path(os.environ[STORE]) / kind / _hash([common_key(), [_content(word) for word in content]])


def lock_of(folder: Path) -> FileLock:
    """Return the lock under which a folder of the store is made."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(f"{folder}.lock")


def _make(folder: Path, words: tuple[object, ...], name: str, variables: dict[str, str]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    place = folder / "out"
    place.mkdir(parents=True)
    begun = time.monotonic()
    done = gemcut("export", *words, "-o", place / name, "--json", cwd=place, env=variables)
    assert done.returncode == 0, done.stdout + done.stderr
    said = {"result": json.loads(done.stdout), "stderr": done.stderr, "words": [str(word) for word in words]}
    (folder / "done.json").write_text(json.dumps(said))
    (folder / "run").write_text(os.environ.get(RUN, ""))
    _note("exports", f"{time.monotonic() - begun:.1f} s  export {' '.join(said['words'])}")


def _check_kept(folder: Path) -> None:
    """Prove once in a run what an earlier run left; one that isn't sound is no longer kept."""
    run = os.environ.get(RUN, "")
    if (folder / "run").is_file() and (folder / "run").read_text() == run:
        return
    said = json.loads((folder / "done.json").read_text())
    for one in said["result"]["bundles"]:
        if not one["proven"]:
            continue  # published with --gate report: validate says of it what the export said
        done = gemcut("validate", one["bundle"], cwd=folder)
        if done.returncode:
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
    """Remove what no run has used for two weeks, and other runs' counts."""
    for path in [*store.glob("exports/*"), *store.glob("*/*"), *store.glob("run-*.txt")]:
        done = path / "done.json" if (path / "done.json").is_file() else path
        if done.exists() and time.time() - done.stat().st_mtime > _DAYS * 86400:
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


@functools.cache
def common_key() -> str:
    """Return the hash of what all exports are made from: sources, libraries, Python, processor."""
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = ""
    sources = [
        (path.relative_to(ROOT).as_posix(), hashlib.sha256(path.read_bytes()).hexdigest()) for path in sources_of()
    ]
    return _hash([sources, versions, platform.python_version(), platform.machine(), _processor()])


def sources_of() -> Iterator[Path]:
    """Yield the files that a bundle's content can hang on."""
    for folder in (PACKAGE, ROOT / "targets"):
        for path in sorted(folder.rglob("*")):
            parts = path.relative_to(folder).parts
            if path.is_file() and "__pycache__" not in parts and parts[0] not in AFTER:
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
    return [path.name, [(str(each.relative_to(path)), hashlib.sha256(each.read_bytes()).hexdigest()) for each in files]]


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:24]
