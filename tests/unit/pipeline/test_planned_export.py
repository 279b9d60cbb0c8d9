"""``gemcut export --dry-run`` says what an export makes, refuses what an export refuses, and makes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gemcut
import jsonschema
import pytest
from gemcut.cli import main
from gemcut.errors import GemcutError
from gemcut.pipeline.export import export
from gemcut.pipeline.planned_export import dry_run
from gemcut.pipeline.request import ExportRequest, Published

from tests.support.progress import Watched

Ask = Callable[..., ExportRequest]
SCHEMAS = Path(gemcut.__file__).parent / "schemas"
CHAT = """
[defaults]
target = "android-arm64"
[bundles.chat]
model = "sample"
[bundles.short]
model = "sample"
context = 32
"""


def everything(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_it_says_what_the_export_then_makes(
    ask: Ask, run: Callable[..., tuple[Published, ...]], tmp_path: Path
) -> None:
    request = ask()
    before = everything(tmp_path)
    found = dry_run(request, Watched())
    assert everything(tmp_path) == before
    (planned,) = found.bundles
    (made,) = run()
    assert planned.bundle == str(made.bundle)
    assert (planned.runtime, planned.recipe) == (made.manifest.runtime.name, made.manifest.recipe.name)
    assert (planned.context, planned.replaces) == (made.manifest.context, False)
    goldens = (made.bundle / "goldens" / "goldens.jsonl").read_text().splitlines()
    assert found.prompts == len(goldens)
    assert dry_run(ask(force=True), Watched()).bundles[0].replaces


@pytest.mark.parametrize(
    "changes",
    [
        {"context": 20},
        {"golden_prompts": "absent.jsonl"},
        {"max_size": 1000},
        {"recipe": None, "max_kl": 0.1, "calibration": "none"},
        {"model": "absent"},
        {"options": {"plain_tflite": True}},
        {"prove_on": ("android-lib",)},
        {"chat_template": "absent.jinja"},
        {"output": Path("/dev/null/bundle")},
    ],
    ids=lambda changes: "-".join(changes),
)
def test_it_refuses_what_the_export_refuses_and_in_the_same_words(changes: dict[str, Any], ask: Ask) -> None:
    said = []
    for refuse in (export, dry_run):
        with pytest.raises(GemcutError) as error:
            refuse(ask(**changes), Watched())
        said.append((type(error.value), error.value.message, error.value.hint))
    assert said[0] == said[1]


def test_a_search_is_announced_and_not_made(ask: Ask) -> None:
    found = dry_run(ask(recipe=None, target="linux-x86_64", runtimes=("executorch",), max_size=3_000_000), Watched())
    assert any("at most 3.0 MB would be searched for first" in note for note in found.notes)
    assert found.finer == ()


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "desk"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_the_command_shows_it_and_has_a_document(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["export", "--target", "android-arm64", "--dry-run"]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "bundles/sample-android-arm64-executorch" in shown
    assert "Nothing was made" in shown
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    jsonschema.validate(found, json.loads((SCHEMAS / "dry_run.schema.json").read_text()))
    assert found["finer"] == ["balanced", "int8"]
    assert found["export"]["fits"] in (True, None)
    assert everything(desk) == []
    assert main([*words, "--html", "page.html"]) == 2
    assert "--html" in capsys.readouterr().err


def test_of_a_project_each_bundle_is_checked_and_the_exit_code_is_that_of_the_first_refused(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (desk / "gemcut.toml").write_text(CHAT)
    (desk / "app").mkdir()
    before = everything(desk)
    assert main(["export", "--dry-run", "--json"]) == 2
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    jsonschema.validate(found, json.loads((SCHEMAS / "project.schema.json").read_text()))
    chat, short = found["bundles"]
    assert (chat["state"], chat["planned"]["bundles"][0]["bundle"]) == ("out of date", str(desk / "bundles" / "chat"))
    assert (short["state"], short["planned"]) == ("failed", None)
    assert not found["passed"]
    assert main(["export", "--dry-run", "--only", "chat"]) == 0
    shown = capsys.readouterr()
    assert "chat would be made: executorch, int4, 2048 tokens" in shown.out
    assert everything(desk) == before
