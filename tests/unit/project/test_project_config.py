"""``gemcut.toml``: what it may hold, and every mistake with its line and the nearest right word."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from gemcut.errors import UsageError
from gemcut.pipeline.budget_limits import Budgets, parse_size
from gemcut.project.config import read_project
from gemcut.project.entries import Project, ProjectError
from gemcut.project.positions import lines_of
from gemcut.project.schema_file import FIRST_LINE, outdated, shipped_schema, write_schema
from gemcut.project.starter import starter
from gemcut.project.tables import BudgetTable, schema, tables
from gemcut.runtimes import runtime_names

from tests.support.command import gemcut

ROOT = Path(__file__).resolve().parents[3]
STARTER = starter()
LEAST = '[bundles.a]\nmodel = "sample"\ntarget = "android-arm64"\n'
OTHER = LEAST.replace("bundles.a", "bundles.b")
# Every key of a bundle, each with a value that isn't the default.
ALL = """
[defaults]
context = 1024
timeout = 30
[defaults.budgets]
mean_kl = 0.1
top1 = 0.5

[bundles.both]
model = "sample"
target = "phone.toml"
runtimes = ["litert", "executorch"]
recipe = "mine.toml"
prefill_lengths = [128, 16]
dynamic_shape = false
plain_tflite = true
chat_template = "chat.jinja"
golden_prompts = "mine.jsonl"
built_in_prompts = "english"
format = "zip"
prove_on = ["android-lib", "arm64-vm"]
device_memory = "2G"
output = "out"
baseline = "old"

