"""The journal of finished stages, with small products: what is taken over, and what is made again."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gemcut.bundle.staging import Staging
from gemcut.devices import Options
from gemcut.devices.base import Facts, Library
from gemcut.devices.replay import DeviceVerdict
from gemcut.pipeline.journal import journal as module
from gemcut.pipeline.journal.fingerprint import device_key
from gemcut.pipeline.journal.journal import Journal, resume_journals, serializer_of
from gemcut.pipeline.journal.serializers import Plain, VerdictsSerializer
from gemcut.prove.behaviour import Behaviour, Check, Miss
from gemcut.prove.conformance import Conformance, Difference, Tolerance
from gemcut.prove.fidelity import Fidelity, Place, PromptFidelity
from gemcut.prove.gate import judge
from gemcut.prove.golden import Recorded
from gemcut.prove.proof import Proof
from gemcut.prove.runner import Method, TensorSpec
from gemcut.quantize.recipe import Gate
from gemcut.runtimes.program import Artifacts, Program
from gemcut.stages import EXPORT, titles
from gemcut.util.lazy import Lazy
from gemcut.util.progress import Silent
from gemcut.util.stage_clock import StageClock


class Notes(Silent):
    """Progress that remembers what it was told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def staging(tmp_path: Path) -> Iterator[Staging]:
    with Staging(tmp_path / "bundle", key="k") as staging:
        yield staging


def again(staging: Staging, notes: Notes) -> tuple[Journal, StageClock]:
    """The journal as the next run reads it."""
    clock = clock_of(notes)
    return resume_journals([staging], clock)[0], clock


def clock_of(notes: Notes) -> StageClock:
    return StageClock(notes, {**titles(EXPORT), "build": "", "examine": ""})


def never() -> Any:
    raise AssertionError("it was made again")


NUMBERS: Plain[dict[str, float]] = Plain(dict[str, float])


@pytest.fixture
def numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stages whose products are numbers, other than those that a test names the arguments of."""

    def chosen(stage: str, *arguments: Any) -> Any:
        return serializer_of(stage, *arguments) if arguments else NUMBERS

    monkeypatch.setattr(module, "serializer_of", chosen)


def make(journal: Journal, clock: StageClock, name: str, value: Any) -> Any:
    def made() -> Any:
        with clock.stage(name, f"{name} stage", runtime="fake"):
            return value

    return journal.step(name, made)


@pytest.mark.usefixtures("numbers")
def test_a_finished_stage_is_taken_over_with_what_it_cost(staging: Staging, notes: Notes) -> None:
    kept, clock = again(staging, notes)
    assert notes.said == []
    make(kept, clock, "reference", {"a": 0.1, "b": math.inf})
    make(kept, clock, "prompt", {"c": 1.0})
    (cost,) = [clock.seconds["reference stage"]]
    second, later = again(staging, notes)
    assert second.step("reference", never) == {"a": 0.1, "b": math.inf}
    assert later.seconds["reference stage"] == cost
    assert later.memory == {"reference stage": clock.memory["reference stage"], "resume": later.memory["resume"]}
    assert later.resumed == ["reference stage"], "prompt's has not been asked for"
    (said,) = notes.said
    assert said.startswith("Resumed: 'reference stage' and 'prompt stage' were finished at ")


@pytest.mark.usefixtures("numbers")
def test_what_was_made_from_another_product_is_made_again(staging: Staging, notes: Notes) -> None:
    kept, clock = again(staging, notes)
    make(kept, clock, "reference", {"a": 1.0})
    make(kept, clock, "prompt", {"c": 1.0})
    (staging.kept / "reference" / "journal.json").unlink()
    second, clock = again(staging, notes)
    assert "What the killed run kept of 'reference' is damaged" in notes.said[0]
    make(second, clock, "reference", {"a": 2.0})
    assert make(second, clock, "prompt", {"c": 2.0}) == {"c": 2.0}
    third, _ = again(staging, notes)
    assert third.step("reference", never) == {"a": 2.0}
    assert third.step("prompt", never) == {"c": 2.0}


def prompt_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every stage's product is numbers but the prompt's."""
    monkeypatch.setattr(module, "serializer_of", lambda stage: serializer_of(stage) if stage == "prompt" else NUMBERS)


