"""A run that is killed at any stage is resumed from what it had finished, and gives the same bundle."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gemcut.pipeline.export import export
from gemcut.stages import EXPORT

from tests.support.files import contents, left
from tests.support.progress import Watched

Run = Callable[..., Any]
SECONDS = 120.0
# Where a run is killed -> the stages that the next one takes from it.
KILLED = {
    "Running the float model on the golden prompts": (),
    "Compiling the chat template": (
        "load",
        "reference",
    ),
    "Making a table with strict": ("load", "reference", "prompt"),
    "Packing for fake": ("load", "reference", "prompt", "tabulate"),
    "Proving the packed fake bundle": ("load", "reference", "prompt", "tabulate"),
    "Measuring its speed on this host": ("load", "reference", "prompt", "tabulate", "prove"),
    "Sealing": ("load", "reference", "prompt", "tabulate", "prove", "measure"),
    "Publishing": ("load", "reference", "prompt", "tabulate", "prove", "measure"),
}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """A fork has no threads but its own: none of torch's must be waiting for work."""
    import torch

    torch.set_num_threads(1)


def in_a_child(work: Callable[[], Any]) -> int:
    """Does the work in a fork, and returns its exit code; minus the signal that ended it."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            os._exit(70)
        os._exit(0)
    return ended(child)


def ended(child: int) -> int:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise AssertionError("the child didn't end")


def die_at(title: str) -> Callable[[str], None]:
    def at(begun: str) -> None:
        if begun == title:
            os.kill(os.getpid(), signal.SIGKILL)

    return at


@pytest.fixture(autouse=True)
def nothing_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """One export takes nothing from another: what is looked at is what a killed run left of its own."""
    monkeypatch.setattr("gemcut.pipeline.export.reference_shelf", lambda plans, fresh: None)


def test_every_stage_whose_product_is_kept_is_killed_before_and_after() -> None:
    kept = {stage.name for stage in EXPORT if stage.serializer}
    assert kept == {"reference", "prompt", "build", "examine", "prove", "measure", "device"}


@pytest.mark.parametrize(("title", "taken"), KILLED.items(), ids=[title.partition(" ")[0] for title in KILLED])
def test_a_run_that_is_killed_is_resumed_to_the_byte(
    run: Run, ask: Run, tmp_path: Path, title: str, taken: tuple[str, ...]
) -> None:
    run(output=tmp_path / "whole")
    request = ask()
    assert in_a_child(lambda: export(request, Watched(die_at(title)))) == -signal.SIGKILL
    assert [name.partition("-")[0] for name in left(tmp_path / "out")] == [".bundle.partial"]
    watched = Watched()
    (published,) = export(request, watched)
    assert published.resumed == taken
    assert any("Resumed" in note for note in watched.notes) == bool(taken)
    assert contents(published.bundle) == contents(tmp_path / "whole")
    assert left(tmp_path / "out") == ["bundle"]


@pytest.mark.parametrize("place", ["build", "examine", "package", "run", "measure"])
def test_a_runtime_that_dies_leaves_what_was_finished(
    run: Run, ask: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    run(output=tmp_path / "whole")
    request = ask()
    monkeypatch.setenv("GEMCUT_FAKE", f"{place}=die")
    assert in_a_child(lambda: export(request, Watched())) == -signal.SIGKILL
    monkeypatch.delenv("GEMCUT_FAKE")
    (published,) = export(request, Watched())
    assert set(published.resumed) >= {"reference", "prompt"}
    assert contents(published.bundle) == contents(tmp_path / "whole")


def test_two_bundles_are_resumed_where_the_second_was_killed(run: Run, ask: Run, tmp_path: Path) -> None:
    whole = run(runtimes=("fake", "fake_two"), output=tmp_path / "whole")
    request = ask(runtimes=("fake", "fake_two"), output=tmp_path / "out")
    at = die_at("Proving the packed fake_two bundle")
    assert in_a_child(lambda: export(request, Watched(at))) == -signal.SIGKILL
    watched = Watched()
    published = export(request, watched)
    assert "Proving the packed fake bundle" not in watched.titles
    assert "Proving the packed fake_two bundle" in watched.titles
    for one, other in zip(published, whole, strict=True):
        assert contents(one.bundle) == contents(other.bundle)


def test_fresh_and_another_request_take_nothing(run: Run, ask: Run, tmp_path: Path) -> None:
    for changes in ({"fresh": True}, {"options": {"fake_twist": True}}):
        at = die_at("Sealing")
        assert in_a_child(lambda at=at: export(ask(force=True), Watched(at))) == -signal.SIGKILL
        (published,) = run(force=True, **changes)
        assert published.resumed == ()
        assert left(tmp_path / "out") == ["bundle"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_runtime_that_hangs_is_ended_by_a_signal_and_leaves_nothing(
    ask: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """Through the command line, which makes SIGTERM what Ctrl-C is."""
    from gemcut.cli import main

    mark = tmp_path / "hanging"
    monkeypatch.setenv("GEMCUT_FAKE", "build=hang")
    monkeypatch.setenv("GEMCUT_FAKE_MARK", str(mark))
    request = ask()
    words = ["export", request.model, "--target", request.target, "--runtime", "fake", "-o", str(request.output)]
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os._exit(main([*words, "--recipe", request.recipe]))
    deadline = time.monotonic() + SECONDS
    while not mark.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(child, number)
    assert ended(child) == 130
    assert left(tmp_path / "out") == []
