"""The documentation: links, paths and anchors that hold, an index of every page, the architecture's picture."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
CONTRIBUTING = DOCS / "contributing"
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted(DOCS.rglob("*.md")),
    *(ROOT / folder / "README.md" for folder in ("benchmarks", "android_demo")),
]
CODE = re.compile(r"^```.*?^```|<!--.*?-->", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")
ELSEWHERE = re.compile(r"[a-z]+:")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def prose(page: Path) -> str:
    """A page without its code blocks and comments."""
    return CODE.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as code hosts make them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page: Path) -> Iterator[tuple[str, Path, str]]:
    """The relative links of a page: as written, the file, and the anchor in it."""
    for link in LINK.findall(prose(page)):
        if not ELSEWHERE.match(link):
            file, _, anchor = link.partition("#")
            yield link, (page.parent / file).resolve() if file else page, anchor


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for link, file, anchor in links(page):
        assert file.exists(), f"{name_of(page)}: {link}"
        assert file.is_relative_to(ROOT), f"{name_of(page)}: {link}"
        assert not anchor or anchor in anchors(file), f"{name_of(page)}: {link} names no heading"


def test_the_index_has_every_page() -> None:
    listed = {file for _, file, _ in links(DOCS / "README.md")}
    assert {page for page in DOCS.rglob("*.md") if page != DOCS / "README.md"} <= listed


def mentions(text: str) -> set[str]:
    """Pages and templates that a text names by their path from the root; a source's own docs/ are not ours."""
    own = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("source ="))
    return set(re.findall(r"(?<![\w/.-])docs/[\w./-]*\.(?:md|yml|svg|py)", own))


def sources() -> Iterator[Path]:
    """Every text file outside docs/ that may name a page."""
    kinds = {".py", ".toml", ".yml", ".java", ".jinja", ".md", ".json", ".sh", ".kts"}
    for name in ("action.yml", "README.md", "CONTRIBUTING.md"):
        yield ROOT / name
    for folder in ("exporter", "targets", "tests", "benchmarks", "android_demo", ".github"):
        yield from (path for path in sorted((ROOT / folder).rglob("*")) if path.suffix in kinds and path.is_file())


def test_every_page_that_the_code_names_is_there() -> None:
    found = [(name_of(path), page) for path in sources() for page in mentions(path.read_text(encoding="utf-8"))]
    assert [f"{where}: {page}" for where, page in found if not (ROOT / page).is_file()] == []
    assert any(where.startswith("exporter/") for where, _ in found)


# Contributors' pages

BLOCK = re.compile(r"^```sh\n(.*?)^```", re.DOTALL | re.MULTILINE)
CONTRIBUTORS = [ROOT / "CONTRIBUTING.md", *sorted(CONTRIBUTING.rglob("*.md"))]
# Capitals stand for a name that the reader chooses, as does ``...`` for what they write.
PLACEHOLDER = re.compile(r"[A-Z]{2,}|\.\.\.|[*<{]")
OURS = re.compile(r"`((?:exporter|targets|tests|docs|benchmarks|\.ci)/[^`\s:]*)(?::\w+)?`")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_file_of_the_repository_that_a_page_names_is_there(page: Path) -> None:
    named = {path for path in OURS.findall(prose(page)) if not PLACEHOLDER.search(path)}
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


def commands(page: Path) -> list[list[str]]:
    """The lines of a page's shell blocks, as words."""
    lines = (line for block in BLOCK.findall(page.read_text(encoding="utf-8")) for line in block.splitlines())
    return [words for line in lines if (words := shlex.split(line, comments=True))]


@pytest.mark.parametrize("page", CONTRIBUTORS, ids=name_of)
def test_commands_of_contributors_pages_name_what_there_is(page: Path) -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for words in commands(page):
        line = shlex.join(words)
        if words[0] == "make":
            assert words[1] in targets, line
        elif words[0].startswith(".venv/bin/"):
            for word in words[1:]:
                path = word.partition("::")[0]
                if "/" in path and not PLACEHOLDER.search(path):
                    assert (ROOT / path).exists(), line
        else:
            assert words[0] in {"cd", "cp", "gemcut", "git", ".ci/run"}, line


def drawer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("draw_architecture", CONTRIBUTING / "draw_architecture.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_the_picture_of_the_architecture_is_the_code_s() -> None:
    page = (CONTRIBUTING / "architecture.md").read_text(encoding="utf-8")
    assert drawer().with_stages(page) == page, (
        "stages changed: run .venv/bin/python docs/contributing/draw_architecture.py"
    )
    drawn, kept = drawer().draw(), (CONTRIBUTING / "architecture.svg").read_text(encoding="utf-8")
    assert drawn == kept, "imports changed: run .venv/bin/python docs/contributing/draw_architecture.py"


def test_the_architecture_page_has_a_row_for_every_layer() -> None:
    text = (CONTRIBUTING / "architecture.md").read_text(encoding="utf-8")
    rows = {name for row in re.findall(r"^\| (`[^|]+) \|", text, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    assert {name for names in drawer().layer_names() for name in names} <= rows


def test_the_page_of_runtimes_explains_every_fact_of_a_plugin() -> None:
    from gemcut.runtimes.base import RuntimePlugin

    text = (CONTRIBUTING / "add-a-runtime.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| `(\w+)` \| ", text, re.MULTILINE)
    assert set(RuntimePlugin.__annotations__) == set(told) - {"exporter", "engine", "inspector"}
