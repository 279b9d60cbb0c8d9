"""The pipeline on a runtime that builds in a millisecond, with goldens that the float model made once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from gemcut.pipeline import reference
from gemcut.pipeline.export import export
from gemcut.pipeline.products import Goldens
from gemcut.pipeline.request import ExportRequest, Published

from tests.support import fake_runtime
from tests.support.progress import Watched

GATE = """
description = "Nothing is quantized, and little is forgiven"
[schemes.float]
weight = "float32"
[[rules]]
match = '.*'
scheme = "float"
reason = "a test"
[gate]
mean_kl = 0.001
reason = "a test"
"""


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the fake runtime's distribution is installed in."""
    return fake_runtime.install(tmp_path_factory.mktemp("fake") / "site")


@pytest.fixture(autouse=True)
def fake(site: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The distribution is found, by this process and its children; it is told nothing, and nothing is kept for it."""
    monkeypatch.delenv("GEMCUT_FAKE", raising=False)
    monkeypatch.setenv("GEMCUT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", fake_runtime.environment(site)["PYTHONPATH"])
    with fake_runtime.importable(site):
        yield


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fake_runtime.make_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny")


@pytest.fixture(scope="session")
def real_goldens() -> list[Goldens]:
    """The goldens, once a test has had the float model make them."""
    return []


@pytest.fixture
def goldens(real_goldens: list[Goldens], monkeypatch: pytest.MonkeyPatch, tmp_path_factory: Any) -> None:
    """The float model runs in the first export of a session alone: what is tested here is not it."""
    real = reference.make_goldens

    def kept(plans: Any, model: Any, codec: Any, work: Path, progress: Any) -> Goldens:
        if not real_goldens:
            real_goldens.append(real(plans, model, codec, tmp_path_factory.mktemp("float"), progress))
        return real_goldens[0]

    monkeypatch.setattr(reference, "make_goldens", kept)


@pytest.fixture
def ask(checkpoint: Path, tmp_path: Path, goldens: None) -> Callable[..., ExportRequest]:
    """``ask(**changes)``: an export of the tiny model for the fake runtime, to ``out/bundle``."""
    recipe = tmp_path / "strict.toml"
    recipe.write_text(GATE, encoding="utf-8")
    place = tmp_path / "out"
    place.mkdir()

    def request(**changes: Any) -> ExportRequest:
        values = {
            "model": str(checkpoint),
            "target": str(fake_runtime.write_target(tmp_path)),
            "runtimes": ("fake",),
            "recipe": str(recipe),
            "output": place / "bundle",
        }
        return ExportRequest(**{**values, **changes})

    return request


@pytest.fixture
def run(ask: Callable[..., ExportRequest]) -> Callable[..., tuple[Published, ...]]:
    """``run(progress, **changes)``: that export."""
    return lambda progress=None, **changes: export(ask(**changes), progress or Watched())
