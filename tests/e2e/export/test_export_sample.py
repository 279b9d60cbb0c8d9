"""The sample's export through the command line: what comes out, and what is said."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import gemcut
import jsonschema
from gemcut.bundle.manifest import SCHEMA_FILE

STAGES = (
    "Opening the checkpoint",
    "Loading the float model",
    "Running the float model on the golden prompts",
    "Compiling the chat template",
    "Calibrating on text",
    "Quantizing: int4",
    "Tracing",
    "Lowering for ExecuTorch",
    "Packing for executorch",
    "Proving the packed executorch bundle",
    "Measuring its speed on this host",
    "Sealing",
    "Publishing",
)


def test_the_bundle_holds_what_a_bundle_holds(sample_int4: Any) -> None:
    present = {str(p.relative_to(sample_int4.path)) for p in sample_int4.path.rglob("*") if p.is_file()}
    assert present >= {
        "manifest.json",
        "model.pte",
        "tokenizer.json",
        "tokenizer.model",
        "chat_template.jinja",
        "prompt.json",
        "generation_config.json",
        "goldens/goldens.jsonl",
        "goldens/goldens.safetensors",
        "LICENSE",
        "NOTICE",
        "README.md",
    }
    manifest = json.loads((sample_int4.path / "manifest.json").read_text())
    jsonschema.validate(manifest, json.loads(SCHEMA_FILE.read_text()))
    assert manifest["proven"] is True
    assert manifest["target"] == "android-arm64"
    assert manifest["recipe"]["name"] == "int4"
    assert manifest["delegates"].keys() == {"XnnpackBackend"}
    own = set(manifest["kernels"]) - set(manifest["operators"])
    assert set(manifest["operators"]) < set(manifest["kernels"])
    assert own
    assert all(name.startswith("executorch_prim::") for name in own)
    assert str(Path.home()) not in json.dumps(manifest)


def test_the_goldens_are_as_many_and_as_long_as_promised(sample_int4: Any) -> None:
    fidelity = sample_int4.document["fidelity"]
    assert fidelity["form"] == "full-vocabulary"
    assert fidelity["prompts"] >= 24
    assert fidelity["positions"] >= 24 * 32


def test_only_our_own_words_reach_the_user(sample_diary: Any) -> None:
    """Of an export for one runtime; ``test_export_litert`` has one for two."""
    for line in sample_diary.stderr.splitlines():
        stage, _, detail = line.partition(": ")
        known = line in STAGES or (stage in STAGES and re.match(r"\d+%", detail))
        assert known or line.startswith("note: "), line
    assert [line for line in sample_diary.stderr.splitlines() if line in STAGES] == list(STAGES)


def test_the_document_keeps_its_schema(sample_int4: Any) -> None:
    schema = Path(gemcut.__file__).parent / "schemas" / "export.schema.json"
    jsonschema.validate(sample_int4.result, json.loads(schema.read_text()))
    assert sample_int4.document["size"] == sum(p.stat().st_size for p in sample_int4.path.rglob("*") if p.is_file())
    assert set(sample_int4.document["speed"]) == {"prefill", "decode"}


def test_nothing_quantized_is_the_float_model(sample_float32: Any) -> None:
    fidelity = sample_float32.document["fidelity"]
    assert fidelity["max_logit_diff"] < 1e-3
    assert fidelity["top1"] == 1.0
    assert sample_float32.document["behaviour"]["tool_calls"] in (None, 1.0)


def test_nothing_is_left_beside_the_bundle(sample_both: tuple[Any, ...], sample_float32: Any) -> None:
    for made in ((sample_float32,), sample_both):
        assert set(made[0].path.parent.iterdir()) == {each.path for each in made}
