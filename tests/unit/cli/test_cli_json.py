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
    assert (found["runs"], found["threads"], found["proven"]) == (2, 1, True)
    assert [p["prompt"] for p in found["prefill"]] == [8, 20]
    for figure in (found["decode"], found["load"], found["peak_memory"], found["prefill"][0]["tokens_per_second"]):
        assert 0 < figure["min"] <= figure["p10"] <= figure["median"] <= figure["p90"] <= figure["max"]
    assert found["peak_memory"]["min"] >= found["memory_before"]["min"]


def test_chat(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = document("chat", ["chat", str(bundle), "--prompt", "hello"], capsys)
    (turn,) = found["turns"]
    assert (turn["reply"], turn["tokens"], turn["ended"]) == ("one two three", 3, "stop")


def test_doctor(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gemcut.doctor._unreachable", lambda endpoint: "no network in tests")
    found = document("doctor", ["doctor"], capsys)
    assert found["can_export"]
    assert {"Python", "torch", "executorch", "processor", "memory", "disk"} <= {c["name"] for c in found["checks"]}
