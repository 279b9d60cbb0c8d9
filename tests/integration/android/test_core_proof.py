"""Goldens on a phone: Java runs and compares them as Python does, and Python judges the file that Java wrote."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from gemcut.bundle.manifest import MANIFEST, SIDE_FILE, side_bytes
from gemcut.bundle.reader import open_bundle
from gemcut.devices.replay import Subject
from gemcut.devices.verdict_file import SCHEMA_FILE, read_verdict, schema_text, verdict_from
from gemcut.errors import ConformanceError, GemcutError, UnsupportedError, UsageError
from gemcut.pipeline.proving import subject_of
from gemcut.prove.conformance import Conformance, compare
from gemcut.prove.golden import Recorded
from gemcut.prove.golden_files import RECORDED, save_recorded
from gemcut.prove.run import run_bundle

Host = Sequence[Recorded]
Change = Callable[[Any, np.ndarray[Any, Any], np.random.Generator], Any]


@pytest.fixture(params=["executorch", "litert"])
def subject(request: pytest.FixtureRequest) -> Subject:
    name = {"executorch": "sample_int4", "litert": "sample_litert"}[request.param]
    return subject_of(open_bundle(request.getfixturevalue(name).path))


@pytest.fixture
def int4(sample_int4: Any) -> Subject:
    return subject_of(open_bundle(sample_int4.path))


def noisy(scale: float) -> Callable[[Recorded, np.random.Generator], Recorded]:
    def change(one: Recorded, random: np.random.Generator) -> Recorded:
        noise = random.normal(0, scale, one.logprobs.shape)
        return dataclasses.replace(one, logprobs=(one.logprobs + noise).astype(np.float32))

    return change


def filled(value: float) -> Callable[[Recorded, np.random.Generator], Recorded]:
    def change(one: Recorded, random: np.random.Generator) -> Recorded:
        logprobs = one.logprobs.copy()
        logprobs[random.integers(len(logprobs)), random.integers(logprobs.shape[1])] = value
        return dataclasses.replace(one, logprobs=logprobs)

    return change


def parted(step: int, runner_up: bool) -> Callable[[Recorded, np.random.Generator], Recorded]:
    def change(one: Recorded, random: np.random.Generator) -> Recorded:
        ids = list(one.greedy_ids)
        at = min(step, len(ids) - 1)
        ids[at] = int(one.top1[0]) if runner_up else (ids[at] + 1 + int(random.integers(50))) % 2048
        return dataclasses.replace(one, greedy_ids=tuple(ids))

    return change


def cut(one: Recorded, random: np.random.Generator) -> Recorded:
    return dataclasses.replace(one, greedy_ids=one.greedy_ids[:-1])


def mostly(change: Any, share: float) -> Any:
    def some(host: Host, random: np.random.Generator) -> tuple[Recorded, ...]:
        return tuple(change(one, random) if random.random() < share else one for one in host)

    return some


CHANGES: dict[str, Any] = {
    "none": lambda host, random: tuple(host),
    "a little": mostly(noisy(0.0002), 1.0),
    "more": mostly(noisy(0.3), 0.5),
    "far too much": mostly(noisy(3.0), 0.2),
    "not a number": mostly(filled(float("nan")), 0.1),
    "infinite": mostly(filled(float("inf")), 0.1),
    "impossible": mostly(filled(float("-inf")), 0.1),
    "parts at once": mostly(parted(0, False), 0.3),
    "parts later": mostly(parted(7, False), 0.5),
    "parts for the runner-up": mostly(parted(3, True), 0.5),
    "ends early": mostly(cut, 0.3),
}


def disturbed(host: Host, name: str) -> tuple[Recorded, ...]:
    return tuple(CHANGES[name](host, np.random.default_rng(list(CHANGES).index(name))))


def save(recorded: Host, folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name, data in save_recorded(recorded).items():
        (folder / Path(name).name).write_bytes(data)
    return folder


def near(value: float) -> Any:
    return pytest.approx(value, rel=1e-9, abs=1e-12, nan_ok=True)


def assert_alike(answer: dict[str, Any], ours: Conformance) -> None:
    assert answer["tolerance"] == near(ours.tolerance.logprob)
    assert answer["tolerance_kl"] == near(ours.tolerance.kl)
    assert answer["noise"] == near(ours.tolerance.noise)
    assert answer["noise_kl"] == near(ours.tolerance.noise_kl)
    assert answer["max_logprob_diff"] == near(ours.max_logprob_diff)
    assert answer["mean_kl"] == near(ours.mean_kl)
    assert answer["passed"] == ours.passed
    assert answer["failures"] == list(ours.failures)
    for there, here in zip(answer["differences"], ours.differences, strict=True):
        assert there == {
            "prompt": here.prompt,
            "max_logprob_diff": near(here.max_logprob_diff),
            "position": here.position,
            "kl": near(here.kl),
            "first_step": -1 if here.first_step is None else here.first_step,
            "margin": near(float("nan") if here.margin is None else here.margin),
            "tie": here.tie,
        }


def test_java_compares_as_python_does(core: Any, subject: Subject, tmp_path: Path) -> None:
    runs = {name: disturbed(subject.host, name) for name in CHANGES}
    folders = [save(run, tmp_path / name.replace(" ", "-")) for name, run in runs.items()]
    answers = core.ask("compare", subject.bundle.path, lines=folders)
    passed = {}
    for (name, run), answer in zip(runs.items(), answers, strict=True):
        ours = compare(subject.goldens, subject.host, run, subject.share)
        assert_alike(answer, ours)
        passed[name] = ours.passed
    assert passed["none"]
    assert passed["a little"]
    for name in ("far too much", "not a number", "infinite", "ends early"):
        assert not passed[name]


@pytest.mark.parametrize("record", ["none", "not a number"])
def test_the_tolerance_follows_the_recipe(core: Any, int4: Subject, variant: Any, tmp_path: Path, record: str) -> None:
    """Eight-bit weights get more room; a host's own record that isn't a number leaves the floors."""
    data = json.loads((int4.bundle.path / MANIFEST).read_bytes())
    for rule in data["recipe"]["rules"]:
        rule["weight"] = "int8"
    kept = save_recorded(disturbed(int4.host, record))
    for name, content in kept.items():
        data["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    manifest = json.dumps(data).encode()
    folder = variant(int4.bundle.path, "int8", {MANIFEST: manifest, SIDE_FILE: side_bytes(manifest), **kept})
    eight = subject_of(open_bundle(folder))
    (answer,) = core.ask("compare", folder, lines=[save(int4.host, tmp_path / "run")])
    ours = compare(eight.goldens, eight.host, int4.host, eight.share)
    assert_alike(answer, ours)
    before = compare(int4.goldens, int4.host, int4.host, int4.share).tolerance.logprob
    wanted = 2 * 2**0.5 * before if record == "none" else 1e-3
    assert ours.tolerance.logprob == pytest.approx(wanted)


class Toy:
    """The made-up program of ``Verbs.Toy``: its logits depend on every token so far."""

    def __init__(self, vocab_size: int, context: int) -> None:
        self.vocab_size, self.max_context, self.prefill_chunk = vocab_size, context, context
        self._state = 0

    def _feed(self, ids: Sequence[int]) -> Any:
        for token in ids:
            self._state = (self._state * 31 + token) % 1000003
        rows = self._state * (np.arange(self.vocab_size, dtype=np.int64) + 7) % 4099
        return rows.astype(np.float32) / np.float32(256.0)

    def prefill(self, ids: Sequence[int], position: int) -> Any:
        assert position == 0
        self._state = 1
        return self._feed(ids)

    def step(self, token: int, position: int) -> Any:
        return self._feed([token])

    def close(self) -> None:
        return


@pytest.mark.parametrize("chunk", [1, 7, 128])
def test_java_replays_as_python_does(core: Any, int4: Subject, tmp_path: Path, chunk: int) -> None:
    manifest = int4.bundle.manifest
    runner = Toy(manifest.vocab_size, manifest.context)
    ours = run_bundle(runner, int4.goldens, manifest.stop_ids, int4.decode)
    theirs = core.ask("replay", int4.bundle.path, chunk, tmp_path / "verdict.json")
    run = read_verdict(tmp_path / "verdict.json", int4)
    for host, here, there, read in zip(int4.host, ours, theirs, run.recorded, strict=True):
        most = len(here.greedy_ids) if host.ended else len(host.greedy_ids)
        assert there["greedy_ids"] == list(here.greedy_ids[:most])
        assert there["top1"] == hashlib.sha256(here.top1.astype("<i4").tobytes()).hexdigest()
        np.testing.assert_allclose(read.logprobs, here.logprobs, rtol=1e-6)
        np.testing.assert_allclose(read.target_logprobs, here.target_logprobs, rtol=1e-6)
    verdict = verdict_from(int4, tmp_path / "verdict.json")
    assert not verdict.passed
    assert list(verdict.failures) == json.loads((tmp_path / "verdict.json").read_text())["failures"]


class Notes:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def stage(self, name: str) -> None:
        return

    def update(self, done: float, total: float, what: str = "") -> None:
        return

    def note(self, text: str) -> None:
        self.said.append(text)


def written(core: Any, subject: Subject, name: str, tmp_path: Path) -> Path:
    """A verdict as Java writes it of a run."""
    target = tmp_path / f"{name}.json"
    core.ask("verdict", subject.bundle.path, save(disturbed(subject.host, name), tmp_path / f"run {name}"), target)
    return target


def test_python_reads_what_java_wrote(core: Any, subject: Subject, tmp_path: Path) -> None:
    notes = Notes()
    path = written(core, subject, "a little", tmp_path)
    verdict = verdict_from(subject, path, notes)
    assert verdict.passed, verdict.failures
    assert not notes.said
    assert verdict.device == "Google Pixel 8"
    assert verdict.runtime == subject.runtime
    assert verdict.facts is not None
    assert verdict.facts.runtimes == {subject.runtime: "1.1.0"}
    assert (verdict.facts.system, verdict.facts.architecture, verdict.facts.cores) == ("Android 14", "arm64-v8a", 9)
    assert verdict.facts.library is not None
    assert verdict.peak_memory == 3 << 30
    assert verdict.conformance == compare(
        subject.goldens, subject.host, disturbed(subject.host, "a little"), subject.share
    )
    jsonschema.Draft202012Validator(json.loads(SCHEMA_FILE.read_text())).validate(json.loads(path.read_text()))
    assert read_verdict(path, subject).file.tokens_per_second == 250.0


@pytest.mark.parametrize("name", ["far too much", "not a number", "parts at once", "ends early"])
def test_what_fails_there_fails_here_with_the_same_words(core: Any, int4: Subject, tmp_path: Path, name: str) -> None:
    notes = Notes()
    verdict = verdict_from(int4, written(core, int4, name, tmp_path), notes)
    assert not verdict.passed
    said = json.loads((tmp_path / f"{name}.json").read_text())
    assert list(verdict.failures) == said["failures"]
    assert not said["passed"]
    texts = [one for one in notes.said if "text of" not in one]  # of changed ids the old text, which is noted
    assert not texts


def test_a_program_that_was_refused_there(core: Any, int4: Subject, tmp_path: Path) -> None:
    verdict = verdict_from(int4, Path(f"{written(core, int4, 'none', tmp_path)}.refused"))
    assert verdict.conformance is None
    assert verdict.failures == ("Google Pixel 8: the program can't be run: it lacks llama::sdpa.out",)


@pytest.fixture
def honest(core: Any, int4: Subject, tmp_path: Path) -> dict[str, Any]:
    return dict(json.loads(written(core, int4, "none", tmp_path).read_text()))


def test_the_files_own_verdict_is_not_trusted(int4: Subject, honest: dict[str, Any], tmp_path: Path) -> None:
    lies = disturbed(int4.host, "far too much")
    for part, one in zip(honest["goldens"], lies, strict=True):
        part["logprobs"] = base64.b64encode(one.logprobs.astype("<f4").tobytes()).decode()
    honest["goldens"][2]["greedy_text"] = "something else"
    path, notes = tmp_path / "lies.json", Notes()
    path.write_text(json.dumps(honest))
    verdict = verdict_from(int4, path, notes)
    assert honest["passed"]
    assert not verdict.passed
    assert any("says that Google Pixel 8 passed; its outputs don't pass here" in one for one in notes.said)
    assert any("largest log-probability difference" in one for one in notes.said)
    assert any(f"text of {int4.goldens[2].prompt.id!r}" in one for one in notes.said)
    assert read_verdict(path, int4).recorded[2].greedy_text == int4.host[2].greedy_text


def short(text: str) -> str:
    return base64.b64encode(base64.b64decode(text)[:-4]).decode()


BAD: dict[str, tuple[Callable[[dict[str, Any]], Any], type[GemcutError], str]] = {
    "another bundle": (lambda d: d.update(manifest_sha256="0" * 64), ConformanceError, "is for another bundle"),
    "another runtime": (lambda d: d["runtime"].update(name="litert"), ConformanceError, "is for executorch"),
    "truncated base64": (
        lambda d: d["goldens"][1].update(logprobs=d["goldens"][1]["logprobs"][:-3]),
        ConformanceError,
        "phone-02",
    ),
    "wrong shape": (
        lambda d: d["goldens"][0].update(top1=short(d["goldens"][0]["top1"])),
        ConformanceError,
        "bytes instead of",
    ),
    "no base64": (lambda d: d["goldens"][0].update(target_logprobs="!!!!"), ConformanceError, "not base64"),
    "a golden less": (lambda d: d["goldens"].pop(3), ConformanceError, "is missing"),
    "a golden more": (lambda d: d["goldens"].append({**d["goldens"][0], "id": "x"}), ConformanceError, "'x'"),
    "two goldens swapped": (lambda d: d["goldens"].reverse(), ConformanceError, "their order differs"),
    "a token of another vocabulary": (
        lambda d: d["goldens"][0]["greedy_ids"].append(999999),
        ConformanceError,
        "it has token 999999",
    ),
    "a token below zero": (lambda d: d["goldens"][0]["greedy_ids"].append(-1), ConformanceError, "greedy_ids"),
    "newer": (lambda d: d.update(schema_version=2), UnsupportedError, "schema version 2"),
    "no version": (lambda d: d.pop("schema_version"), ConformanceError, "schema_version"),
    "misspelt": (lambda d: d.update(pased=True), ConformanceError, "pased"),
    "missing": (lambda d: d.pop("device"), ConformanceError, "device"),
    "text for a number": (lambda d: d.update(mean_kl="0"), ConformanceError, "mean_kl"),
    "not a number": (lambda d: d.update(mean_kl=float("nan")), ConformanceError, "mean_kl"),
    "infinite": (lambda d: d.update(tokens_per_second=float("inf")), ConformanceError, "tokens_per_second"),
    "below zero": (lambda d: d.update(peak_memory=-1), ConformanceError, "peak_memory"),
    "run and refused": (lambda d: d.update(refused="no memory"), ConformanceError, "was not run"),
    "something else": (lambda d: d.update(format="gemcut-bundle"), UsageError, "is not a phone's verdict"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_in_words(int4: Subject, honest: dict[str, Any], tmp_path: Path, name: str) -> None:
    change, kind, words = BAD[name]
    change(honest)
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(honest))
    with pytest.raises(kind) as caught:
        verdict_from(int4, path)
    assert words in caught.value.message
    assert str(path) in caught.value.message
    assert caught.value.hint


def test_files_that_are_none(core: Any, int4: Subject, tmp_path: Path) -> None:
    whole = written(core, int4, "none", tmp_path).read_text()
    for name, content, kind in (
        ("half.json", whole[: len(whole) // 2], ConformanceError),
        ("list.json", "[]", UsageError),
        ("words.json", "hello", UsageError),
        ("deep.json", "[" * 100_000, UsageError),
    ):
        (tmp_path / name).write_text(content)
        with pytest.raises(kind):
            verdict_from(int4, tmp_path / name)
    with pytest.raises(UsageError, match="can't be read"):
        verdict_from(int4, tmp_path / "none-such.json")
    with pytest.raises(UsageError, match="can't be read"):
        verdict_from(int4, tmp_path)


def test_the_schema_that_is_shipped_is_the_models() -> None:
    assert SCHEMA_FILE.read_text() == schema_text()


def test_the_records_are_those_of_the_bundle(core: Any, int4: Subject) -> None:
    """The host's own files go through the verb as any run's do."""
    (answer,) = core.ask("compare", int4.bundle.path, lines=[(int4.bundle.path / RECORDED[0]).parent])
    assert answer["passed"]
    assert answer["max_logprob_diff"] == 0.0