def _text(path: Path) -> None:
    path.write_text("{}")


def _number(path: Path) -> None:
    path.write_text("7")


def _value(path: Path) -> None:
    path.write_text(path.read_text().replace("a note", "a nose"))


def _shorter(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _link(path: Path) -> None:
    elsewhere = path.parents[3] / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


def _climbs(path: Path) -> None:
    found = json.loads(path.read_text())
    found["files"] = {"../../../elsewhere": {"sha256": "0" * 64, "size": 0}}
    path.write_text(json.dumps(found))


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("journal.json", _text),
        ("journal.json", _number),
        ("journal.json", _value),
        ("journal.json", os.unlink),
        ("journal.json", _climbs),
        ("prompt.json", _text),
        ("prompt.json", _shorter),
        ("prompt.json", os.unlink),
        ("prompt.json", _link),
    ],
)
def test_any_damage_is_found_and_said(
    name: str, damage: Callable[[Path], None], staging: Staging, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gemcut.pipeline.products import CompiledPrompt

    kept, clock = again(staging, notes)
    prompt_alone(monkeypatch)
    make(kept, clock, "reference", {"a": 1.0})
    kept.step("prompt", lambda: CompiledPrompt(b"compiled", ("a note",)))
    found = again(staging, notes)[0]
    make(found, clock, "reference", {})
    assert found.step("prompt", never) == CompiledPrompt(b"compiled", ("a note",))
    damage(staging.kept / "prompt" / name)
    notes.said.clear()
    found = again(staging, notes)[0]
    assert list(found.left) == ["reference"]
    assert "What the killed run kept of 'prompt' is damaged" in notes.said[0]
    assert notes.said[0].endswith("it is made again")
    assert not (staging.kept / "prompt").exists()


def test_what_was_being_written_is_dropped_without_a_word(staging: Staging, notes: Notes) -> None:
    (staging.kept / ".reference").mkdir(parents=True)
    (staging.kept / ".reference" / "half").write_bytes(b"half")
    kept, clock = again(staging, notes)
    assert (kept.left, notes.said, clock.resumed) == ({}, [], [])
    assert not list(staging.kept.iterdir())


def test_a_program_is_kept_without_a_copy_and_may_be_moved(staging: Staging, notes: Notes) -> None:
    from gemcut.pipeline.products import Built

    entry, data = staging.work / "model.pte", staging.work / "data" / "model.ptd"
    data.parent.mkdir()
    entry.write_bytes(b"program")
    data.write_bytes(b"data")
    program = Program(
        runtime="executorch",
        runtime_version="1.5",
        artifacts=Artifacts("model.pte", {"model.pte": entry, "data/model.ptd": data}),
        operators=("aten::add",),
        delegates={"XNNPACK": 3},
        vocab_size=512,
        context=256,
        prefill_chunk=128,
        methods=(Method("forward", (TensorSpec("tokens", "int64", (1, None)),), ()),),
        quantized={"linear": 2},
        tensors={"linear": 99},
        schemes={"linear": {"int8": 2}},
        delegated_macs=0.1 + 0.2,
        kernels=("aten::add",),
        facts={"cache_bytes": 7, "share": 1.0, "skeleton": "ab"},
    )
    kept, _ = again(staging, notes)
    kept.step("build", lambda: Built(program, 1234), staging.work)
    assert entry.stat().st_nlink == data.stat().st_nlink == 2
    for _ in range(2):
        entry.unlink()  # as packing moves it
        data.unlink()
        built = again(staging, notes)[0].step("build", never, staging.work)
        assert built == Built(program, 1234)
        assert [type(value) for value in built.program.facts.values()] == [int, float, str]
        assert (entry.read_bytes(), data.read_bytes()) == (b"program", b"data")


@pytest.mark.usefixtures("numbers")
def test_a_proof_is_what_it_was_not_a_number_and_all(staging: Staging, notes: Notes) -> None:
    place = Place("p", 3, math.inf, 0.1, True)
    of_prompt = PromptFidelity("p", 2, 0.1, 0.5, place)
    figures = Fidelity(
        "full-vocabulary",
        1,
        2,
        0.1,
        math.inf,
        0.5,
        1.0,
        0.2,
        None,
        (place,),
        (of_prompt,),
    )
    behaviour = Behaviour((Check("stop", 2, 0.9, (Miss("p", "no stop"),)), Check("bos", 0, 1.0, ())), None)
    recorded = Recorded(
        np.zeros((2, 64), np.float32), np.zeros(2, np.float32), np.ones(2, np.int32), (5, 6), "\u2028 text", True
    )
    gate = Gate(mean_kl=0.05, top1=0.9)
    proof = Proof((), (recorded,), figures, behaviour, judge(gate, figures, behaviour))
    kept, clock = again(staging, notes)
    for name in ("reference", "prompt", "build", "examine"):
        make(kept, clock, name, {})
    kept.step("prove", lambda: proof, (), gate)
    found, clock = again(staging, notes)
    for name in ("reference", "prompt", "build", "examine"):
        make(found, clock, name, {})
    read = found.step("prove", never, (), gate)
    assert (read.fidelity, read.behaviour, read.verdict) == (figures, behaviour, proof.verdict)
    assert not read.verdict.passed
    assert vars(read.recorded[0]).keys() == vars(recorded).keys()
    assert read.recorded[0].greedy_text == recorded.greedy_text
    assert np.array_equal(read.recorded[0].top1, recorded.top1)


def test_what_a_device_did_is_what_it_was() -> None:
    facts = Facts(
        "Linux 6",
        "aarch64",
        "Cortex",
        ("fp16",),
        4,
        8_000_000_000,
        True,
        {"executorch": "1.5"},
        Library("lib.so", "1.5", "ab"),
        ("aten::add.out",),
        ("XnnpackBackend",),
    )
    near = Conformance(
        Tolerance(1e-3, 1e-4, math.nan, 0.0), (Difference("p", math.inf, 3, 0.1, None, None, False),), 0.1, 0.2, ()
    )
    check = Check("java", 2, 1.0, (Miss("p", "detail"),))
    verdicts = (
        DeviceVerdict("arm64-vm", "executorch", facts, near, (check,), 123, 9.5),
        DeviceVerdict("adb:x", "executorch", None, None, (), 0, 0.1, "it was lost"),
    )
    form = VerdictsSerializer()
    text = json.dumps(form.save(verdicts).value)
    assert repr(form.load(json.loads(text), Path())) == repr(verdicts)


def test_another_device_library_or_limit_is_another_proof(tmp_path: Path) -> None:
    library = tmp_path / "lib.so"
    library.write_bytes(b"one")
    spec = f"android-lib:{library}"
    first = device_key(spec, Options())
    assert first == device_key(spec, Options())
    assert len({first, device_key("arm64-vm", Options()), device_key(spec, Options(seconds=9.0))}) == 3
    library.write_bytes(b"two")
    assert device_key(spec, Options()) != first


@pytest.mark.usefixtures("numbers")
def test_several_bundles_share_what_the_first_keeps(tmp_path: Path, notes: Notes) -> None:
    with Staging(tmp_path / "one", key="a") as one, Staging(tmp_path / "two", key="b") as two:
        for value in (1.0, 1.0, 2.0):
            clock = clock_of(notes)
            first, second = resume_journals([one, two], clock)
            make(first, clock, "reference", {"a": 7.0})
            make(first, clock, "prompt", {"a": 7.0})
            for kept in (first, second):
                make(kept, clock, "build", {"a": value})
                make(kept, clock, "examine", {"a": value})
            assert make(second, clock, "prove", {"a": value}) == {"a": 1.0}, "it is of the second's own program"
        assert sorted(os.listdir(one.kept)) == ["build", "examine", "prompt", "reference"]
        assert sorted(os.listdir(two.kept)) == ["build", "examine", "prove"]


def test_late_makes_once_and_again_after_it_was_dropped() -> None:
    made: list[int] = []
    late = Lazy(lambda: made.append(1) or len(made))  # type: ignore[func-returns-value]
    assert made == []
    assert (late.get(), late.get()) == (1, 1)
    late.drop()
    assert late.get() == 2
