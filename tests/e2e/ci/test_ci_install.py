"""The action's install step with indexes of its own: which torch comes, and that inputs stay data."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.ci.github import Machine, Step, load, run_steps
from tests.support.ci.machine import ROOT

TORCH = "2.13.0"


def wheel(folder: Path, name: str, version: str, metadata: str = "", script: str | None = None) -> Path:
    """A wheel with next to nothing in it."""
    place = folder / name
    place.mkdir(parents=True, exist_ok=True)
    path = place / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as out:
        out.writestr(f"{name}/__init__.py", script or "")
        out.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{metadata}")
        out.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        if script:
            out.writestr(f"{info}/entry_points.txt", f"[console_scripts]\n{name} = {name}:main\n")
        out.writestr(f"{info}/RECORD", "")
    links = (f'<a href="{one.name.replace("+", "%2B")}">{one.name}</a>' for one in sorted(place.glob("*.whl")))
    (place / "index.html").write_text(f"<!DOCTYPE html>{''.join(links)}")
    return path


@pytest.fixture
def install(machine: Callable[..., Machine], tmp_path: Path) -> Callable[..., tuple[Step, str]]:
    """``install(**inputs)``: the install step in an empty environment; with the torch that is there after it."""
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    extras = "Provides-Extra: executorch\nProvides-Extra: report\n"
    needs = f"{extras}Requires-Dist: torch=={TORCH}; extra == 'executorch'\nRequires-Dist: cutter\n"
    says = "def main():\n    print('gemcut of a test')\n"
    source = wheel(tmp_path / "own", "gemcut", "0.1.0", needs, says)
    wheel(tmp_path / "pypi", "torch", TORCH)
    for version in ("1.0", "2.0"):
        wheel(tmp_path / "pypi", "cutter", version)
    wheel(tmp_path / "cpu", "torch", f"{TORCH}+cpu")
    (step,) = [one for one in load(ROOT / "action.yml")["runs"]["steps"] if one["name"] == "Install Gemcut"]

    def run(lock: str = "", **inputs: str) -> tuple[Step, str]:
        there = machine("install")
        for name in ("PIP_NO_INDEX", "PIP_NO_BUILD_ISOLATION"):
            del there.environment[name]
        there.environment |= {
            "PIP_INDEX_URL": (tmp_path / "pypi").as_uri(),
            "PATH": f"{venv / 'bin'}{os.pathsep}{there.environment['PATH']}",
            "GITHUB_ACTION_PATH": str(there.action),
        }
        own = {"source": str(source), "extras": "executorch", "torch-index": "", "working-directory": "."}
        whole = own | {"locked": "true"} | inputs
        if lock:
            (there.workspace / "gemcut.lock").write_text(lock)
        else:
            (there.workspace / "gemcut.lock").unlink(missing_ok=True)
        (done,) = run_steps(there, [step], {"inputs": whole}, {})
        words = [str(venv / "bin" / "python"), "-m", "pip", "list", "--format", "freeze", "--disable-pip-version-check"]
        listed = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        return done, " ".join(line for line in listed.splitlines() if line.startswith(("cutter==", "torch==")))

    return run


def test_the_index_of_cpu_wheels_wins(install: Callable[..., tuple[Step, str]], tmp_path: Path) -> None:
    step, torch = install(**{"torch-index": (tmp_path / "cpu").as_uri()})
    assert step.status == "success", step.stderr
    assert torch == f"cutter==2.0 torch=={TORCH}+cpu"
    assert step.stdout.endswith("gemcut of a test\n")


def test_without_it_pip_takes_its_own(install: Callable[..., tuple[Step, str]]) -> None:
    step, torch = install()
    assert step.status == "success", step.stderr
    assert torch == f"cutter==2.0 torch=={TORCH}"


LOCK = f"""version = 1
[bundles.chat.executorch.versions]
cutter = "1.0"
gemcut = "0.0.9"
torch = "{TORCH}"
"""


def test_a_lock_holds_back_later_releases(install: Callable[..., tuple[Step, str]], tmp_path: Path) -> None:
    step, found = install(LOCK, **{"torch-index": (tmp_path / "cpu").as_uri()})
    assert step.status == "success", step.stderr
    assert found == f"cutter==1.0 torch=={TORCH}+cpu"


def test_without_locked_the_lock_holds_nothing_back(install: Callable[..., tuple[Step, str]]) -> None:
    step, found = install(LOCK, locked="false")
    assert step.status == "success", step.stderr
    assert found == f"cutter==2.0 torch=={TORCH}"


HOSTILE = ("$(touch pwned)", "`touch pwned`", "; touch pwned #", '" ; touch pwned ; "', "x\ntouch pwned")


@pytest.mark.parametrize("text", HOSTILE)
def test_an_input_runs_nothing(machine: Callable[..., Machine], text: str) -> None:
    """All of the action's scripts, with a hostile text for every input; gemcut itself is refused by name."""
    there = machine()
    action = load(there.action / "action.yml")
    fakes = there.temp / "bin"
    fakes.mkdir()
    for name in ("gemcut", "python"):
        (fakes / name).write_text("#!/bin/sh\nexit 0\n")
        (fakes / name).chmod(0o755)
    there.environment["PATH"] = f"{fakes}{os.pathsep}{there.environment['PATH']}"
    there.environment["GITHUB_ACTION_PATH"] = str(there.action)
    scripts = [
        {key: value for key, value in one.items() if key not in ("if", "working-directory")}
        for one in action["runs"]["steps"]
        if "run" in one
    ]
    steps = [{"id": name, "uses": "outputs"} for name in ("prepare", "export", "diff", "check", "devices")]
    outputs = {"exit-code": "0", "bundles": text, "reports": str(there.temp / "reports")}
    there.actions = {"outputs": lambda *_: dict(outputs)}
    inputs = dict.fromkeys(action["inputs"], text)
    for script in scripts:
        own = {key: value for key, value in script.items() if key != "id"}
        run_steps(there, [*steps, own], {"inputs": inputs}, {})
    assert not list(there.workspace.parent.rglob("pwned"))
