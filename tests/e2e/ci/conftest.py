"""A job's machine: a copy of Gemcut's repository as the action, a copy of the sample app as the workspace."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.ci.github import Machine
from tests.support.ci.machine import ROOT, bare_venv, check_out, environment
from tests.support.ci.services import Services


@pytest.fixture(scope="session")
def action(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Gemcut's repository as GitHub checks an action out: a build there leaves nothing in this tree."""
    folder = tmp_path_factory.mktemp("action")
    for name in ("action.yml", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, folder / name)
    for name in ("exporter", "targets"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture(scope="session")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What setup-python leaves: a Python, and here also the libraries, so that installing Gemcut fetches nothing."""
    return bare_venv(tmp_path_factory.mktemp("python") / "venv")


@pytest.fixture(scope="session")
def services(venv: Path, tmp_path_factory: pytest.TempPathFactory) -> Services:
    """GitHub's side, the same for all jobs of a session: so what one job's cache holds, the next one finds."""
    return Services(tmp_path_factory.mktemp("service"), venv)


@pytest.fixture
def machine(action: Path, services: Services, tmp_path: Path) -> Callable[..., Machine]:
    """``machine(name)``: a job's machine with the sample app checked out."""

    def make(name: str = "job", store: Services | None = None) -> Machine:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "home").mkdir()
        workspace = check_out(folder / "work")
        return Machine(workspace, folder / "temp", action, environment(folder / "home"), (store or services).actions)

    return make
