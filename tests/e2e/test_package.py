"""The distribution: what the wheel holds, that it works where it is installed, and that the README's commands run."""

from __future__ import annotations

import email
import importlib.metadata
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gemcut.cli import COMMANDS, main
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.command import gemcut
from tests.support.pages import BLOCK, lines, typed

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = "bundles/sample-android-arm64-executorch"
FOREIGN = ("tensorflow", "torchvision", "timm")  # upstream's exporters want them; ours don't


# The wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the sources, so that the build leaves nothing in the tree."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, source / name)
    for name in ("exporter", "targets"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    words = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(out), str(source)]
    done = subprocess.run([sys.executable, "-m", "pip", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = out.glob("*.whl")
    return built


def sources() -> set[str]:
    """Every file under exporter/ and targets/, by its name in the wheel."""
    found = set()
    for folder, prefix in ((ROOT / "exporter", "gemcut"), (ROOT / "targets", "gemcut/targets")):
        files = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        found |= {f"{prefix}/{path.relative_to(folder).as_posix()}" for path in files}
    return found


def test_the_wheel_holds_every_file_of_the_package_and_no_other(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == sources()
    for needed in (
        "py.typed",
        "sample/model/model.safetensors",
        "sample/model/tokenizer.model",
        "targets/android-arm64.toml",
        "targets/target.schema.json",
        "quantize/recipes/int4.toml",
        "quantize/recipe.schema.json",
        "checkpoint/families.toml",
        "prove/prompts.toml",
        "bundle/manifest.schema.json",
        "schemas/export.schema.json",
        "bundle/licenses/apache-2.0.txt",
        "runtimes/executorch/lower.py",
        "runtimes/litert/version.py",
    ):
        assert f"gemcut/{needed}" in names


def extra(required: list[Requirement], name: str) -> set[str]:
    """The packages of an extra, those of the extras that it takes in included, on a machine that has wheels of all."""
    there = {"extra": name, "sys_platform": "linux", "platform_machine": "x86_64"}
    mine = [each for each in required if each.marker and each.marker.evaluate(there)]
    inner = [extra(required, taken) for each in mine if each.name == "gemcut" for taken in each.extras]
    return {each.name for each in mine if each.name != "gemcut"}.union(*inner)


def test_the_metadata(wheel: Path) -> None:
    opened = zipfile.ZipFile(wheel)
    folder = next(name.split("/")[0] for name in opened.namelist() if ".dist-info/" in name)
    found = email.message_from_bytes(opened.read(f"{folder}/METADATA"))
    assert (found["Name"], found["Requires-Python"], found["License-Expression"]) == ("gemcut", ">=3.11", "Apache-2.0")
    assert {"executorch", "litert", "report", "all"} <= set(found.get_all("Provides-Extra", []))
    required = [Requirement(line) for line in found.get_all("Requires-Dist", [])]
    always = {each.name for each in required if each.marker is None}
    assert not always & {"torch", "executorch", "transformers", "torchao", "litert-torch", "ai-edge-litert"}
    shared, litert = {"torch", "transformers", "torchao"}, {"litert-torch", "ai-edge-litert", "litert-lm"}
    assert {"executorch"} | shared <= extra(required, "executorch")
    assert litert | shared <= extra(required, "litert")
    assert "executorch" not in extra(required, "litert")
    assert not litert & extra(required, "executorch")
    assert extra(required, "report") == {"plotly"}
    parts = [extra(required, name) for name in ("executorch", "litert", "report")]
    assert extra(required, "all") == set().union(*parts)
    everything = {name for each in found.get_all("Provides-Extra", []) for name in extra(required, each)}
    assert not everything & set(FOREIGN)
    assert opened.read(f"{folder}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
    assert b"gemcut = gemcut.cli:main" in opened.read(f"{folder}/entry_points.txt")


def test_the_licence_is_apache_2() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert text.split()[:4] == ["Apache", "License", "Version", "2.0,"]
    assert "END OF TERMS AND CONDITIONS" in text


# The wheel, installed


def install(wheel: Path, folder: Path) -> Path:
    """An empty virtual environment with the wheel and nothing else; returns its interpreter."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    words = ["--python", str(python), "install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", *words], check=True)
    return python


def site(python: Path) -> Path:
    """An environment's own site-packages."""
    (found,) = python.parent.parent.glob("lib/python*/site-packages")
    return found


def dependencies(names: list[str]) -> set[str]:
    """Installed distributions that these need, themselves included, without extras."""
    found: set[str] = set()
    while names:
        name = canonicalize_name(names.pop())
        if name not in found:
            found.add(name)
            wanted = map(Requirement, importlib.metadata.requires(name) or ())
            names += [each.name for each in wanted if each.marker is None or each.marker.evaluate({"extra": ""})]
    return found


@pytest.fixture(scope="module")
def plain(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel and what it always requires, and no runtime: links to the packages that this environment has."""
    python = install(wheel, tmp_path_factory.mktemp("plain") / "venv")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for name in dependencies([Requirement(line).name for line in project["dependencies"]]):
        here = Path(str(importlib.metadata.distribution(name).locate_file("")))
        for top in {file.parts[0] for file in importlib.metadata.files(name) or ()} - {"..", "__pycache__"}:
            (site(python) / top).symlink_to(here / top)
    return python


def installed(python: Path, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The installed ``gemcut`` script, in an environment without this one's variables."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "GEMCUT"))}
    command = [str(python.with_name("gemcut")), *words]
    return subprocess.run(
        command, cwd=cwd, env={**environment, "HF_HUB_OFFLINE": "1"}, capture_output=True, text=True, check=False
    )


def test_without_a_runtime_bundles_are_read_and_the_rest_says_what_is_lacking(
    plain: Path, wheel: Path, sample_int4: Any, tmp_path: Path
) -> None:
    for words in (["--help"], ["targets"], ["recipes", "show", "int4"], ["inspect", str(sample_int4.path)]):
        done = installed(plain, *words, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout
    bundle = str(sample_int4.path)
    flags = ["--target", "android-arm64"]
    for words in (["export", *flags], ["plan", *flags], ["validate", bundle], ["chat", bundle, "--prompt", "Hello"]):
        done = installed(plain, *words, cwd=tmp_path)
        assert done.returncode == 8, f"{words}: {done.stderr}"
        assert f"pip install '{wheel}[executorch]'" in done.stderr, "as it was installed itself"
    assert not list(tmp_path.iterdir())


def test_without_a_runtime_the_doctor_says_so(plain: Path, wheel: Path, tmp_path: Path) -> None:
    done = installed(plain, "doctor", "--json", cwd=tmp_path)
    assert done.returncode == 8, done.stderr
    lacking = {
        check["name"]: check["fix"] for check in json.loads(done.stdout)["checks"] if check["state"] == "lacking"
    }
    assert {"torch", "executorch", "transformers"} <= set(lacking)
    assert set(lacking.values()) == {f"pip install '{wheel}[executorch]'"}


# Other people's packages

IMPORTS_ALL = """
import pkgutil, sys
import gemcut
for module in pkgutil.walk_packages(gemcut.__path__, "gemcut."):
    if not module.name.endswith("__main__"):
        __import__(module.name)
assert "gemcut.runtimes.litert.version" in sys.modules
"""
CONVERTS_AND_RUNS = """
from pathlib import Path
import ai_edge_litert.interpreter, litert_lm, litert_torch, torch
from gemcut.runtimes.litert.version import require_exporter
require_exporter()
module, inputs = torch.nn.Linear(4, 3).eval(), torch.ones(2, 4)
litert_torch.convert(module, (inputs,)).export("tiny.tflite")
runner = ai_edge_litert.interpreter.Interpreter("tiny.tflite").get_signature_runner()
(name,) = runner.get_input_details()
(found,) = runner(**{name: inputs.numpy()}).values()
assert abs(found - module(inputs).detach().numpy()).max() < 1e-5
"""


@pytest.fixture(scope="module")
def my_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Gemma 3 of two layers that the commands of the documents can do everything with."""
    from gemcut.checkpoint.random import random_checkpoint
    from transformers import Gemma3TextConfig

    config = Gemma3TextConfig(
        vocab_size=512,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=64,
        query_pre_attn_scalar=64,
        sliding_window=64,
        layer_types=["sliding_attention", "full_attention"],
        max_position_embeddings=1024,
    )
    return random_checkpoint(tmp_path_factory.mktemp("model") / "my-model", config)


@pytest.fixture
def tensorflow(tmp_path: Path) -> Path:
    """A folder with a package tensorflow that leaves a file where it was imported."""
    package = tmp_path / "path" / "tensorflow"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(
        "import pathlib\nMINE = True\npathlib.Path(__file__).with_name('imported').touch()\n"
    )
    return package


@pytest.mark.parametrize("code", [IMPORTS_ALL, CONVERTS_AND_RUNS], ids=["all modules", "a conversion"])
def test_a_users_tensorflow_is_neither_imported_nor_replaced(code: str, tensorflow: Path, tmp_path: Path) -> None:
    code += f"""
import sys
assert not {{name.split(".")[0] for name in sys.modules}} & {set(FOREIGN)!r}
assert not (__import__("pathlib").Path({str(tensorflow)!r}) / "imported").exists()
import tensorflow
assert tensorflow.MINE and tensorflow.__file__ == {str(tensorflow / "__init__.py")!r}
"""
    environment = {**os.environ, "PYTHONPATH": str(tensorflow.parent)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tensorflow / "imported").exists()


def test_the_same_commands_work_with_a_users_tensorflow(tensorflow: Path, sample_int4: Any, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(tensorflow.parent), "HF_HUB_OFFLINE": "1"}
    for words in (["doctor"], ["plan", "--target", "android-arm64"], ["validate", str(sample_int4.path)]):
        done = subprocess.run(
            [sys.executable, "-m", "gemcut.cli", *words],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    assert not (tensorflow / "imported").exists()


def test_an_export_to_litert_works_with_a_users_tensorflow(tensorflow: Path, my_model: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(tensorflow.parent), "GEMCUT_CACHE": str(tmp_path / "cache")}
    words = ["export", str(my_model), "--target", "android-arm64", "--context", "256", "--runtime", "litert"]
    done = subprocess.run(
        [sys.executable, "-m", "gemcut.cli", *words, "-o", "bundle"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "bundle" / "model.litertlm").is_file()
    assert not (tensorflow / "imported").exists()


def test_importing_gemcut_loads_no_runtime_and_nothing_of_others(tmp_path: Path) -> None:
    code = "import sys, gemcut, gemcut.cli, gemcut.doctor; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    heavy = {"torch", "transformers", "executorch", "litert_torch", "litert_lm", "ai_edge_litert", "jax"}
    assert not (heavy | set(FOREIGN)) & set(done.stdout.split())


def test_no_module_of_ours_has_a_name_of_others(wheel: Path) -> None:
    parts = {part for name in zipfile.ZipFile(wheel).namelist() for part in Path(name).with_suffix("").parts}
    assert not parts & set(FOREIGN)


def test_the_installed_wheel_exports_the_sample_from_another_folder(wheel: Path, tmp_path: Path) -> None:
    """The runtime's packages are this environment's, at the end of the path; gemcut itself is the wheel's alone."""
    python = install(wheel, tmp_path / "venv")
    own = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site(python) / "others.pth").write_text("\n".join(sorted(own)) + "\n")
    work = tmp_path / "work"
    work.mkdir()
    where = "import gemcut, gemcut.targets; print(gemcut.__file__); print(gemcut.targets.__file__)"
    done = subprocess.run([str(python), "-c", where], cwd=work, capture_output=True, text=True, check=True)
    assert all(Path(line).is_relative_to(site(python)) for line in done.stdout.split())
    done = installed(python, "export", "--target", "android-arm64", "--json", cwd=work)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["bundles"][0]["proven"] is True
    assert (work / BUNDLE / "model.pte").is_file()
    assert [path.name for path in work.iterdir()] == ["bundles"]


# The README and the pages

# What users read; tests/test_docs.py has the pages of contributors.
PAGES = (
    "README.md",
    *(
        path.relative_to(ROOT).as_posix()
        for path in sorted((ROOT / "docs").rglob("*.md"))
        if "contributing" not in path.parts
    ),
)
# Pages whose commands are one story, each set run in order in a folder of its own: an app's repository.
WALKS = (("docs/reference/configuration.md", "docs/guides/ci.md"),)
# All that is marked as not run, and why: nothing else may be.
HUB = "these questions come from the hub"
PHONE = "no phone is attached to the machine that tests these pages"
NOT_RUN = {
    "android_demo/gradlew -p android_demo :app:installDebug": "Gradle builds Android apps with Google's SDK alone",
    "pip install 'gemcut[eval]'": HUB,
    "gemcut eval bundles/my-model-android-arm64-executorch --task arc_easy --limit 200 --float my-model": HUB,
    "gemcut bench bundles/sample-android-arm64-executorch --on adb": PHONE,
    "gemcut bench bundles/assistant --on adb": PHONE,
    "gemcut bench bundles/sample-android-arm64-executorch --on adb:R5CT1234ABC --threads 4 -o csv": PHONE,
}


def commands(*names: str) -> Iterator[tuple[str, ...]]:
    """The lines of the shell blocks of these pages that are run, as words."""
    for name in names:
        yield from (tuple(shlex.split(line, comments=True)) for line, why in lines(name) if why is None)


# tests/e2e/test_jobs.py runs these in order.
JOBS = ("docs/guides/in-your-app.md", "docs/guides/will-it-run.md", "docs/guides/no-worse.md")
IN_ORDER = {*JOBS, *(name for walk in WALKS for name in walk)}
EVERY = list(dict.fromkeys(commands(*PAGES)))
ALL = list(dict.fromkeys(commands(*(name for name in PAGES if name not in IN_ORDER))))
PROJECT = [
    words
    for words in ALL
    if words[:2] == ("gemcut", "init")
    or (words[:2] == ("gemcut", "export") and set(words[2::2]) <= {"--only", "--locked", "--dry-run"})
]
EXPORTS = [words for words in ALL if words[:2] == ("gemcut", "export") and words not in PROJECT]
DEVICES = [words for words in ALL if words[:3] == ("gemcut", "devices", "setup") or "--on" in words]
QUICK = [words for words in ALL if words[0] == "gemcut" and words not in (*PROJECT, *EXPORTS, *DEVICES)]
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+@\w+")


@pytest.fixture(scope="module")
def desk(
    sample_int4: Any,
    sample_diary: Any,
    sample_litert: Any,
    my_model: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A folder as the README's reader has it: the sample's bundles, a model, and the files that the pages show."""
    folder = tmp_path_factory.mktemp("desk")
    (folder / "bundles").mkdir()
    (folder / BUNDLE).symlink_to(sample_int4.path)
    (folder / BUNDLE.replace("sample", "sample-diary")).symlink_to(sample_diary.path)
    (folder / BUNDLE.replace("executorch", "litert")).symlink_to(sample_litert.path)
    shutil.copytree(sample_int4.path, folder / "bundles" / "unwanted")  # to be removed
    (folder / "my-model").symlink_to(my_model)
    (recipe,) = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "reference" / "recipes.md").read_text(), re.DOTALL)
    (folder / "careful.toml").write_text(recipe)
    # What the pages on golden prompts and on chat have a reader write.
    (prompts, *_) = re.findall(r"```json\n(.*?)```", (ROOT / "docs/guides/golden-prompts.md").read_text(), re.DOTALL)
    (folder / "golden_prompts.jsonl").write_text(prompts)
    for _, content, _, name in (words for words in ALL if words[0] == "echo"):
        (folder / name).write_text(content)
    page = (ROOT / "docs" / "guides" / "evaluate.md").read_text()
    for form, name in (("json", "questions.jsonl"), ("yaml", "questions.yaml")):
        (text,) = re.findall(rf"```{form}\n(.*?)```", page, re.DOTALL)
        (folder / name).write_text(text)
    return folder


def test_the_readme_opens_with_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert next(BLOCK.finditer(text))["text"] == "make demo\nmake test\n"
    assert {words[1] for words in EVERY if words[0] == "gemcut"} >= set(COMMANDS)


def test_the_readme_takes_three_minutes_and_has_two_pictures() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 120
    drawn, photographed = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", "\n".join(lines))
    drawing = (ROOT / drawn).read_text(encoding="utf-8")
    assert set(re.findall(r"https?://[^/\"\s]+", drawing)) <= {"http://www.w3.org"}, "nothing is loaded from elsewhere"
    assert (ROOT / photographed).read_bytes().startswith(b"\x89PNG")


def test_the_chat_says_what_its_page_shows(desk: Path) -> None:
    page = (ROOT / "docs" / "guides" / "chat.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"^```text\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    words = next(words for words in commands("docs/guides/chat.md") if "--tool-results" in words)
    done = gemcut(*words[1:], cwd=desk)
    assert (done.returncode, done.stdout) == (0, shown), done.stderr


def test_only_what_cannot_be_run_is_marked_as_not_run() -> None:
    assert {line: why for name in PAGES for line, why in lines(name) if why is not None} == NOT_RUN
    known = {"gemcut", "make", "python", "echo"}  # desk does what echo does
    assert {words[0] for words in ALL} <= known, "a test must run it, or NOT_RUN say why none can"


@pytest.mark.parametrize("words", [w for w in ALL if w[0] == "make"], ids=" ".join)
def test_readme_commands_of_make_exist(words: tuple[str, ...]) -> None:
    assert len(words) == 2
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(
        ["make", "--dry-run", words[1]], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("words", QUICK, ids=" ".join)
def test_readme_commands_run(
    words: tuple[str, ...], desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(desk)
    monkeypatch.setattr(sys, "stdin", io.StringIO("Hello\n"))
    code = main(list(words[1:]))
    shown = capsys.readouterr()
    assert code == 0, shown.err
    assert shown.out.strip()


@pytest.mark.parametrize("words", DEVICES, ids=" ".join)
def test_readme_commands_of_devices_run(
    words: tuple[str, ...],
    desk: Path,
    kept_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(desk)
    monkeypatch.setenv("GEMCUT_CACHE", str(kept_cache))
    code = main(list(words[1:]))
    shown = capsys.readouterr()
    if code == 8:
        pytest.skip(f"this machine can't set that device up: {shown.err}")
    assert code == 0, shown.err
    assert any(words in shown.out for words in ("proven on", "is ready for", "peak memory (MB)"))


@pytest.mark.parametrize("words", EXPORTS, ids=" ".join)
def test_readme_commands_of_export_have_flags_that_exist(words: tuple[str, ...]) -> None:
    from gemcut.cli.export import command
    from gemcut.devices import kind_of
    from gemcut.quantize.recipe import list_recipes
    from gemcut.target import list_targets

    flags = command.make_context("export", list(words[2:])).params
    assert all(kind_of(spec) for spec in flags["prove_on"])
    assert flags["target"] in list_targets()
    assert flags["recipe"] in {None, "careful.toml", *list_recipes()}
    model = flags["model"]
    assert model in (None, "my-model") or HUB_ID.fullmatch(model)


@pytest.mark.parametrize("words", [w for w in EXPORTS if w[2] == "my-model"], ids=" ".join)
def test_readme_commands_of_export_run(
    words: tuple[str, ...], desk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("my-model", "careful.toml", "golden_prompts.jsonl"):
        (tmp_path / name).symlink_to(desk / name)
    done = gemcut(*words[1:], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    made = [path for path in (tmp_path / "bundles").iterdir() if path.suffix != ".toml"]
    assert len(made) == 1


MODULES = [words for words in ALL if words[:2] == ("python", "-m")]


@pytest.mark.parametrize("words", MODULES, ids=" ".join)
def test_readme_commands_of_modules_exist(words: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", words[2], "--help"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for flag in words[3:]:
        assert not flag.startswith("-") or flag in done.stdout


SHORT: dict[str, tuple[str, ...]] = {
    "gemcut.sample.evaluate": ("--n", "10"),
    "gemcut.sample.train": ("--steps", "2", "--batch", "4", "--no-compile", "--check-every", "0", "--threads", "1"),
}


@pytest.mark.parametrize("words", [w for w in MODULES if w[2] in SHORT], ids=" ".join)
def test_readme_commands_of_the_sample_run_in_short(words: tuple[str, ...], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, *words[1:], *SHORT[words[2]]], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_readme_commands_of_a_project_run_in_order(tmp_path: Path) -> None:
    assert PROJECT[0] == ("gemcut", "init")
    for words in PROJECT:
        done = gemcut(*words[1:], cwd=tmp_path)
        assert done.returncode == 0, f"{words}: {done.stderr}"
    assert (tmp_path / "gemcut.lock").is_file()


# The pages that are one story


@pytest.mark.parametrize("walk", WALKS, ids=lambda walk: walk[-1])
def test_the_commands_of_a_story_run_in_order(walk: tuple[str, ...], tmp_path: Path) -> None:
    """In the sample app's repository, before it had a gemcut.toml, with the sample as the team's fine-tune."""
    from gemcut.sample import sample_path

    app = tmp_path / "app"
    left_out = shutil.ignore_patterns("gemcut.toml", "gemcut.lock", ".gemcut", "bundles")
    shutil.copytree(ROOT / "tests" / "app_repo", app, ignore=left_out)
    shutil.copytree(sample_path(), app / "models" / "assistant")
    subprocess.run(["git", "init", "--quiet", str(app)], check=True)
    for page in walk:
        for line, why in lines(page):
            if why is None:
                done = typed(line, app, tmp_path / "bin")
                assert done.returncode == 0, f"{page}: {line}\n{done.stdout}{done.stderr}"
