"""An export that searches for its bits: the budget holds, and its recipe gives the same bytes again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gemcut.bundle.reader import open_bundle

from tests.support.tiny_exports import CONTEXT


def test_a_size_is_kept_and_the_recipe_that_was_found_gives_the_same_program(
    tiny: Path, tmp_path: Path, run: Callable[..., Any]
) -> None:
    words = ("export", tiny, "--target", "linux-x86_64", "--context", CONTEXT)
    plan = json.loads(run("recipes", "search", tiny, "--context", CONTEXT, "--json", cwd=tmp_path).stdout)
    limit = plan["smallest"] + plan["front"][len(plan["front"]) // 2]["bytes"] + 2000
    done = run(*words, "--max-size", f"{limit} B", "-o", "first", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (made,) = json.loads(done.stdout)["bundles"]
    assert made["size"] <= limit
    (recipe,) = tmp_path.glob("*.toml")
    assert str(recipe.name) in done.stderr
    again = run(*words, "--recipe", recipe, "--fresh", "-o", "second", "--json", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    with open_bundle(tmp_path / "first") as first, open_bundle(tmp_path / "second") as second:
        assert first.program.read_bytes() == second.program.read_bytes()
        assert first.manifest.recipe == second.manifest.recipe
        weights = {rule.weight for rule in first.manifest.recipe.rules}
        assert weights == {"int4", "int8"}


def test_what_no_mix_keeps_is_refused_and_leaves_nothing(tiny: Path, tmp_path: Path, run: Callable[..., Any]) -> None:
    done = run("export", tiny, "--target", "linux-x86_64", "--context", CONTEXT, "--max-size", "1 kB", cwd=tmp_path)
    assert done.returncode == 4
    assert "the smallest is" in done.stderr
    assert not list(tmp_path.rglob("*.toml"))
    assert not list(tmp_path.rglob(".gemcut-search-*"))


def test_a_recipe_and_a_budget_are_refused_together(tiny: Path, tmp_path: Path, run: Callable[..., Any]) -> None:
    words = ("--target", "linux-x86_64", "--recipe", "int8", "--max-kl", "0.1")
    done = run("export", tiny, *words, cwd=tmp_path)
    assert done.returncode == 2
    assert "Leave one of them out" in done.stderr
