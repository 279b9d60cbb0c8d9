"""The three trees of tests, and what each may do."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
TREES = ("unit", "integration", "e2e")
# Fixtures that are an export of the sample.
EXPORTS = re.compile(r"\bsample_(?:both|int4|litert|diary|float32)\b|\bexported(?:_all)?\(")
# What stands beside the trees, and why.
BESIDE = {"__init__.py", "conftest.py", "coverage_table.py", "mutations.py"}


def modules(tree: str) -> Iterator[Path]:
    return (path for path in (TESTS / tree).rglob("*.py") if "__pycache__" not in path.parts)


def test_beside_the_trees_stand_support_an_app_and_two_scripts() -> None:
    files = (path.relative_to(TESTS).parts for path in TESTS.rglob("*") if path.is_file())
    found = {parts[0] for parts in files if "__pycache__" not in parts}
    assert found == {*TREES, *BESIDE, "support", "app_repo"}


def test_the_folders_of_unit_are_those_of_the_package() -> None:
    folders = {path.parent.relative_to(TESTS / "unit") for path in modules("unit")}
    assert {str(folder) for folder in folders if not (ROOT / "exporter" / folder).is_dir()} == set()
    assert len(folders) > 10


def test_helpers_stand_in_support_alone() -> None:
    """In the trees are tests and fixtures, and what these import of other tests' is in ``support``."""
    for tree in TREES:
        for path in modules(tree):
            assert path.name == "conftest.py" or path.name.startswith("test_"), path
            for node in ast.walk(ast.parse(path.read_bytes())):
                if isinstance(node, ast.ImportFrom):
                    assert node.level == 0, f"{path}:{node.lineno}: a relative import"
                    place = node.module or ""
                    assert not place.startswith("tests") or place.startswith("tests.support"), f"{path}:{node.lineno}"


def test_unit_tests_export_nothing() -> None:
    found = [str(path) for path in modules("unit") if path.name != "test_trees.py" and EXPORTS.search(path.read_text())]
    assert found == []
    assert any(EXPORTS.search(path.read_text()) for path in modules("e2e"))


def test_test_modules_have_names_of_their_own() -> None:
    names = [path.name for tree in TREES for path in modules(tree) if path.name != "conftest.py"]
    assert sorted(names) == sorted(set(names))