[bundles.both.budgets]
download_size = "12 MB"
device_size = 1000
peak_memory = "1.5 GiB"
load_time = 1.2
prefill = 0.9
decode = 1
mean_kl = 0.2
tool_calls = 1.0
expected = 0.95
"""


def project(folder: Path, text: str) -> Project:
    (folder / "gemcut.toml").write_text(text, encoding="utf-8")
    return read_project(folder)


def refused(folder: Path, text: str) -> ProjectError:
    with pytest.raises(ProjectError) as caught:
        project(folder, text)
    return caught.value


def test_the_least_takes_the_defaults(tmp_path: Path) -> None:
    (entry,) = project(tmp_path, LEAST).entries
    assert (entry.name, entry.line, entry.runtimes, entry.format) == ("a", 1, ("executorch",), "dir")
    assert entry.output == tmp_path / "bundles/a"
    assert entry.model.kind == "sample"
    assert entry.budgets == Budgets()
    assert project(tmp_path, f'{LEAST}format = "zip"').entries[0].output == tmp_path / "bundles/a.gemcut"


def test_every_key_is_read(tmp_path: Path) -> None:
    shutil.copyfile(ROOT / "targets/android-arm64.toml", tmp_path / "phone.toml")
    shutil.copyfile(ROOT / "exporter/quantize/recipes/int8.toml", tmp_path / "mine.toml")
    (tmp_path / "chat.jinja").write_text("{{ messages }}")
    (tmp_path / "mine.jsonl").write_text("")
    (entry,) = project(tmp_path, ALL).entries
    assert (entry.target, entry.recipe) == (str(tmp_path / "phone.toml"), str(tmp_path / "mine.toml"))
    assert entry.chat_template == str(tmp_path / "chat.jinja")
    assert (entry.golden_prompts, entry.built_in_prompts) == (str(tmp_path / "mine.jsonl"), "english")
    assert (entry.runtimes, entry.prefill_lengths) == (("litert", "executorch"), (16, 128))
    assert (entry.context, entry.timeout, entry.device_memory) == (1024, 30, "2G")
    assert (entry.options, entry.format) == ({"dynamic_shape": False, "plain_tflite": True}, "zip")
    assert entry.prove_on == ("android-lib", "arm64-vm")
    assert entry.output == tmp_path / "out"
    expected = Budgets(12_000_000, 1000, 3 << 29, 1.2, 0.9, 1.0, 0.2, 0.5, 1.0, 0.95, tmp_path / "old")
    assert entry.budgets == expected
    lines = ALL.splitlines()
    assert lines[entry.lines["context"] - 1] == "context = 1024"
    assert lines[entry.lines["budgets.mean_kl"] - 1] == "mean_kl = 0.2"
    assert lines[entry.lines["budgets.top1"] - 1] == "top1 = 0.5"


@pytest.mark.parametrize(
    ("text", "line", "words", "code"),
    [
        ('[bundles.a]\nmodel = "sample"\ntraget = "x"\n', 3, ["unknown key 'bundles.a.traget'", "'target'"], 4),
        ("[default]\n" + LEAST, 1, ["unknown key 'default'", "'defaults'"], 4),
        (LEAST + "[bundles.a.budgets]\nmean_k = 1", 5, ["'bundles.a.budgets.mean_k'", "'mean_kl'"], 4),
        (LEAST + '[defaults]\noutput = "x"', 5, ["unknown key 'defaults.output'"], 4),
        (LEAST + 'runtimes = [\n  "executorch",\n  "litrt",\n]', 6, ["'litrt'", "'litert'"], 4),
        (LEAST + 'format = "tar"', 4, ["'tar'", "dir, zip"], 4),
        (LEAST + "context = 1.5", 4, ["context = 1.5: should be a whole number"], 2),
        (LEAST + 'context = "x"', 4, ['context = "x": should be a whole number'], 2),
        (LEAST + "runtimes = []", 4, ["runtimes: is empty"], 2),
        (LEAST + "timeout = nan", 4, ["finite"], 2),
        (LEAST + '[bundles.a.budgets]\ndownload_size = "12 XB"', 5, ["'12 XB' is not a size", "MiB"], 2),
        (LEAST + "[bundles.a.budgets]\ntop1 = 1.5", 5, ["top1 = 1.5", "less than or equal to 1"], 2),
        (LEAST + "[bundles.a.budgets]\ndecode = 0.9", 5, ["no baseline"], 2),
        (LEAST + 'baseline = "old"', 4, ["no budget is a ratio"], 2),
        (LEAST + 'baseline = "bundles/a"\n[bundles.a.budgets]\ndecode = 1', 4, ["it is this bundle's own output"], 2),
        (LEAST + 'adapter = "lora"', 4, ["bundles.a.adapter: no such directory", "lora"], 2),
        ('[bundles.a]\nmodel = "sample"', 1, ["bundles.a has no target"], 2),
        ('[defaults]\ntarget = "linux-arm64"\n[bundles.a]', 3, ["bundles.a has no model"], 2),
        (LEAST.replace("sample", "./nope"), 2, ["no such directory"], 2),
        (LEAST.replace("sample", "no such words"), 2, ["no such directory"], 2),
        (LEAST.replace("sample", "."), 2, ["no config.json"], 2),
        (LEAST.replace("sample", "gemcut.toml"), 2, ["is a file"], 2),
        (LEAST.replace("android-arm64", "andriod-arm64"), 3, ["'andriod-arm64'", "did you mean 'android-arm64'"], 4),
        (LEAST + 'recipe = "in4"', 4, ["'in4'", "'int4'"], 4),
        (LEAST + 'recipe = "mine.toml"', 4, ["no recipe file"], 2),
        (LEAST + 'runtimes = ["litert", "litert"]', 4, ["'litert' is listed twice"], 2),
        (LEAST + "plain_tflite = true", 4, ["an option of litert, which runtimes doesn't name"], 2),
        (LEAST + "dynamic_shape = true", 4, ["an option of litert, which runtimes doesn't name"], 2),
        (LEAST + 'runtimes = ["litert"]\ndynamic_shape = true\nprefill_lengths = [8]', 5, ["exclude each other"], 2),
        (LEAST + "prefill_lengths = [8, 8]", 4, ["twice"], 2),
        (LEAST + 'chat_template = "x.jinja"', 4, ["no such file: "], 2),
        (LEAST + 'golden_prompts = "x.jsonl"', 4, ["no such file: "], 2),
        (LEAST + 'built_in_prompts = "some"', 4, ["'some'", "english"], 4),
        (LEAST + 'prove_on = ["andoid-lib"]', 4, ["did you mean 'android-lib'"], 4),
        (LEAST + 'prove_on = ["host", "host"]', 4, ["'host' is listed twice"], 2),
        (LEAST + 'prove_on = ["host"]\ntimeout = 9', 5, ["prove_on names none"], 2),
        (LEAST + 'prove_on = ["android-lib"]\ndevice_memory = "2G"', 5, ["arm64-vm"], 2),
        (LEAST + OTHER + 'output = "bundles/a"', 7, ["bundles/a is also the output of bundles.a"], 2),
        (LEAST + OTHER + 'output = "bundles/a/x"', 7, ["bundles/a/x overlaps with the output of bundles.a"], 2),
        (LEAST + 'output = "."', 4, ["the folder of gemcut.toml, or a folder around it"], 2),
        ("", 1, ["lists no bundles"], 2),
        ("[bundles]", 1, ["lists no bundles"], 2),
        ("bundles = 3", 1, ["should be a table"], 2),
        ('[bundles."a b"]\nmodel = "x"', 1, ["'a b' is not a valid bundle name"], 2),
        (LEAST + "context = ", 4, ["not TOML"], 2),
        (LEAST + "context = 1\ncontext = 2", 5, ["'bundles.a.context' is defined twice, first in line 4"], 2),
        (LEAST + "[bundles.b]\n" + LEAST, 5, ["'bundles.a' is defined twice, first in line 1"], 2),
        (LEAST + 'x = """\n\n', 4, ["not TOML"], 2),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, text: str, line: int, words: list[str], code: int) -> None:
    error = refused(tmp_path, text)
    mistake = error.mistakes[0]
    assert error.message.startswith(f"{tmp_path / 'gemcut.toml'}:{line}: ")
    assert (mistake.line, error.exit_code) == (line, code)
    assert all(word in mistake.message for word in words), mistake.message
    assert error.hint


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    error = refused(tmp_path, LEAST.replace("sample", "./nope") + 'recipe = "x"\n[bundles.b]\nmodel = "sample"')
    assert [(one.line, one.message.split(":")[0]) for one in error.mistakes] == [
        (2, "bundles.a.model"),
        (4, "bundles.a.recipe"),
        (5, "bundles.b has no target"),
    ]
    assert error.message.startswith("3 mistakes in ")


