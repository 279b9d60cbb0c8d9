"""``export``'s flags: each reaches the pipeline, and what it hands back is shown. The pipeline has its own tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gemcut
import jsonschema
import pytest
from gemcut.bundle.reader import open_bundle
from gemcut.cli import main
from gemcut.pipeline import export as pipeline
from gemcut.pipeline.evidence import Evidence
from gemcut.pipeline.failures import GateFailed
from gemcut.pipeline.request import ExportRequest, Published
from gemcut.prove.fidelity import Fidelity, Place, PromptFidelity
from gemcut.prove.gate import Verdict, Violation

SCHEMA = Path(gemcut.__file__).parent / "schemas" / "export.schema.json"


@pytest.fixture
def requests(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> list[ExportRequest]:
    """What the pipeline was asked for; it answers with a bundle that was made before."""
    seen: list[ExportRequest] = []

    def export(request: ExportRequest, progress: Any) -> tuple[Published, ...]:
        seen.append(request)
        progress.stage("lower")
        with open_bundle(bundle) as opened:
            manifest = opened.manifest
        speed = {"prefill": 1500.0, "decode": 90.0}
        evidence = Evidence(manifest, speed=speed)
        return (Published(bundle, 12_300_000, manifest, evidence, {"lower": 2.5}, {"lower": 700_000_000}),)

    monkeypatch.setattr(pipeline, "export", export)
    return seen


def test_without_flags_the_defaults_are_asked_for(requests: list[ExportRequest]) -> None:
    assert main(["export", "--target", "android-arm64"]) == 0
    assert requests == [ExportRequest(target="android-arm64")]


def test_every_flag_reaches_the_pipeline(requests: list[ExportRequest]) -> None:
    words = (
        "export org/name@main --target t.toml --runtime executorch --recipe int8 --context 512 "
        "--prefill-lengths 64,8 --no-dynamic-shape --plain-tflite --format zip "
        "-o out.gemcut --force --chat-template none --gate report --verbose"
    )
    assert main(words.split()) == 0
    assert requests == [
        ExportRequest(
            model="org/name@main",
            target="t.toml",
            runtimes=("executorch",),
            recipe="int8",
            context=512,
            prefill_lengths=(8, 64),
            options={"dynamic_shape": False, "plain_tflite": True},
            format="zip",
            output=Path("out.gemcut"),
            force=True,
            chat_template="none",
            gate="report",
        )
    ]


def test_the_result_says_where_how_large_how_true_how_fast_and_what_next(
    requests: list[ExportRequest], bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "--target", "android-arm64"]) == 0
    shown = capsys.readouterr()
    for word in (
        str(bundle),
        "12.3 MB",
        "mean KL",
        "97.00%",
        "prefill 1500",
        "decode 90",
        "lower 2.5",
        "700.0 MB",
        "gemcut validate",
        "gemcut chat",
    ):
        assert word in shown.out
    assert shown.err == "lower\n"


def test_json_is_one_document(requests: list[ExportRequest], bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "--target", "android-arm64", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    jsonschema.validate(found, json.loads(SCHEMA.read_text()))
    (entry,) = found["bundles"]
    assert (entry["bundle"], entry["size"], entry["proven"]) == (str(bundle), 12_300_000, True)


def test_a_failed_gate_shows_the_worst_prompt_and_position_and_exits_5(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = Place("alarm", 31, 2.5, 3.0, False)
    fidelity = Fidelity(
        "full-vocabulary",
        1,
        40,
        0.3,
        2.5,
        0.8,
        1.4,
        3.0,
        4.0,
        (place,),
        (PromptFidelity("alarm", 40, 0.3, 0.8, place),),
    )
    verdict = Verdict((Violation("mean_kl", 0.3, 0.1, "alarm", 31),), fidelity, "because")

    def export(request: ExportRequest, progress: Any) -> tuple[Published, ...]:
        with open_bundle(bundle) as opened:
            raise GateFailed(verdict, "executorch", (Evidence(opened.manifest, verdict=verdict),))

    monkeypatch.setattr(pipeline, "export", export)
    assert main(["export", "--target", "android-arm64"]) == 5
    shown = capsys.readouterr()
    assert shown.out == ""
    for word in ("alarm", "31", "2.5", "nothing was published", "mean_kl 0.3, limit 0.1", "--gate report"):
        assert word in shown.err


def test_ctrl_c_says_that_nothing_was_published(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def export(request: ExportRequest, progress: Any) -> Published:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "export", export)
    assert main(["export", "--target", "android-arm64"]) == 130
    assert "interrupted, nothing was published" in capsys.readouterr().err


def test_an_unproven_bundle_is_announced(
    make_bundle: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_bundle(proven=False, unproven=["mean_kl 0.2, limit 0.05"])

    def export(request: ExportRequest, progress: Any) -> tuple[Published, ...]:
        with open_bundle(path) as opened:
            return (Published(path, 1, opened.manifest, Evidence(opened.manifest)),)

    monkeypatch.setattr(pipeline, "export", export)
    assert main(["export", "--target", "android-arm64", "--gate", "report"]) == 0
    shown = capsys.readouterr()
    assert "UNPROVEN" in shown.err
    assert "proven" in shown.out
    assert "NO" in shown.out
