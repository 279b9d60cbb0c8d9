"""GitHub's runner, as far as our files need it: steps in order, with the variables and files that the service sets.

What stands between a step and the shell is GitHub's documented contract: ``shell: bash`` is ``bash --noprofile --norc
-eo pipefail FILE``; ``GITHUB_OUTPUT``, ``GITHUB_ENV``, ``GITHUB_PATH`` and ``GITHUB_STEP_SUMMARY`` are files of each
step. Actions of others are functions here (ci_ci_services.py); ours is run from its ``action.yml``.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ruamel.yaml import YAML

from tests.support.ci.expressions import Outputs, condition, filled

Status = Literal["success", "failure", "skipped"]
BASH = ("bash", "--noprofile", "--norc", "-eo", "pipefail")
FILES = ("GITHUB_OUTPUT", "GITHUB_ENV", "GITHUB_PATH", "GITHUB_STEP_SUMMARY")
KEYS = {"name", "id", "if", "uses", "with", "run", "shell", "env", "working-directory", "continue-on-error"}


def load(path: Path) -> Any:
    """A YAML 1.2 file, where ``on`` is a word and no truth value."""
    return YAML(typ="safe").load(path.read_text(encoding="utf-8"))


@dataclass
class Step:
    """What became of one step."""

    name: str
    status: Status
    code: int = 0
    stdout: str = ""
    stderr: str = ""
    summary: str = ""
    outputs: Outputs = field(default_factory=Outputs)
    inner: list[Step] = field(default_factory=list)


@dataclass
class Machine:
    """The machine of one job. environment: of every process. temp: ``RUNNER_TEMP``. action: the folder of our own.

    actions: others' actions by their name and version; each is given the machine, its inputs and its environment, and
    gives its outputs, or raises ActionFailed.
    """

    workspace: Path
    temp: Path
    action: Path
    environment: dict[str, str]
    actions: Mapping[str, Callable[[Machine, dict[str, str], dict[str, str]], dict[str, str]]]
    event: str = "pull_request"

    def __post_init__(self) -> None:
        self.temp.mkdir(parents=True, exist_ok=True)
        self.environment |= {
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_WORKSPACE": str(self.workspace),
            "GITHUB_EVENT_NAME": self.event,
            "GITHUB_REPOSITORY": "owner/app",
            "GITHUB_SHA": "0" * 40,
            "GITHUB_REF": "refs/heads/main",
            "RUNNER_OS": "Linux",
            "RUNNER_ARCH": "X64",
            "RUNNER_TEMP": str(self.temp),
        }
        self.count = 0

    @property
    def contexts(self) -> dict[str, Any]:
        """Those that are the same for every step."""
        return {
            "runner": {"os": "Linux", "arch": "X64", "temp": str(self.temp)},
            "github": {
                "workspace": str(self.workspace),
                "event_name": self.event,
                "ref": "refs/heads/main",
                "workflow": "bundles",
                "repository": "owner/app",
            },
        }

    def shell(self, script: str, folder: Path, environment: dict[str, str], *words: str) -> Step:
        """Runs a script as a step's; what it wrote to the step's files is in the result and in ``environment``."""
        self.count += 1
        own = self.temp / f"step-{self.count}"
        own.mkdir()
        for name in FILES:
            (own / name).touch()
        (own / "script.sh").write_text(script)
        files = {name: str(own / name) for name in FILES}
        done = subprocess.run(
            [*(words or BASH), str(own / "script.sh")],
            cwd=folder,
            env={**self.environment, **environment, **files},
            capture_output=True,
            text=True,
            check=False,
        )
        self.environment |= pairs((own / "GITHUB_ENV").read_text())
        added = (own / "GITHUB_PATH").read_text().split("\n")
        self.environment["PATH"] = os.pathsep.join([*filter(None, reversed(added)), self.environment["PATH"]])
        return Step(
            "",
            "success" if done.returncode == 0 else "failure",
            done.returncode,
            done.stdout,
            done.stderr,
            (own / "GITHUB_STEP_SUMMARY").read_text(),
            Outputs(pairs((own / "GITHUB_OUTPUT").read_text())),
        )


class ActionFailed(Exception):
    """What an action of others ends with."""


def pairs(text: str) -> dict[str, str]:
    """What a step wrote to one of its files: ``NAME=VALUE`` or ``NAME<<END`` ... ``END``; anything else is refused."""
    found: dict[str, str] = {}
    lines = iter(text.splitlines())
    for line in lines:
        name, sign, rest = re.fullmatch(r"([A-Za-z_][\w-]*)(=|<<)(.*)", line).groups()  # type: ignore[union-attr]
        value = rest
        if sign == "<<":
            inner = []
            while (one := next(lines)) != rest:
                inner.append(one)
            value = "\n".join(inner)
        found[name] = value
    return found


def run_steps(
    machine: Machine, steps: list[dict[str, Any]], contexts: dict[str, Any], environment: dict[str, str]
) -> list[Step]:
    """Runs steps in order, as a job's or a composite action's; those after a failure only where their ``if`` says so.

    Args:
        machine: Where.
        steps: As in the file.
        contexts: Besides the machine's own: ``inputs``, where there are any.
        environment: Variables of the job.
    """
    known: dict[str, Any] = {
        step["id"]: {"outputs": Outputs(), "outcome": "", "conclusion": ""} for step in steps if "id" in step
    }
    contexts = {**machine.contexts, **contexts, "steps": known, "env": environment}
    state = {"failed": False}
    functions = {
        "always": lambda: True,
        "cancelled": lambda: False,
        "success": lambda: not state["failed"],
        "failure": lambda: state["failed"],
    }
    done = []
    for step in steps:
        assert set(step) <= KEYS, f"{sorted(set(step) - KEYS)} of a step is not known here"

        def fill(text: Any) -> str:
            return filled(text, contexts, functions)

        name = fill(step.get("name", step.get("uses", "run")))
        if not condition(step.get("if"), contexts, functions):
            done.append(Step(name, "skipped"))
            _note(known, step, done[-1], "skipped")
            continue
        own = {**environment, **{key: fill(value) for key, value in step.get("env", {}).items()}}
        found = _one(machine, step, own, fill)
        found.name = name
        done.append(found)
        forgiven = step.get("continue-on-error") is True
        _note(known, step, found, "success" if forgiven else found.status)
        if found.status == "failure" and not forgiven:
            state["failed"] = True
    return done


def _note(known: dict[str, Any], step: dict[str, Any], found: Step, conclusion: str) -> None:
    if "id" in step:
        known[step["id"]] = {"outputs": found.outputs, "outcome": found.status, "conclusion": conclusion}


def _one(machine: Machine, step: dict[str, Any], own: dict[str, str], fill: Callable[[Any], str]) -> Step:
    if "run" in step:
        assert step.get("shell", "bash") == "bash"
        folder = machine.workspace / fill(step.get("working-directory", "."))
        # A job's steps have no pipefail unless they say bash; a composite action's must say it.
        words = BASH if "shell" in step else ("bash", "-e")
        return machine.shell(fill(step["run"]), folder, own, *words)
    inputs = {key: fill(value) for key, value in step.get("with", {}).items()}
    if re.fullmatch(r"[\w-]+/gemcut@[\w.-]+", step["uses"]) or step["uses"] == "./":
        return run_action(machine, inputs, own)
    try:
        outputs = machine.actions[step["uses"]](machine, inputs, own)
    except ActionFailed as error:
        return Step("", "failure", 1, stderr=str(error))
    return Step("", "success", outputs=Outputs(outputs))


def run_action(machine: Machine, inputs: dict[str, str], environment: dict[str, str]) -> Step:
    """Our own action, from its ``action.yml``, in a copy of its repository (``machine.action``)."""
    action = load(machine.action / "action.yml")
    assert set(inputs) <= set(action["inputs"]), "an input that the action hasn't"
    whole = {name: str(one.get("default", "")) for name, one in action["inputs"].items()} | inputs
    own = {**environment, "GITHUB_ACTION_PATH": str(machine.action)}
    inner = run_steps(machine, action["runs"]["steps"], {"inputs": whole}, own)
    known = {
        step["id"]: {"outputs": ran.outputs}
        for step, ran in zip(action["runs"]["steps"], inner, strict=True)
        if "id" in step
    }
    outputs = {name: filled(one["value"], {"steps": known}, {}) for name, one in action["outputs"].items()}
    # A step that may fail isn't known from its result alone.
    steps = zip(action["runs"]["steps"], inner, strict=True)
    failed = [ran for step, ran in steps if ran.status == "failure" and step.get("continue-on-error") is not True]
    code = failed[-1].code if failed else 0
    return Step("", "failure" if failed else "success", code, outputs=Outputs(outputs), inner=inner)


def run_job(machine: Machine, path: Path, job: str) -> list[Step]:
    """A job of a workflow file."""
    workflow = load(path)
    found = workflow["jobs"][job]
    environment = {
        key: filled(value, machine.contexts, {})
        for part in (workflow, found)
        for key, value in part.get("env", {}).items()
    }
    return run_steps(machine, found["steps"], {}, environment)


def told(steps: list[Step]) -> str:
    """What went on, for a test that fails."""
    lines = []
    for step in steps:
        lines.append(f"[{step.status}] {step.name} {step.code or ''}")
        lines += [f"    {line}" for line in (step.stdout + step.stderr).splitlines()[-15:]]
        lines += [f"  {line}" for line in told(step.inner).splitlines()]
    return "\n".join(lines)


__all__ = ["BASH", "ActionFailed", "Machine", "Step", "load", "pairs", "run_action", "run_job", "run_steps", "told"]
assert sys.platform != "win32", "the steps are for bash"