def test_mistakes_of_all_kinds_are_told_in_one_pass(tmp_path: Path) -> None:
    text = f"""
{LEAST.replace('model = "sample"', 'modle = "sample"')}
{OTHER.replace("android-arm64", "android-arm65")}recipe = "int5"
[bundles.c]
model = "nowhere/at/all"
target = "android-arm64"
context = "many"
prove_on = ["hots"]
"""
    found = [one.message for one in refused(tmp_path, text).mistakes]
    for said in ("'bundles.a.modle'", "android-arm65", "int5", "nowhere/at/all", "c.context", "hots"):
        assert sum(said in one for one in found) == 1, said
    assert len(found) == 6, "and no other: what was left out isn't said to be missing"


def test_a_wrong_name_hides_no_other_mistake_and_one_in_the_defaults_is_told_once(tmp_path: Path) -> None:
    text = """[defaults]
target = "android-arm65"
contxt = 12
[bundles.a]
model = "sample"
[bundles."b c"]
model = "sample"
[bundles.c]
recipe = "int5"
[bundles.d]
model = "sample"
recipe = "int5"
"""
    found = [(one.line, one.message) for one in refused(tmp_path, text).mistakes]
    assert [line for line, _ in found] == [2, 3, 6, 8, 12]
    for (_, message), said in zip(
        found, ("defaults.target", "'defaults.contxt'", "'b c'", "bundles.c has no model", "int8"), strict=True
    ):
        assert said in message


