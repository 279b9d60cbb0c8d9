"""Real bundles against each other and against variants of themselves."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gemcut.bundle.manifest import DeviceRecord
from gemcut.bundle.reader import open_bundle
from gemcut.prove.golden import Golden, Recorded
from gemcut.prove.golden_files import GOLDENS

from tests.support.diff_variants import Variant, compare, other_goldens, other_outputs, read, severities, spoiled
from tests.support.exports import Exported


def test_bundle_is_the_same_as_itself(sample_int4: Exported) -> None:
    found = compare(sample_int4.path, sample_int4.path)
    assert (found.severity, severities(found), found.uncompared) == ("same", {}, ())
    assert all(line.same for line in (*found.sizes.files, *found.sizes.sections))
    assert len(found.behaviour.prompts) == found.behaviour.chats >= 24
    assert all(line.same and line.kl == 0.0 and line.agree == 1.0 for line in found.behaviour.prompts)


def test_zip_is_the_same_as_the_directory_that_it_holds(sample_int4: Exported, variant: Variant) -> None:
    packed = variant(sample_int4.path, "whole.gemcut", format="zip")
    found = compare(sample_int4.path, packed)
    assert severities(found) == {}
    assert found.b.format == "zip"
    assert found.b.packed == packed.stat().st_size
    assert found.a.size == found.b.size == sum(f.stat().st_size for f in sample_int4.path.rglob("*") if f.is_file())
    assert found.a.manifest_sha256 == found.b.manifest_sha256


def test_int4_and_float32_differ_in_what_quantization_does(sample_int4: Exported, sample_float32: Exported) -> None:
    found = compare(sample_float32.path, sample_int4.path)
    changed = severities(found)
    for area in ("target", "recipe", "tensors", "operators", "kernels", "context", "proof"):
        assert changed[area] == "matters", area
    assert changed["size"] == "harmless"  # smaller
    assert found.change("model").severity == "same"  # type: ignore[union-attr]
    tensors = {line.name: line for line in found.tensors}
    assert tensors["mlp"].bytes_a > 5 * tensors["mlp"].bytes_b  # type: ignore[operator]
    assert tensors["mlp"].schemes_a == {"float32": 18}
    assert {rule.kind for rule in found.recipe} == {"changed", "added"}
    assert "quantized_decomposed::embedding_byte.dtype_out" in found.operators.added  # type: ignore[union-attr]
    figures = {line.name: line for line in found.behaviour.figures}
    assert found.behaviour.form == "full-vocabulary"
    assert figures["mean_kl"].a < 1e-9 < figures["mean_kl"].b  # type: ignore[operator]
    sections = {line.name: line for line in found.sizes.sections}
    assert sections["constants and delegates"].a > 5 * sections["constants and delegates"].b  # type: ignore[operator]
    program = next(line for line in found.sizes.files if line.name == "model.pte")
    assert program.a == sum(line.a or 0 for line in found.sizes.sections)


def test_float_model_is_what_one_prompt_line_is_against(sample_int4: Exported, sample_float32: Exported) -> None:
    """The float32 bundle does what the float model does, so int4's KL from the one is its KL from the other."""
    found = compare(sample_float32.path, sample_int4.path)
    lines = {line.prompt: line for line in found.behaviour.prompts}
    assert len(lines) >= 24
    for line in lines.values():
        assert line.top1_a == 1.0
        assert line.agree == line.top1_b
        assert line.kl == pytest.approx(line.mean_kl_b, rel=1e-3, abs=1e-7)
    with open_bundle(sample_int4.path) as bundle:
        top1 = bundle.manifest.fidelity.top1  # type: ignore[union-attr]
    positions = sum(line.positions for line in lines.values())
    assert sum(line.top1_b * line.positions for line in lines.values()) / positions == pytest.approx(top1, abs=0.02)


