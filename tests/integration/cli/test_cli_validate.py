"""``validate`` on a real bundle: proven again here, a gate that fails, another machine that differs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import gemcut
import jsonschema
import pytest
from gemcut.cli import main

SCHEMA = Path(gemcut.__file__).parent / "schemas" / "validate.schema.json"


def test_a_good_bundle_is_proven_again(proven: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    path = proven()
    assert main(["validate", str(path)]) == 0
    shown = capsys.readouterr().out
    for word in ("every byte is as it was", "mean KL", "<= 0.05", "conformance (3 prompts)", "proven on this machine"):
        assert word in shown
    assert main(["validate", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    jsonschema.validate(found, json.loads(SCHEMA.read_text()))
    assert (found["passed"], found["proven"], found["devices"]) == (True, True, [])
    assert (found["here"]["passed"], found["here"]["violations"], found["here"]["failures"]) == (True, [], [])


def test_a_bundle_that_is_not_its_float_model_fails_the_gate(
    proven: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = proven(noise=1.5)
    assert main(["validate", str(path)]) == 5
    shown = capsys.readouterr()
    assert "NOT proven on this machine" in shown.out
    assert "worst position" in shown.out
    assert "UNPROVEN" in shown.err
    assert "failed: mean_kl" in shown.err
    assert main(["validate", str(path), "--json"]) == 5
    found = json.loads(capsys.readouterr().out)
    jsonschema.validate(found, json.loads(SCHEMA.read_text()))
    assert not found["passed"]
    assert found["here"]["violations"]


def test_a_machine_that_does_something_else_fails_conformance(
    proven: Callable[..., Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from gemcut.runtimes.executorch.runner import ExecuTorchRunner

    path = proven()
    step = ExecuTorchRunner.step
    # A kernel of this machine that is wrong: its logits are half of what they should be.
    monkeypatch.setattr(ExecuTorchRunner, "step", lambda self, token, position: step(self, token, position) * 0.5)
    assert main(["validate", str(path)]) == 6
    shown = capsys.readouterr()
    assert "a log-probability differs" in shown.err
    assert "log-probability" in shown.out


def test_a_flipped_byte_is_found_before_anything_runs(
    proven: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = proven()
    data = bytearray((path / "tokenizer.json").read_bytes())
    data[100] ^= 1
    (path / "tokenizer.json").write_bytes(data)
    assert main(["validate", str(path)]) == 6
    shown = capsys.readouterr()
    assert "tokenizer.json was changed" in shown.err
    assert shown.out == ""
