"""The action, the workflows and the templates, held against the published schemas and a few rules of our own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.ci.expressions import UnknownExpression, condition, evaluate, filled
from tests.support.ci.github import load, pairs
from tests.support.ci.machine import DOCS, ROOT
from tests.support.ci.services import KNOWN

WORKFLOWS = [*sorted((ROOT / ".github" / "workflows").glob("*.yml")), DOCS / "github.yml"]
ACTION = ROOT / "action.yml"
SCHEMAS = {
    "vendor.github-actions": [ACTION],
    "vendor.github-workflows": WORKFLOWS,
    "vendor.gitlab-ci": [DOCS / "gitlab.yml"],
}


@pytest.mark.parametrize("schema", SCHEMAS)
def test_the_files_keep_the_published_schemas(schema: str) -> None:
    """The schemas are SchemaStore's, as check-jsonschema ships them; nothing is fetched."""
    words = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *map(str, SCHEMAS[schema])]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("schema", "old", "new"),
    [
        ("vendor.github-actions", "using: composite", "using: compsite"),
        ("vendor.github-workflows", "runs-on:", "run-on:"),
        ("vendor.gitlab-ci", "reports:\n      junit:", "reports:\n      jnit:"),
    ],
)
def test_the_schemas_would_find_a_mistake(schema: str, old: str, new: str, tmp_path: Path) -> None:
    text = SCHEMAS[schema][-1].read_text(encoding="utf-8")
    assert old in text
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(text.replace(old, new), encoding="utf-8")
    words = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(wrong)]
    assert subprocess.run(words, capture_output=True, check=False).returncode == 1


def steps() -> list[tuple[str, dict[str, Any]]]:
    """Every step of the action and of all workflows, with its file's name."""
    found = [("action.yml", step) for step in load(ACTION)["runs"]["steps"]]
    for path in WORKFLOWS:
        found += [(path.name, step) for job in load(path)["jobs"].values() for step in job["steps"]]
    return found


def test_no_expression_stands_in_a_script() -> None:
    """What another writes (an input, a branch's name, a title) is never part of a script's text."""
    scripts = [(name, step["run"]) for name, step in steps() if "run" in step]
    scripts += [(name, step["with"]["script"]) for name, step in steps() if "script" in step.get("with", {})]
    assert len(scripts) > 10
    for name, script in scripts:
        assert "${{" not in script, f"{name}: {script}"


def test_every_step_of_the_action_with_a_script_names_its_shell() -> None:
    for step in load(ACTION)["runs"]["steps"]:
        assert ("run" in step) == ("shell" in step)
        assert step.get("name")


def test_other_peoples_actions_are_known_with_their_inputs() -> None:
    own = re.compile(r"YOUR-ORG/gemcut@v[\d.]+|\./")
    for name, step in steps():
        if "uses" in step and not own.fullmatch(step["uses"]):
            known = KNOWN[step["uses"]]
            inputs = step.get("with", {})
            assert set(inputs) <= set(known["inputs"]), f"{name}: {step['uses']}"
            assert set(known["required"]) <= set(inputs), f"{name}: {step['uses']}"


def test_every_input_of_the_action_is_used_and_explained() -> None:
    text, page = ACTION.read_text(encoding="utf-8"), (ROOT / "docs" / "guides" / "ci.md").read_text(encoding="utf-8")
    action = load(ACTION)
    for name, one in action["inputs"].items():
        assert re.search(rf"inputs\.{name}\b", text), name
        assert one["description"]
        assert isinstance(one["default"], str), f"{name}: an input is a text"
        row = re.search(rf"^\| `{name}` \| (.*?) \|", page, re.MULTILINE)
        assert row, f"docs/guides/ci.md doesn't have the input {name}"
        assert row[1] == (f"`{one['default']}`" if one["default"] else ""), name
    for name in action["outputs"]:
        assert re.search(rf"^\| `{name}` \|", page, re.MULTILINE), f"docs/guides/ci.md doesn't have the output {name}"
    known = set(re.findall(r"inputs\.([\w-]+)", text))
    assert known == set(action["inputs"])


def test_who_uses_the_action_names_inputs_that_it_has() -> None:
    uses = [one for _, one in steps() if one.get("uses", "") == "./" or "gemcut@" in one.get("uses", "")]
    assert len(uses) == 2
    for step in uses:
        assert set(step["with"]) <= set(load(ACTION)["inputs"])


# The grammar that the tests read expressions with


CONTEXTS: dict[str, Any] = {"inputs": {"cache": "true", "only": ""}, "steps": {"a": {"outcome": "success"}}}
FUNCTIONS = {"always": lambda: True, "success": lambda: False, "failure": lambda: True}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("inputs.cache == 'TRUE'", True),
        ("inputs.only != ''", False),
        ("'it''s'", "it's"),
        ("inputs.only || 'all'", "all"),
        ("!inputs.only && steps.a.outcome", "success"),
        ("(always())", True),
    ],
)
def test_expressions(text: str, value: Any) -> None:
    assert evaluate(text, CONTEXTS, FUNCTIONS) == value


@pytest.mark.parametrize(
    "text", ["inputs.cashe", "step.a", "steps.b.outcome", "format('{0}', 1)", "inputs.cache ==", "a b", "1 + 1", "('a'"]
)
def test_unknown_expressions_fail(text: str) -> None:
    with pytest.raises(UnknownExpression):
        evaluate(text, CONTEXTS, FUNCTIONS)


def test_a_step_runs_after_a_failure_only_if_it_says_so() -> None:
    assert not condition(None, CONTEXTS, FUNCTIONS)
    assert not condition("inputs.cache == 'true'", CONTEXTS, FUNCTIONS)
    assert condition("always() && inputs.cache == 'true'", CONTEXTS, FUNCTIONS)
    assert condition("${{ failure() }}", CONTEXTS, FUNCTIONS)
    assert filled("a ${{ inputs.cache }} ${{ always() }}", CONTEXTS, FUNCTIONS) == "a true true"


def test_what_steps_write() -> None:
    assert pairs("a=1\nb<<END\nx\ny=2\nEND\nc=\n") == {"a": "1", "b": "x\ny=2", "c": ""}
    with pytest.raises(AttributeError):
        pairs("no pair\n")
