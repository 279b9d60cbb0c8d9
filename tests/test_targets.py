"""Targets: what is shipped, and every mistake in a file of one's own."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import jsonschema
import pytest
from gemcut.errors import UnsupportedError, UsageError
from gemcut.quantize.recipe import list_recipes
from gemcut.target import explained, list_targets, load_target, schema

SHIPPED = ("android-arm64", "android-x86_64", "linux-arm64", "linux-x86_64")


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


def test_the_four_targets_are_shipped() -> None:
    assert tuple(list_targets()) == SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_every_value_of_a_shipped_target_is_explained(name: str) -> None:
    target = load_target(name)
    assert target.name == name
    assert set(target.choices) == set(explained())
    assert all(len(reason) > 20 or key == "context" for key, reason in target.choices.items())


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_target_has_the_issues_defaults(name: str) -> None:
    target = load_target(name)
    assert target.delegate == "xnnpack"
    assert target.recipe in list_recipes()
    assert (target.context, target.prefill_chunk) == (2048, 128)
    assert set(target.oldest_runtime) == set(target.runtimes) == {"executorch"}


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_schema_takes_the_shipped_file(name: str) -> None:
    path = list_targets()[name]
    shipped = json.loads(path.with_name("target.schema.json").read_text())
    jsonschema.validate(tomllib.loads(path.read_text()), shipped)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**tomllib.loads(path.read_text()), "colour": "red"}, shipped)


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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"contxt": "1"}, "unknown key 'contxt': did you mean 'context'"),
        ({"delegate": '"xnpack"'}, "delegate = 'xnpack': did you mean 'xnnpack'"),
        ({"architecture": '"arm65"'}, "did you mean 'arm64'"),
        ({"runtimes": '["executorch", "litrt"]'}, "runtimes.1 = 'litrt'"),
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
        ({"context": "64"}, "prefill_chunk 128 is more than context 64"),
        ({"memory_bandwidth": "nan"}, "memory_bandwidth"),
        ({"context": "=== ["}, "not a TOML file"),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, changes: dict[str, str | None], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_target(str(write(tmp_path, **changes)))


def test_an_explanation_of_nothing_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path)
    path.write_text(path.read_text() + '\nprefil_chunk = "why"\n')
    with pytest.raises(UsageError, match="did you mean 'prefill_chunk'"):
        load_target(str(path))


def test_a_runtime_version_for_a_runtime_that_is_not_there_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path)
    path.write_text(path.read_text().replace("[oldest_runtime]", '[oldest_runtime]\nlitert = "2.1"'))
    with pytest.raises(UsageError, match="oldest_runtime names 'litert'"):
        load_target(str(path))


def test_a_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no target file at .*none\.toml"):
        load_target(str(tmp_path / "none.toml"))


def test_targets_take_the_runtimes_that_there_are() -> None:
    from typing import get_args

    from gemcut.runtimes import runtime_names
    from gemcut.target import TargetFile

    annotation = TargetFile.model_fields["runtimes"].annotation
    assert get_args(get_args(annotation)[0]) == runtime_names()
