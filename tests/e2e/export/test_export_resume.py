"""Exports that are killed: the next one goes on from their finished stages, and makes the same bundle."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from gemcut.pipeline.journal.fingerprint import keys_of
from gemcut.pipeline.journal.reuse import Shelf, shelf_of
from gemcut.pipeline.plan import make_plans
from gemcut.pipeline.request import ExportRequest

from tests.support.exports import exported, exported_all

# What each stage says as it begins, in their order.
TITLES = {
    "plan": "Opening the checkpoint",
    "load": "Loading the float model",
    "reference": "Running the float model on the golden prompts",
    "prompt": "Compiling the chat template",
    "quantize": "Quantizing: float32",
    "graph": "Tracing",
    "lower": "Lowering for ExecuTorch",
    "pack": "Packing for executorch",
    "prove": "Proving the packed executorch bundle",
    "measure": "Measuring its speed on this host",
    "seal": "Sealing",
    "publish": "Publishing",
}
# Stages whose products are kept together, and when they are: as the stage named begins.
KEPT = {
    "prompt": {"load", "reference"},
    "quantize": {"prompt"},
    "pack": {"quantize", "graph", "lower"},
    "measure": {"prove"},
    "seal": {"measure"},
}
# Where one export is killed again and again; in every stage, with the fake runtime: tests/unit/pipeline.
AGAIN = ("lower", "prove", "publish")
# A cache that nothing can be kept in: what other exports built isn't taken.
NO_CACHE = {"GEMCUT_CACHE": "/dev/null/none"}
Begin = Callable[..., "subprocess.Popen[str]"]


WORDS = ("--target", "linux-x86_64", "--recipe", "float32", "--context", 256)


def words(model: Path, out: Path, *more: object) -> tuple[object, ...]:
    return ("export", model, *WORDS, "-o", out, "--json", *more)


def finished_before(stage: str) -> set[str]:
    """The stages whose products are kept when ``stage`` begins."""
    order = list(TITLES)
    return {name for at, names in KEPT.items() if order.index(at) <= order.index(stage) for name in names}


def not_again(stage: str) -> set[str]:
    """Of them, those that must not begin again: the float model is loaded until the program has been made from it."""
    done = finished_before(stage)
    return done if "lower" in done else done - {"load"}


def begun(said: list[str]) -> list[str]:
    """The stages that began, by what was said on stderr."""
    return [name for line in said for name, title in TITLES.items() if line.rstrip("\n") == title]


def stop_at(process: subprocess.Popen[str], title: str, number: signal.Signals) -> list[str]:
    """Sends a signal as soon as a stage has begun; returns what had been said on stderr."""
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if line.rstrip("\n") == title:
            process.send_signal(number)
            break
    if number == signal.SIGKILL:
        process.wait(timeout=60)  # a child of its own may hold the pipes for longer
        assert process.returncode == -signal.SIGKILL, "".join(said)
    else:
        said += process.communicate(timeout=120)[1].splitlines(keepends=True)
    return said


def listing(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@dataclass
class Killed:
    """An export that was killed in one stage after the other, each run going on from the one before.

    said: stderr of each run, by the stage that it was killed in. left: a copy of the folder that it left. bundle: what
    the last run, which was let be, published; document: its JSON; last: its stderr.
    """

    model: Path
    said: dict[str, list[str]] = field(default_factory=dict)
    left: dict[str, Path] = field(default_factory=dict)
    bundle: Path = Path()
    document: dict[str, Any] = field(default_factory=dict)
    last: list[str] = field(default_factory=list)

    def again(self, stage: str, folder: Path) -> Path:
        """Where a bundle goes in ``folder``; beside it lies what the run that was killed in ``stage`` left."""
        folder.mkdir(exist_ok=True)
        shutil.copytree(self.left[stage], folder / ".bundle.partial-1")
        return folder / "bundle"


@pytest.fixture(scope="module")
def killed(tiny: Path, begin: Begin, run: Any, tmp_path_factory: pytest.TempPathFactory) -> Killed:
    folder, store = tmp_path_factory.mktemp("killed"), tmp_path_factory.mktemp("left")
    out, found = folder / "bundle", Killed(tiny)
    for stage in AGAIN:
        process = begin(*words(tiny, out), cwd=folder, **NO_CACHE)
        found.said[stage] = stop_at(process, TITLES[stage], signal.SIGKILL)
        assert not out.exists()
        (left,) = folder.glob(".bundle.partial-*")
        found.left[stage] = Path(shutil.copytree(left, store / stage))
    done = run(*words(tiny, out), cwd=folder, **NO_CACHE)
    assert done.returncode == 0, done.stderr
    found.bundle, found.document, found.last = out, json.loads(done.stdout), done.stderr.splitlines(keepends=True)
    assert [path.name for path in folder.iterdir()] == ["bundle"]
    return found


@pytest.fixture(scope="module")
def whole(tiny: Path) -> dict[str, bytes]:
    """The same export in one go."""
    made = exported(tiny, *WORDS)
    assert made.result["resumed"] == []
    return listing(made.path)


def test_killed_again_and_again_it_goes_on_from_there(killed: Killed) -> None:
    order = list(TITLES)
    runs = {**killed.said, "": killed.last}
    before = ""
    for stage, said in runs.items():
        done = finished_before(before) if before else set()
        assert not before or not not_again(before) & set(begun(said)), (stage, said)
        notes = [line for line in said if line.startswith("note: Resumed: ")]
        assert len(notes) == bool(done), said
        if done:
            assert set(re.findall(r"'(\w+)'", notes[0])) >= done
            assert re.search(r"finished (on [-\d]+ )?at \d\d:\d\d by a run that was killed", notes[0])
        if stage:
            assert begun(said)[-1] == stage
            before = stage
    assert killed.document["resumed"] == [name for name in order if name in finished_before("publish")]
    assert set(killed.document["seconds"]) == {*order, "resume"}
    assert killed.document["seconds"]["lower"] > 0.1
    assert killed.document["bundles"][0]["proven"]


def test_the_bundle_is_the_same_byte_for_byte(killed: Killed, whole: dict[str, bytes]) -> None:
    assert listing(killed.bundle) == whole


def test_the_next_export_takes_the_program(tiny: Path, whole: dict[str, bytes], run: Any, tmp_path: Path) -> None:
    """With other words that change nothing of it; in detail with the fake runtime: tests/unit/pipeline."""
    for name, more in (("first", ()), ("second", ("--gate", "report")), ("third", ("--format", "zip"))):
        done = run(*words(tiny, tmp_path / name, *more), cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        if name != "first":
            assert "note: Taken: an earlier export made this program at " in done.stderr
            assert not {"quantize", "graph", "lower"} & set(begun(done.stderr.splitlines()))
            assert "prove" in begun(done.stderr.splitlines())
            assert set(json.loads(done.stdout)["resumed"]) == {"load", "reference", "quantize", "graph", "lower"}
    for name in ("first", "second"):
        assert listing(tmp_path / name) == whole


def test_a_damaged_product_is_made_again(killed: Killed, whole: dict[str, bytes], run: Any, tmp_path: Path) -> None:
    out = killed.again("publish", tmp_path)
    kept = tmp_path / ".bundle.partial-1" / "kept"
    program = kept / "build" / "model.pte"
    data = bytearray(program.read_bytes())
    data[len(data) // 2] ^= 1
    program.write_bytes(data)
    (kept / "prompt" / "journal.json").write_text("{")
    done = run(*words(killed.model, out), cwd=tmp_path, **NO_CACHE)
    assert done.returncode == 0, done.stderr
    assert (
        "What the killed run kept of 'build' is damaged (model.pte changed since it was written), so it is made again"
        in done.stderr
    )
    assert "What the killed run kept of 'prompt' is damaged" in done.stderr
    ran = begun(done.stderr.splitlines())
    assert {"load", "prompt", "quantize", "graph", "lower"} <= set(ran)
    assert not {"reference", "prove", "measure"} & set(ran), "what was made from the same is the same"
    assert listing(out) == whole


def test_ctrl_c_in_a_resumed_run_leaves_nothing(killed: Killed, begin: Begin, tmp_path: Path) -> None:
    out = killed.again("prove", tmp_path)
    said = stop_at(begin(*words(killed.model, out), cwd=tmp_path), TITLES["prove"], signal.SIGINT)
    assert any(line.startswith("note: Resumed: ") for line in said)
    assert any("interrupted, nothing was published" in line for line in said)
    assert not list(tmp_path.iterdir())


def key(model: Path, **changes: Any) -> str:
    return keys_of(make_plans(ExportRequest(str(model), target="linux-x86_64", **{"context": 256, **changes})))[0]


def test_what_is_the_same_export(tiny: Path, fresh: Path, tmp_path: Path) -> None:
    first = key(tiny)
    assert first == key(tiny)
    assert first == key(tiny, format="zip", gate="report", output=tmp_path / "elsewhere", force=True)
    assert first != key(fresh), "another folder's files"
    for changes in ({"recipe": "float32"}, {"context": 255}, {"prefill_lengths": (64,)}, {"chat_template": "none"}):
        assert first != key(tiny, **changes), changes


def test_what_is_the_same_program(tiny: Path, tmp_path: Path) -> None:
    def shelf(measured: bool = False, **changes: Any) -> Shelf:
        request = ExportRequest(str(tiny), target="linux-x86_64", **{"context": 256, "recipe": "int4", **changes})
        found = shelf_of(make_plans(request)[0], measured, request.fresh)
        assert found is not None
        return found

    assert shelf() == shelf(format="zip", gate="report", output=tmp_path / "elsewhere", prove_on=("android-lib",))
    assert shelf().others == (shelf(measured=True).key,), "what was measured first is the same"
    assert shelf().key != shelf(measured=True).key, "what wasn't measured may be past its limit"
    texts = [tmp_path / name for name in ("one.txt", "two.txt")]
    for text in texts:
        text.write_text("The manifest has the name of the text.\n" * 9)
    asked = ({}, *({"calibration": str(text)} for text in texts), {"calibration": "quick"}, {"calibration": "none"})
    more = ({"context": 255}, {"recipe": "small"}, {"chat_template": "none"})
    assert len({shelf(**changes).key for changes in (*asked, *more)}) == len(asked) + len(more)


@pytest.mark.parametrize("name", ["model-00002-of-00003.safetensors", "tokenizer_config.json", "chat_template.jinja"])
def test_a_checkpoint_that_changed_is_another_export(name: str, fresh: Path) -> None:
    first = key(fresh)
    path = fresh / name
    if name.endswith(".safetensors"):
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
    elif name.endswith(".json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "comment": "changed"}))
    else:
        path.write_text(path.read_text() + "{# changed #}")
    assert key(fresh) != first


def test_two_runtimes_and_the_second_is_killed(tiny: Path, begin: Begin, run: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    more = ("--runtime", "executorch,litert")
    stop_at(begin(*words(tiny, out, *more), cwd=tmp_path), "Proving the packed litert bundle", signal.SIGKILL)
    assert len(list(out.glob(".*.partial-*"))) == 2
    done = run(*words(tiny, out, *more), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for title in ("Loading the float model", "Converting for LiteRT", "Lowering for ExecuTorch", TITLES["prove"]):
        assert title not in done.stderr
    assert "Proving the packed litert bundle" in done.stderr
    for one, made in zip(sorted(out.iterdir()), exported_all(tiny, *WORDS, *more), strict=True):
        assert listing(one) == listing(made.path)
