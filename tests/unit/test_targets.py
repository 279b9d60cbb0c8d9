"""Targets: what is shipped, and every mistake in a file of one's own."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import jsonschema
import pytest
from gemcut.errors import UnsupportedError, UsageError
from gemcut.quantize.recipe import list_recipes
from gemcut.target import RuntimeChoices, explained, list_targets, load_target, schema

SHIPPED = tuple(list_targets())
FIRST = ("android-arm64", "android-x86_64", "linux-arm64", "linux-x86_64")  # of the first release; more may be added


def write(folder: Path, **changes: object) -> Path:
    """A copy of android-arm64 with lines added, replaced or (None) taken out."""
    source = list_targets()["android-arm64"].read_text()
    for key, value in changes.items():
        kept = [line for line in source.split("\n") if not line.startswith(f"{key} =")]
        source = "\n".join(kept)
        if value is not None:
            source = f"{key} = {value}\n{source}"
    path = folder / "mine.toml"
    path.write_text(source)
    return path


def with_litert(folder: Path, table: str | None, runtimes: str = '["executorch", "litert"]') -> Path:
    """A copy of android-arm64 with this table [litert], or none."""
    path = write(folder, runtimes=runtimes)
    source = path.read_text().split("\n[litert]\n")[0]
    if '"litert"' not in runtimes:
        source = source.replace('litert = "0.11.0"\n', "")
    if '"executorch"' not in runtimes:
        source = source.replace('executorch = "1.1.0"\n', "")
    path.write_text(source if table is None else f"{source}\n[litert]\n{table}\n")
    return path


def test_the_four_first_targets_are_still_shipped() -> None:
    assert set(FIRST) <= set(SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_value_of_a_shipped_target_is_explained(name: str) -> None:
    target = load_target(name)
    assert target.name == name
    assert set(target.choices) == set(explained(target))
    assert all(len(reason) > 20 or key == "context" for key, reason in target.choices.items())


@pytest.mark.parametrize("name", FIRST)
def test_a_first_target_has_the_issues_defaults(name: str) -> None:
    target = load_target(name)
    assert target.delegate == "xnnpack"
    assert target.recipe in list_recipes()
    assert (target.context, target.prefill_chunk) == (2048, 128)
    assert set(target.oldest_runtime) == set(target.runtimes) == {"executorch", "litert"}


@pytest.mark.parametrize("name", FIRST)
def test_a_first_target_takes_short_turns_and_the_same_context_on_litert(name: str) -> None:
    litert = load_target(name).own["litert"]
    assert litert.context is None
    assert (litert.prefill_lengths[0], litert.options) == (16, {"dynamic_shape": False})
    assert load_target(name).prefill_chunk in litert.prefill_lengths
    assert litert.recipe is None or litert.recipe in list_recipes()


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_schema_takes_the_shipped_file(name: str) -> None:
    path = list_targets()[name]
    shipped = json.loads(path.with_name("target.schema.json").read_text())
    jsonschema.validate(tomllib.loads(path.read_text()), shipped)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**tomllib.loads(path.read_text()), "colour": "red"}, shipped)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**tomllib.loads(path.read_text()), "litert": {"colour": "red"}}, shipped)


def test_the_shipped_schema_is_that_of_the_class() -> None:
    shipped = json.loads(list_targets()["android-arm64"].with_name("target.schema.json").read_text())
    shipped.pop("$schema")
    assert shipped == schema()


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(UnsupportedError, match="did you mean 'android-arm64'") as caught:
        load_target("android-arm")
    assert caught.value.exit_code == 4


def test_a_file_of_ones_own_is_taken_under_its_own_name(tmp_path: Path) -> None:
    target = load_target(str(write(tmp_path, context="512")))
    assert (target.name, target.context) == ("mine", 512)


def test_a_recipe_file_is_looked_for_beside_the_target(tmp_path: Path) -> None:
    target = load_target(str(write(tmp_path, recipe='"own/r.toml"')))
    assert target.recipe == str(tmp_path / "own" / "r.toml")


def test_litert_takes_the_targets_own_values_unless_it_has_others(tmp_path: Path) -> None:
    plain = RuntimeChoices((128,), {"dynamic_shape": False})
    assert load_target(str(with_litert(tmp_path, None))).own == {"litert": plain}
    table = 'recipe = "mine.toml"\ncontext = 512\nprefill_lengths = [8, 512]\ndynamic_shape = true'
    wanted = RuntimeChoices((8, 512), {"dynamic_shape": True}, str(tmp_path / "mine.toml"), 512)
    assert load_target(str(with_litert(tmp_path, table))).choices_for("litert") == wanted


def test_a_target_without_litert_has_no_choices_for_it(tmp_path: Path) -> None:
    target = load_target(str(with_litert(tmp_path, None, '["executorch"]')))
    assert target.own == {}
    assert target.choices_for("executorch") == RuntimeChoices((target.prefill_chunk,))
    assert not any(key.startswith("litert") for key in explained(target))
    with pytest.raises(UsageError, match="runtimes doesn't name 'litert'"):
        load_target(str(with_litert(tmp_path, "dynamic_shape = false", '["executorch"]')))


def test_what_differs_for_litert_is_explained_under_its_own_keys(tmp_path: Path) -> None:
    table = 'context = 512\n[litert.choices]\ncontext = "Small boards."'
    target = load_target(str(with_litert(tmp_path, table)))
    assert target.choices["litert.context"] == "Small boards."
    assert explained(target)["litert.context"] == 512
    assert "litert.recipe" not in explained(target)


@pytest.mark.parametrize(
    ("table", "error", "message"),
    [
        ("prefil_lengths = [1]", UnsupportedError, "'litert.prefil_lengths': did you mean 'prefill_lengths'"),
        ("prefill_lengths = [128, 16]", UsageError, "litert: prefill_lengths must ascend, and these don't: 128, 16"),
        ("prefill_lengths = [16, 16]", UsageError, "must ascend, and these don't: 16, 16"),
        ("prefill_lengths = []", UsageError, "litert.prefill_lengths: .*at least 1 item"),
        ("prefill_lengths = [0, 16]", UsageError, "litert.prefill_lengths.0: .*greater"),
        ("prefill_lengths = [16, 4096]", UsageError, "has 4096, which is larger than context 2048"),
        ("prefill_lengths = [64]\ncontext = 32", UsageError, "has 64, which is larger than context 32"),
        ("context = 8", UsageError, "litert.context: .*greater"),
        ('dynamic_shape = "yes"', UsageError, "litert.dynamic_shape: .*boolean"),
        ('[litert.choices]\nrecip = "why"', UsageError, "litert.choices explains an unknown key 'recip': .*'recipe'"),
    ],
)
def test_a_wrong_table_for_litert_is_named(tmp_path: Path, table: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        load_target(str(with_litert(tmp_path, table)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"contxt": "1"}, "unknown key 'contxt': did you mean 'context'"),
        ({"delegate": '"xnpack"'}, "delegate = 'xnpack': did you mean 'xnnpack'"),
        ({"architecture": '"arm65"'}, "did you mean 'arm64'"),
        ({"runtimes": '["executorch", "litrt"]'}, "runtimes.1 = 'litrt': did you mean 'litert'"),
    ],
)
def test_an_unknown_key_or_value_gets_the_nearest(tmp_path: Path, changes: dict[str, str], message: str) -> None:
    path = write(tmp_path, **changes)
    with pytest.raises(UnsupportedError, match=message) as caught:
        load_target(str(path))
    assert str(path) in caught.value.message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"context": None}, "'context' is missing"),
        ({"context": '"2048"'}, "context: .*integer"),
        ({"context": "true"}, "context: .*integer"),
        ({"context": "-1"}, "context: .*greater"),
        ({"context": "64"}, "prefill_chunk 128 is larger than context 64"),
        ({"memory_bandwidth": "nan"}, "memory_bandwidth"),
        ({"context": "=== ["}, "not a TOML file"),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, changes: dict[str, str | None], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_target(str(write(tmp_path, **changes)))


def test_an_explanation_of_nothing_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path)
    path.write_text(path.read_text().replace("[choices]", '[choices]\nprefil_chunk = "why"'))
    with pytest.raises(UsageError, match=r"choices .* unknown key 'prefil_chunk': did you mean 'prefill_chunk'"):
        load_target(str(path))


def test_a_runtime_version_for_a_runtime_that_is_not_there_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path)
    path.write_text(path.read_text().replace("[oldest_runtime]", '[oldest_runtime]\nonnx = "1.23"'))
    with pytest.raises(UsageError, match="oldest_runtime names 'onnx'"):
        load_target(str(path))


def test_a_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no target file at .*none\.toml"):
        load_target(str(tmp_path / "none.toml"))


def test_targets_take_the_runtimes_that_there_are() -> None:
    from gemcut.runtimes import RUNTIMES

    assert schema()["properties"]["runtimes"]["items"]["enum"] == list(RUNTIMES.packaged)
    assert set(schema()["properties"]) >= {"litert"} - {"executorch"}, "a runtime with nothing of its own has no table"


@pytest.mark.parametrize("runtimes", ['["executorch"]', '["litert"]'])
def test_a_delegate_that_a_runtime_has_not_is_refused_with_the_nearest(tmp_path: Path, runtimes: str) -> None:
    path = with_litert(tmp_path, None, runtimes)
    path.write_text(path.read_text().replace('delegate = "xnnpack"', 'delegate = "vulkan"'))
    with pytest.raises(UnsupportedError, match=r"delegate = 'vulkan': .*Known: xnnpack") as caught:
        load_target(str(path))
    assert caught.value.exit_code == 4


def test_a_platform_that_a_runtime_has_no_release_for_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gemcut.runtimes.executorch import PLUGIN

    monkeypatch.setattr(type(PLUGIN), "platforms", frozenset({"linux-arm64", "linux-x86_64"}))
    with pytest.raises(UnsupportedError, match=r"ExecuTorch has no release for android on arm64: .*linux-arm64"):
        load_target(str(with_litert(tmp_path, None)))
    assert load_target("linux-arm64").platform == "linux-arm64"


def test_a_platform_that_a_delegate_does_not_run_on_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gemcut.runtimes.executorch.delegates.xnnpack import DELEGATE

    monkeypatch.setattr(type(DELEGATE), "platforms", frozenset({"linux-x86_64"}))
    with pytest.raises(UnsupportedError, match="XNNPACK has no release for android on arm64"):
        load_target(str(with_litert(tmp_path, None)))