def test_executorch_and_litert_compare_as_far_as_they_can(sample_int4: Exported, sample_litert: Exported) -> None:
    found = compare(sample_int4.path, sample_litert.path)
    changed = severities(found)
    assert changed["runtime"] == "matters"
    assert found.operators is None
    assert found.change("operators") is None
    assert any(note.startswith("operators and kernels") for note in found.uncompared)
    assert {"recipe", "template", "tokenizer", "stop", "goldens"}.isdisjoint(changed)
    assert changed["tensors"] == "harmless"  # each counts a table for two in its own way
    sections = {line.name: line for line in found.sizes.sections}
    assert sections["TFLiteModel tf_lite_prefill_decode"].a is None
    assert "GenericBinaryData manifest.json" in sections
    assert len(found.behaviour.prompts) >= 24
    held = compare(sample_int4.path, sample_litert.path, "operators", "recipe").thresholds
    assert [(line.passed, "can't be compared" in line.message) for line in held] == [(False, True), (True, False)]


def test_litert_sections_are_named_where_they_differ(sample_litert: Exported, variant: Variant) -> None:
    """A byte of the program's own section is changed where the engine reads it."""
    from gemcut.formats.litertlm import program_section

    section = program_section(sample_litert.path / "model.litertlm")
    data = bytearray(read(sample_litert.path, "model.litertlm"))
    data[(section.begin + section.end) // 2] ^= 1
    found = compare(sample_litert.path, variant(sample_litert.path, files={"model.litertlm": bytes(data)}))
    differing = [line.name for line in found.sizes.sections if not line.same]
    assert differing == ["TFLiteModel tf_lite_prefill_decode"]
    assert severities(found) == {"files": "harmless"}  # its records say that it does the same, and it is proven


def test_replies_are_side_by_side_where_they_differ(sample_int4: Exported, variant: Variant) -> None:
    worse = variant(sample_int4.path, files=other_outputs(sample_int4.path, spoiled))
    found = compare(sample_int4.path, worse)
    changed = severities(found)
    assert (changed["texts"], changed["tool_calls"]) == ("matters", "matters")
    assert found.behaviour.texts
    for text in found.behaviour.texts:
        assert text.b == text.a.replace("call:", "call:x_", 1)
        assert text.at == 0
        assert not text.is_float_b
        assert text.is_float_a == (text.a == text.float_a)
    lost = [line for line in found.behaviour.tool_calls if line.a and not line.b]
    assert len(lost) == sum(text.is_float_a for text in found.behaviour.texts)
    assert found.behaviour.tool_calls_b == 0.0
    back = compare(worse, sample_int4.path)
    assert (severities(back)["texts"], severities(back)["tool_calls"]) == ("harmless", "harmless")


def test_fidelity_that_falls_matters(sample_int4: Exported, variant: Variant) -> None:
    with open_bundle(sample_int4.path) as bundle:
        figures = bundle.manifest.fidelity
    assert figures is not None
    limit = sample_int4.document["fidelity"]["mean_kl"]
    slightly = variant(sample_int4.path, "a", manifest={"fidelity": figures.model_copy(update={"mean_kl": limit * 2})})
    badly = variant(sample_int4.path, "b", manifest={"fidelity": figures.model_copy(update={"mean_kl": limit + 0.02})})
    assert severities(compare(sample_int4.path, slightly))["fidelity"] == "harmless"
    found = compare(sample_int4.path, badly)
    assert severities(found)["fidelity"] == "matters"
    assert [line.name for line in found.behaviour.figures if line.worse] == ["mean_kl"]
    no_number = variant(sample_int4.path, "c", manifest={"fidelity": figures.model_copy(update={"mean_kl": None})})
    assert severities(compare(sample_int4.path, no_number))["fidelity"] == "matters"


def test_logits_that_are_no_numbers_are_a_difference_and_no_crash(sample_int4: Exported, variant: Variant) -> None:
    def broken(golden: Golden, one: Recorded) -> Recorded:
        return replace(one, logprobs=np.full_like(one.logprobs, np.nan), target_logprobs=one.target_logprobs * np.nan)

    worse = variant(
        sample_int4.path, files=other_outputs(sample_int4.path, broken), manifest={"fidelity": None, "proven": False}
    )
    found = compare(sample_int4.path, worse)
    assert severities(found)["fidelity"] == severities(found)["proof"] == "matters"
    assert found.behaviour.form == "top-64"
    assert all(line.mean_kl_b is None and line.kl is None and not line.same for line in found.behaviour.prompts)
    held = compare(sample_int4.path, worse, "mean_kl>+0.1").thresholds[0]
    assert not held.passed
    assert "can't be measured" in held.message


def test_goldens_are_matched_by_what_was_asked(sample_int4: Exported, variant: Variant) -> None:
    def fewer_and_others(goldens: list[Golden], recorded: list[Recorded]) -> None:
        del goldens[1], recorded[1]
        goldens[1] = replace(goldens[1], rendered=goldens[1].rendered + " ")
        first = goldens[0]
        goldens[0] = replace(first, prompt=replace(first.prompt, id="another name"))

    ids = [json.loads(line)["id"] for line in read(sample_int4.path, GOLDENS[1]).decode().splitlines()]
    other = variant(sample_int4.path, files=other_goldens(sample_int4.path, fewer_and_others))
    found = compare(sample_int4.path, other)
    assert found.behaviour.only_a == (ids[0], ids[1])
    assert found.behaviour.only_b == ("another name",)
    assert found.behaviour.rerendered == (ids[2],)
    assert [line.prompt for line in found.behaviour.prompts] == ids[3:]
    assert found.behaviour.chats == len(ids) - 2
    assert severities(found)["goldens"] == "matters"


def test_manifest_settings_are_judged_one_by_one(sample_int4: Exported, variant: Variant) -> None:
    with open_bundle(sample_int4.path) as bundle:
        manifest = bundle.manifest
    runtime, recipe, model = manifest.runtime, manifest.recipe, manifest.model
    hashes = {**model.files, "model.safetensors": "0" * 64}
    words = {**model.files, "README.md": "0" * 64}
    device = DeviceRecord(device="host", max_logprob_diff=0.0, mean_kl=0.0, tolerance=1.0, tolerance_kl=1.0)
    cases = [
        ("stop", {"stop_ids": (1,)}, "matters"),
        ("stop", {"stop_ids": tuple(reversed(manifest.stop_ids))}, "harmless"),
        ("runtime", {"runtime": runtime.model_copy(update={"version": "9.9"})}, "harmless"),
        ("runtime", {"runtime": runtime.model_copy(update={"oldest": "1.10.0"})}, "matters"),
        ("runtime", {"runtime": runtime.model_copy(update={"oldest": "1.0.0"})}, "harmless"),
        ("runtime", {"runtime": runtime.model_copy(update={"oldest": None})}, "matters"),
        ("exporter", {"exporter": "9"}, "harmless"),
        ("libraries", {"libraries": {}}, "harmless"),
        ("target", {"target": "another"}, "matters"),
        ("context", {"context": manifest.context * 2}, "matters"),
        ("context", {"prefill_chunk": 1}, "matters"),
        ("special_tokens", {"template_bos": not manifest.template_bos}, "matters"),
        ("operators", {"operators": (*manifest.operators, "aten::new.out")}, "matters"),
        ("operators", {"operators": manifest.operators[1:]}, "harmless"),
        ("kernels", {"kernels": (*manifest.kernels, "aten::new.out")}, "matters"),
        ("delegates", {"delegates": {**manifest.delegates, "Vulkan": 1}}, "matters"),
        ("delegates", {"delegate_coverage": manifest.delegate_coverage - 0.1}, "matters"),
        ("delegates", {"delegate_coverage": manifest.delegate_coverage - 0.001}, "harmless"),
        ("licence", {"licence": manifest.licence.model_copy(update={"id": "gemma"})}, "matters"),
        ("licence", {"licence": manifest.licence.model_copy(update={"name": "Apache"})}, "harmless"),
        ("model", {"model": model.model_copy(update={"files": hashes})}, "matters"),
        ("model", {"model": model.model_copy(update={"files": words})}, "harmless"),
        ("model", {"model": model.model_copy(update={"name": "renamed"})}, "harmless"),
        ("recipe", {"recipe": recipe.model_copy(update={"rules": tuple(reversed(recipe.rules))})}, "matters"),
        ("recipe", {"recipe": recipe.model_copy(update={"name": "mine"})}, "harmless"),
        ("proof", {"gate": manifest.gate.model_copy(update={"limits": {}})}, "matters"),
        ("proof", {"devices": (device,)}, "harmless"),
        ("proof", {"proven": False}, "matters"),
    ]
    for number, (area, change, severity) in enumerate(cases):
        found = compare(sample_int4.path, variant(sample_int4.path, str(number), manifest=change))
        changed = severities(found)
        changed.pop("size", None)  # the manifest's own length
        assert changed == {area: severity}, (area, change)
        assert found.change(area).reason  # type: ignore[union-attr]


def test_rules_are_told_apart(sample_int4: Exported, variant: Variant) -> None:
    with open_bundle(sample_int4.path) as bundle:
        recipe = bundle.manifest.recipe
    first, second = recipe.rules[0], recipe.rules[-1]
    rules = (second.model_copy(update={"group": 64}), first, first.model_copy(update={"match": "model\\.extra"}))
    changed = variant(sample_int4.path, manifest={"recipe": recipe.model_copy(update={"rules": rules})})
    found = {(one.kind, one.match): one for one in compare(sample_int4.path, changed).recipe}
    assert {kind for kind, _ in found} == {
        "changed",
        "moved",
        "added",
        "removed",
    }  # of two that changed places, either moved
    assert ("added", "model\\.extra") in found
    one = found["changed", ".*"]
    assert "in groups of 32" in (one.a or "")
    assert "in groups of 64" in (one.b or "")
    assert (one.place_a, one.place_b) == (len(recipe.rules), 1)


def test_other_files_are_judged_by_their_use(sample_int4: Exported, variant: Variant) -> None:
    for name, severity in (
        ("README.md", "harmless"),
        ("generation_config.json", "matters"),
        ("tokenizer.model", "matters"),
        ("stranger.bin", "matters"),
    ):
        found = compare(sample_int4.path, variant(sample_int4.path, name, {name: b"other"}))
        assert found.change("files").severity == severity, name  # type: ignore[union-attr]
        assert name in found.change("files").what  # type: ignore[union-attr]


def test_compiled_prompts_are_compared_by_what_they_say(sample_int4: Exported, variant: Variant) -> None:
    content = (
        json.loads(read(sample_int4.path, "prompt.json"))
        if "prompt.json" in _names(sample_int4.path)
        else {
            "format": "gemcut-prompt",
            "chat": {"joints": {"start": {"user": "<s>"}}},
            "reasons": {"tools": None},
        }
    )
    base = variant(sample_int4.path, "base", {"prompt.json": json.dumps(content).encode()})
    spaced = variant(sample_int4.path, "spaced", {"prompt.json": json.dumps(content, indent=4).encode()})
    other = {**content, "chat": {**content["chat"], "joints": {"start": {"user": "<bos><bos>"}}}}
    changed = variant(sample_int4.path, "changed", {"prompt.json": json.dumps(other).encode()})
    gone = variant(sample_int4.path, "gone", {"prompt.json": None})
    assert severities(compare(base, spaced))["prompt"] == "harmless"
    found = compare(base, changed)
    assert severities(found)["prompt"] == "matters"
    assert any(one.name.startswith("chat.joints") and one.b == '"<bos><bos>"' for one in found.prompt)
    assert severities(compare(base, gone))["prompt"] == "matters"
    assert severities(compare(gone, base))["prompt"] == "harmless"


def _names(bundle: Path) -> set[str]:
    with open_bundle(bundle) as opened:
        return set(opened.manifest.files)
