"""What others' actions do for a job, done here with folders in place of GitHub's servers.

Each takes the inputs that its own ``action.yml`` has at that version (actions.toml) and refuses any other.
"""

from __future__ import annotations

import fnmatch
import json
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

from tests.support.ci.github import ActionFailed, Machine

KNOWN = tomllib.loads((Path(__file__).parent / "actions.toml").read_text(encoding="utf-8"))
Inputs = dict[str, str]
Environment = dict[str, str]


class Services:
    """GitHub's side, for all jobs of a test: caches, artifacts and code scanning, in folders below ``store``."""

    def __init__(self, store: Path, venv: Path) -> None:
        self.store, self.venv = store, venv
        self.actions = {
            "actions/checkout@v4": self.checked("actions/checkout@v4", lambda *_: {}),
            "actions/setup-python@v5": self.checked("actions/setup-python@v5", self.setup_python),
            "actions/cache@v4": self.checked("actions/cache@v4", self.restore),
            "actions/cache/restore@v4": self.checked("actions/cache/restore@v4", self.restore),
            "actions/cache/save@v4": self.checked("actions/cache/save@v4", self.save),
            "actions/upload-artifact@v4": self.checked("actions/upload-artifact@v4", self.upload),
            "github/codeql-action/upload-sarif@v3": self.checked("github/codeql-action/upload-sarif@v3", self.sarif),
            "reactivecircus/android-emulator-runner@v2": self.checked(
                "reactivecircus/android-emulator-runner@v2", self.emulator
            ),
        }
        self.categories: dict[str, dict[str, object]] = {}

    @staticmethod
    def checked(
        name: str, do: Callable[[Machine, Inputs, Environment], dict[str, str]]
    ) -> Callable[[Machine, Inputs, Environment], dict[str, str]]:
        known = KNOWN[name]

        def wrapped(machine: Machine, inputs: Inputs, environment: Environment) -> dict[str, str]:
            assert set(inputs) <= set(known["inputs"]), f"{name} takes no {set(inputs) - set(known['inputs'])}"
            missing = set(known["required"]) - {key for key, value in inputs.items() if value}
            assert not missing, f"{name} needs {missing}"
            return do(machine, inputs, environment)

        return wrapped

    def setup_python(self, machine: Machine, inputs: Inputs, _: Environment) -> dict[str, str]:
        machine.environment["PATH"] = f"{self.venv / 'bin'}:{machine.environment['PATH']}"
        return {"python-version": inputs.get("python-version", "")}

    def restore(self, machine: Machine, inputs: Inputs, _: Environment) -> dict[str, str]:
        caches = self.store / "caches"
        names = sorted((p.name for p in caches.iterdir()), reverse=True) if caches.is_dir() else []
        wanted = [inputs["key"], *(f"{key}*" for key in inputs.get("restore-keys", "").split())]
        found = next((name for pattern in wanted for name in fnmatch.filter(names, pattern)), None)
        if found is None:
            return {"cache-hit": "", "cache-primary-key": inputs["key"]}
        for number, path in enumerate(_paths(machine, inputs)):
            if (caches / found / str(number)).exists():
                shutil.copytree(caches / found / str(number), path, dirs_exist_ok=True, symlinks=True)
        return {"cache-hit": str(found == inputs["key"]).lower(), "cache-matched-key": found}

    def save(self, machine: Machine, inputs: Inputs, _: Environment) -> dict[str, str]:
        place = self.store / "caches" / inputs["key"]
        paths = _paths(machine, inputs)
        if place.exists() or not any(path.exists() for path in paths):
            return {}
        place.mkdir(parents=True)
        for number, path in enumerate(paths):
            if path.exists():
                shutil.copytree(path, place / str(number), symlinks=True)
        return {}

    def upload(self, machine: Machine, inputs: Inputs, _: Environment) -> dict[str, str]:
        place = self.store / "artifacts" / inputs["name"]
        paths = [path for path in _paths(machine, inputs) if path.exists()]
        if not paths and inputs.get("if-no-files-found") == "error":
            raise ActionFailed(f"no files at {inputs['path']}")
        if place.exists():
            raise ActionFailed(f"an artifact {inputs['name']} is there already")
        for path in paths:
            shutil.copytree(path, place / path.name if len(paths) > 1 else place)
        return {"artifact-id": "1"}

    def sarif(self, machine: Machine, inputs: Inputs, _: Environment) -> dict[str, str]:
        """Refuses two runs of one category, as code scanning does."""
        place = machine.workspace / inputs["sarif_file"]
        own: dict[str, dict[str, object]] = {}
        for file in sorted(place.glob("*.sarif")) if place.is_dir() else [place]:
            for run in json.loads(file.read_text(encoding="utf-8"))["runs"]:
                category = run.get("automationDetails", {}).get("id", "").rpartition("/")[0]
                if category in own:
                    raise ActionFailed(f"two runs of the category {category!r}")
                own[category] = run
        if not own:
            raise ActionFailed(f"no SARIF at {place}")
        self.categories |= own
        return {"sarif-id": "1"}

    def emulator(self, machine: Machine, inputs: Inputs, environment: Environment) -> dict[str, str]:
        """Runs each line of ``script`` by ``sh -c``, as the action does once the emulator is there."""
        folder = machine.workspace / inputs.get("working-directory", ".")
        for line in filter(None, map(str.strip, inputs["script"].splitlines())):
            done = subprocess.run(
                ["sh", "-c", line],
                cwd=folder,
                env={**machine.environment, **environment},
                capture_output=True,
                text=True,
                check=False,
            )
            self.emulated = done.stdout + done.stderr
            if done.returncode:
                raise ActionFailed(f"{line} ended with {done.returncode}:\n{self.emulated}")
        return {}


def _paths(machine: Machine, inputs: Inputs) -> list[Path]:
    return [machine.workspace / line.strip() for line in inputs["path"].splitlines() if line.strip()]
