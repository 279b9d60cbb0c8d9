"""The house itself: what its layout promises, beside the import contracts that ``make lint`` holds."""

from __future__ import annotations

import ast
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from gemcut.runtimes import RUNTIMES

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "exporter"
# Rooms that may name runtimes and the forms of their programs.
ROOMS = ("runtimes", "compat", "formats")
NAMES = frozenset({*RUNTIMES.packaged, "onnx"})
SUFFIXES = (".pte", ".ptd", ".tflite", ".litertlm", ".onnx")
MOST_LINES = 400
MOST_LOOSE = 6
# Modules that have a basename in common, and why.
SAME_NAME = {
    "__init__": "every package's own",
    "base": "what every plugin of a kind offers, beside that kind's registry",
    "options": "what the user may set: of devices, of runtimes, of one runtime",
    "exporter": "one part of each runtime",
    "engine": "one part of each runtime",
    "inspector": "one part of each runtime",
    "build": "the same step: of the pipeline, of each runtime, of a golden runner",
    "runner": "the interface of a loaded program, and each runtime's",
    "golden_runner": "what a runtime says of its own, and the one in Python",
    "requirements": "what a program needs, in each runtime",
    "schemes": "which scheme a weight gets, and which each delegate takes",
    "attention": "the same part of the graph in each runtime",
    "device": "each device's, and the command",
    "outcome": "what reports are made from, and how each command makes it",
    "executorch": "the facts about the runtime's releases",
    "litert": "the facts about the runtime's releases",
}
COMMANDS = PACKAGE / "cli"


def modules() -> Iterator[Path]:
    return (path for path in PACKAGE.rglob("*.py") if "__pycache__" not in path.parts)


def test_at_most_six_modules_stand_loose_at_the_root() -> None:
    loose = [path.stem for path in PACKAGE.glob("*.py") if path.stem != "__init__"]
    assert len(loose) <= MOST_LOOSE, loose


def test_no_module_is_longer_than_can_be_read() -> None:
    lines = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in modules()}
    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}


def test_no_two_modules_share_a_name_without_a_reason() -> None:
    counted = Counter(path.stem for path in modules() if COMMANDS not in path.parents)  # commands are named as they are
    assert {name for name, count in counted.items() if count > 1} <= set(SAME_NAME)


def test_one_formatter_and_no_fights_with_it() -> None:
    marks = ["# fmt: " + word for word in ("skip", "off")]
    paths = (path for folder in ("exporter", "tests", "benchmarks") for path in (ROOT / folder).rglob("*.py"))
    assert [str(path.relative_to(ROOT)) for path in paths if any(mark in path.read_text() for mark in marks)] == []


def strings(path: Path) -> Iterator[tuple[int, str]]:
    """The string constants of a module's code, without its docstrings: line and text."""
    tree = ast.parse(path.read_bytes())
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.lineno, node.value


def names_a_runtime(text: str) -> bool:
    """Whether it is a runtime's name, a suffix, or the name of a file with that suffix."""
    return text in NAMES or (text.endswith(SUFFIXES) and " " not in text)


def test_no_runtime_and_no_form_of_its_programs_is_named_outside_its_rooms() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text!r}"
        for path in modules()
        if path.relative_to(PACKAGE).parts[0] not in ROOMS
        for line, text in strings(path)
        if names_a_runtime(text)
    ]
    assert found == []


# Who may import from one runtime's folder, and why.
REACHES_IN = {
    "exporter/devices/android/shims.py": "compiles ExecuTorch's golden runner into the library that apps ship",
}


def test_nobody_imports_from_one_runtimes_folder() -> None:
    inside = tuple(f"runtimes.{name}" for name in RUNTIMES.packaged)
    found = {
        str(path.relative_to(ROOT))
        for path in modules()
        if path.relative_to(PACKAGE).parts[0] != "runtimes"
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").removeprefix("gemcut.").startswith(inside)
    }
    assert found == set(REACHES_IN)


def test_every_packaged_runtime_is_in_the_contract_of_independence() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    held = next(set(each["modules"]) for each in contracts if each["type"] == "independence")
    assert held == {f"gemcut.runtimes.{name}" for name in RUNTIMES.packaged}


SCRIPTS = [path for folder in ("android_demo", "benchmarks", "docs", "tests") for path in (ROOT / folder).rglob("*.py")]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_imported_from_the_package_is_there(path: Path) -> None:
    """Imports inside functions too, which only some machines ever run."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "gemcut" and not node.level:
            place = PACKAGE.joinpath(*str(node.module).split(".")[1:])
            source = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
            assert source.is_file(), f"line {node.lineno}: no module {node.module}"
            known = source.read_text()
            for name in node.names:
                part = place / name.name
                there = part.is_dir() or part.with_suffix(".py").is_file()
                assert there or re.search(rf"\b{name.name}\b", known), f"line {node.lineno}: {node.module}.{name.name}"


def test_every_path_of_the_package_that_is_named_elsewhere_exists() -> None:
    places = [*(ROOT / ".github").rglob("*.yml"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md"), ROOT / "Makefile"]
    named = {
        (str(place.relative_to(ROOT)), name)
        for place in [*places, ROOT / "action.yml"]
        for name in re.findall(r"\bexporter/[\w/]+\.(?:py|toml|json)\b", place.read_text())
    }
    assert named
    assert {(place, name) for place, name in named if not (ROOT / name).is_file()} == set()


def test_no_data_file_names_a_runtime_outside_its_rooms() -> None:
    quoted = re.compile("|".join(f"[\"']{name}[\"']" for name in sorted(NAMES)))
    places = (path for path in PACKAGE.rglob("*.toml") if path.relative_to(PACKAGE).parts[0] not in ROOMS)
    assert [str(path.relative_to(ROOT)) for path in places if quoted.search(path.read_text())] == []


@pytest.mark.parametrize("text", ["executorch", "litert", ".pte", "model.tflite", "model.litertlm"])
def test_what_the_search_would_find(text: str) -> None:
    assert names_a_runtime(text)


def test_the_stage_table_says_what_the_estimates_and_the_clock_count() -> None:
    from gemcut.estimate.constants import constants
    from gemcut.runtimes import find_runtime
    from gemcut.stages import EXPORT, kept_inputs

    assert constants() is not None
    steps = {name for runtime in ("executorch", "litert") for name in find_runtime(runtime).exporter.steps}
    known = {stage.name for stage in EXPORT} | steps
    for module in ("seconds", "memory"):
        tree = ast.parse((PACKAGE / "estimate" / f"{module}.py").read_bytes())
        returned = (node.value for node in ast.walk(tree) if isinstance(node, ast.Return))
        keys = {key.value for value in returned if isinstance(value, ast.Dict) for key in value.keys if key}
        assert len(keys) >= 8
        assert keys <= known, module
    assert kept_inputs("prove") == ("reference", "prompt", "examine")
    assert kept_inputs("examine") == ("build",)
    assert kept_inputs("build") == kept_inputs("reference") == ()
    for stage in EXPORT:
        assert set(stage.inputs) <= {other.name for other in EXPORT[: EXPORT.index(stage)]}, stage.name