def test_a_project_is_found_from_a_folder_inside_it(tmp_path: Path) -> None:
    inside = tmp_path / "app" / "src"
    inside.mkdir(parents=True)
    (tmp_path / "gemcut.toml").write_text(LEAST.replace("sample", "./models/mine"))
    done = gemcut("export", cwd=inside)
    assert done.returncode == 2
    assert "building what ../../gemcut.toml lists" in done.stderr
    assert "no such directory: ../../models/mine" in done.stderr
    (tmp_path / "app" / ".git").mkdir()
    done = gemcut("export", cwd=inside)
    assert "no gemcut.toml in this folder or above it" in done.stderr, "another repository's isn't taken"


def test_a_file_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no") as caught:
        read_project(tmp_path)
    assert "gemcut init" in str(caught.value.hint)
    (tmp_path / "gemcut.toml").write_bytes(b"\xff\xfe[")
    with pytest.raises(UsageError, match="not UTF-8"):
        read_project(tmp_path)
    (tmp_path / "gemcut.toml").write_bytes(b"\xef\xbb\xbf" + LEAST.replace("\n", "\r\n").encode())
    assert read_project(tmp_path).entries[0].lines["target"] == 3


def test_only_takes_names_that_are_there(tmp_path: Path) -> None:
    found = project(tmp_path, LEAST + LEAST.replace("bundles.a", "bundles.chat"))
    assert [entry.name for entry in found.select(())] == ["a", "chat"]
    assert [entry.name for entry in found.select(("chat",))] == ["chat"]
    with pytest.raises(UsageError, match="did you mean 'chat'"):
        found.select(("chta",))


def test_a_model_is_a_directory_before_it_is_a_hub_id(tmp_path: Path) -> None:
    text = LEAST.replace("sample", "models/mine")
    model = project(tmp_path, text).entries[0].model
    assert (model.kind, model.hub_id, model.revision) == ("hub", "models/mine", None)
    (tmp_path / "models/mine").mkdir(parents=True)
    (tmp_path / "models/mine/config.json").write_text("{}")
    assert project(tmp_path, text).entries[0].model.folder == tmp_path / "models/mine"
    model = project(tmp_path, LEAST.replace("sample", "google/gemma@refs/pr/3")).entries[0].model
    assert (model.hub_id, model.revision) == ("google/gemma", "refs/pr/3")


@pytest.mark.parametrize(("text", "size"), [("12 MB", 12_000_000), ("1.5GiB", 3 << 29), (" 7 kB ", 7000), ("3 B", 3)])
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


def test_lines_of_every_way_to_write_a_key() -> None:
    text = 'a = 1\n[t."x y"]\nb.c = [1,\n  {d = 2}]\n[[l]]\n[[l]]\ne = {f = 1, g = {h = 2}} # c\n'
    assert {".".join(path): line for path, line in lines_of(text).items()} == {
        "a": 1,
        "t": 2,
        "t.x y": 2,
        "t.x y.b": 3,
        "t.x y.b.c": 3,
        "t.x y.b.c.0": 3,
        "t.x y.b.c.1": 4,
        "t.x y.b.c.1.d": 4,
        "l": 5,
        "l.0": 5,
        "l.1": 6,
        "l.1.e": 7,
        "l.1.e.f": 7,
        "l.1.e.g": 7,
        "l.1.e.g.h": 7,
    }


# The schema, and what init writes


def validator() -> Any:
    return jsonschema.Draft202012Validator(json.loads(shipped_schema()))


def test_the_shipped_schema_is_that_of_the_code() -> None:
    shipped = json.loads(shipped_schema())
    jsonschema.Draft202012Validator.check_schema(shipped)
    assert shipped == {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema()}
    assert all(
        "description" in one
        for table in (tables(runtime_names()).bundle, BudgetTable)
        for one in shipped["$defs"][table.__name__]["properties"].values()
    )


def test_the_schema_takes_what_the_code_takes_and_refuses_what_it_refuses() -> None:
    for text in (STARTER, ALL, LEAST):
        validator().validate(tomllib.loads(text))
    for line in ("contxt = 3", "context = 1.5", 'format = "tar"', "runtimes = []", "adapter = 3"):
        with pytest.raises(jsonschema.ValidationError):
            validator().validate(tomllib.loads(LEAST + line))
    with pytest.raises(jsonschema.ValidationError):
        validator().validate(tomllib.loads('[bundles."a b"]\nmodel = "sample"'))


