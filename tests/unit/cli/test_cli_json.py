"""``--json``: one document on stdout that keeps the shipped schema, whatever the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gemcut
import jsonschema
import pytest
from gemcut.cli import main
from gemcut.cli.documents import DOCUMENTS, schemas
from gemcut.target import list_targets

SCHEMAS = Path(gemcut.__file__).parent / "schemas"


def document(name: str, words: list[str], capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a command and holds its one document against the schema ``name``."""
    code = main([*words, "--json"])
    shown = capsys.readouterr()
    assert code == 0, shown.err
    found = json.loads(shown.out)
    jsonschema.validate(found, json.loads((SCHEMAS / f"{name}.schema.json").read_text()))
    return found


def test_every_shipped_schema_is_that_of_the_code_and_valid() -> None:
    for path, text in schemas().items():
        assert path.read_text() == text, f"{path.name} is old: python -m gemcut.cli.documents"
        jsonschema.Draft202012Validator.check_schema(json.loads(text))
    assert {path.name.split(".")[0] for path in SCHEMAS.iterdir()} == set(DOCUMENTS)


def test_a_schema_takes_no_key_that_it_does_not_name(capsys: pytest.CaptureFixture[str]) -> None:
    found = document("targets", ["targets"], capsys)
    found["targets"][0]["colour"] = "red"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(found, json.loads((SCHEMAS / "targets.schema.json").read_text()))


def test_targets(capsys: pytest.CaptureFixture[str]) -> None:
    found = document("targets", ["targets", "list"], capsys)
    assert [t["name"] for t in found["targets"]] == sorted(list_targets())
    assert document("target", ["targets", "show", "linux-arm64"], capsys)["architecture"] == "arm64"


def test_recipes(capsys: pytest.CaptureFixture[str]) -> None:
    found = document("recipes", ["recipes"], capsys)
    assert [r["name"] for r in found["recipes"]] == ["balanced", "float32", "int4", "int8", "small"]
    assert document("recipe", ["recipes", "show", "int4"], capsys)["rules"][-1]["scheme"]["group"] == 32


def test_inspect(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = document("inspect", ["inspect", str(bundle)], capsys)
    assert found["size"] == sum(f.stat().st_size for f in bundle.rglob("*") if f.is_file())
    assert found["manifest"] == json.loads((bundle / "manifest.json").read_text())
    assert found["oldest_runtime"] == "1.0.1"


def test_bench(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bench", str(bundle), "--prompt", "8", "--prompt", "20", "--runs", "2", "--threads", "1"]
    found = document("bench", words, capsys)
    assert (found["emulated"], found["place"]["device"], found["runs"]) == (False, "host", 2)
    (measured,) = found["bundles"]
    assert (measured["threads"], measured["proven"], measured["runtime"]) == (1, True, "executorch")
    assert [test["test"] for test in measured["tests"]] == ["pp8", "pp20", "tg64"]
    for figure in (measured["load"], measured["peak_memory"], *(t["tokens_per_second"] for t in measured["tests"])):
        assert len(figure["samples"]) == 2
        assert 0 < min(figure["samples"]) <= figure["mean"] <= max(figure["samples"])
        assert figure["sd"] >= 0
    assert document("bench", [*words, "--gen", "0", "-o", "json"], capsys)["bundles"][0]["tests"][-1]["kind"] == "pp"


def test_chat(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = document("chat", ["chat", str(bundle), "--prompt", "hello"], capsys)
    (turn,) = found["turns"]
    assert (turn["reply"], turn["tokens"], turn["ended"]) == ("one two three", 3, "stop")


def test_doctor(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gemcut.doctor._unreachable", lambda endpoint: "no network in tests")
    found = document("doctor", ["doctor"], capsys)
    assert found["can_export"]
    assert {"Python", "torch", "executorch", "processor", "memory", "disk"} <= {c["name"] for c in found["checks"]}