def test_docs_explain_every_key() -> None:
    text = (ROOT / "docs" / "reference" / "configuration.md").read_text(encoding="utf-8")
    missing = [
        key
        for table in (tables(runtime_names()).bundle, BudgetTable)
        for key in table.model_fields
        if f"`{key}`" not in text
    ]
    assert missing == ["budgets"]  # a table of its own
    assert "`[bundles.NAME.budgets]`" in text


def init(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return gemcut("init", *words, cwd=folder)


def test_init_writes_a_file_that_works_and_no_second_one(tmp_path: Path) -> None:
    done = init(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "gemcut export" in done.stdout
    assert ".gitignore" in done.stdout
    text = (tmp_path / "gemcut.toml").read_text()
    assert text.splitlines()[0] == FIRST_LINE
    assert (tmp_path / FIRST_LINE.split()[1]).read_bytes() == shipped_schema()
    (entry,) = read_project(tmp_path).entries
    assert (entry.model.kind, entry.target) == ("sample", "android-arm64")
    (tmp_path / "gemcut.toml").write_text("mine")
    again = init(tmp_path)
    assert again.returncode == 2
    assert "--force" in again.stderr
    assert (tmp_path / "gemcut.toml").read_text() == "mine"
    (tmp_path / ".gitignore").write_text("/bundles/\n")
    forced = init(tmp_path, "--force", "--json")
    assert json.loads(forced.stdout)["written"] == ["gemcut.toml", ".gemcut/gemcut.schema.json"]
    assert ".gitignore" not in init(tmp_path, "--force").stdout


def test_every_line_that_the_starter_comments_out_can_be_taken_in(tmp_path: Path) -> None:
    lines = []
    for line in STARTER.splitlines():
        plain = line.removeprefix("# ")
        key, equals, _ = plain.partition(" = ")
        lines.append(plain if line.startswith("# ") and equals and key.isidentifier() else line)
    text = "\n".join(lines).replace("[bundles.chat]\n", '[bundles.chat]\nbaseline = "baselines/chat"\n')
    (entry,) = project(tmp_path, text).entries
    assert (entry.recipe, entry.context, entry.prove_on) == ("int4", 2048, ("android-lib",))
    assert set(entry.budgets.set()) == set(BudgetTable.model_fields) - {"top1"}


def test_an_old_copy_of_the_schema_is_noticed(tmp_path: Path) -> None:
    assert outdated(tmp_path) is None
    path = write_schema(tmp_path)
    assert outdated(tmp_path) is None
    path.write_text("{}")
    assert outdated(tmp_path) == path


def test_an_editor_finds_the_schema_by_the_first_line(tmp_path: Path) -> None:
    """taplo is what Even Better TOML runs."""
    taplo = shutil.which("taplo", path=f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin")
    if taplo is None:
        pytest.skip("taplo is not installed: pip install taplo")
    write_schema(tmp_path)
    for text, code in ((STARTER, 0), (STARTER.replace("\nmodel =", "\nmodle ="), 1)):
        (tmp_path / "gemcut.toml").write_text(text)
        done = subprocess.run([taplo, "lint", "gemcut.toml"], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        assert ("modle" in done.stderr) == bool(code)


def test_an_adapter_that_cant_be_merged_is_refused_where_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "lora").mkdir()
    text = LEAST + 'adapter = "lora"'
    assert "has no adapter_config.json" in refused(tmp_path, text).mistakes[0].message
    (tmp_path / "lora/adapter_config.json").write_text('{"peft_type": "LORA", "use_qalora": true}')
    (mistake,) = refused(tmp_path, text).mistakes
    assert (mistake.line, mistake.exit_code) == (4, 4)
    assert "use_qalora" in mistake.message
    (tmp_path / "lora/adapter_config.json").write_text('{"peft_type": "LORA"}')
    assert project(tmp_path, text).entries[0].adapter == tmp_path / "lora"
