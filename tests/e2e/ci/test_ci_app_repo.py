"""The sample app's repository, built by the action's own steps; and changes that the gates have to stop."""

from __future__ import annotations

import hashlib
import html
import json
import os
import re
import shutil
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from gemcut import __version__

from tests.support.ci import gitlab as ci_gitlab
from tests.support.ci.github import Machine, Step, load, run_action, run_job, told
from tests.support.ci.machine import APP, DOCS, ROOT, check_out, environment
from tests.support.ci.services import Services

NAME = "assistant"
BUNDLE = f"bundles/{NAME}"
INSTALLED = {"source": f"gemcut=={__version__}"}  # what the first run installed: pip has nothing to do


# The repository itself


def test_the_lock_is_of_what_is_here() -> None:
    """All but what a machine decides: versions of libraries, and the bytes that came out."""
    from gemcut.project.config import read_project
    from gemcut.project.hash_cache import Hashes
    from gemcut.project.inputs import inputs_of
    from gemcut.project.lock import moves, read_lock

    project, lock = read_project(APP), read_lock(APP)
    assert lock is not None
    assert {entry.name for entry in project.entries} == set(lock.bundles) == {NAME}
    for entry in project.entries:
        locked = lock.of(entry.name)
        found = inputs_of(entry, locked, Hashes())
        for runtime, now in found.inputs.items():
            then = locked[runtime].model_copy(update={"versions": now.versions})
            stale = [move.full for move in moves(then, now)]
            assert not stale, f"run gemcut export in tests/app_repo and commit its gemcut.lock: {stale}"
            assert set(locked[runtime].versions) >= {"gemcut", "torch", "transformers", "executorch"}


def test_the_editors_schema_is_of_this_version() -> None:
    ours = (ROOT / "exporter" / "project" / "gemcut.schema.json").read_text(encoding="utf-8")
    assert (APP / ".gemcut" / "gemcut.schema.json").read_text(encoding="utf-8") == ours


# Built by the action


@dataclass(frozen=True)
class Job:
    """One run of the action. store: the service's side, of this job's session."""

    machine: Machine
    step: Step
    seconds: float
    store: Path

    @property
    def outputs(self) -> dict[str, str]:
        return self.step.outputs

    @property
    def reports(self) -> Path:
        """As they were uploaded."""
        return self.store / "artifacts" / "gemcut-reports"

    def ran(self, name: str) -> Step:
        (found,) = [one for one in self.step.inner if one.name.startswith(name)]
        return found

    @property
    def summary(self) -> str:
        """What the job's page shows."""
        return "".join(one.summary for one in self.step.inner)


@pytest.fixture(scope="module")
def run(action: Path, services: Services, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Job]:
    """``run(name, change, **inputs)``: a job with the action on a fresh checkout, in which ``change`` was made."""

    def job(name: str, change: Callable[[Path], object] = lambda _: None, **inputs: str) -> Job:
        folder = tmp_path_factory.mktemp(name)
        workspace = check_out(folder / "work")
        change(workspace)
        # Caches are one service's for all jobs; artifacts are a job's own.
        store = folder / "store"
        store.mkdir()
        (services.store / "caches").mkdir(exist_ok=True)
        (store / "caches").symlink_to(services.store / "caches")
        own = Services(store, services.venv)
        own.categories = services.categories
        runner = services.store / "runner"
        machine = Machine(workspace, runner / "temp" / name, action, environment(folder), own.actions)
        machine.environment["GEMCUT_CACHE"] = str(runner / "gemcut-cache")
        began = time.monotonic()
        step = run_action(machine, {key.replace("_", "-"): value for key, value in inputs.items()}, {})
        return Job(machine, step, time.monotonic() - began, store)

    return job


@pytest.fixture(scope="module")
def first(run: Callable[..., Job]) -> Job:
    """The first run of all: nothing is kept, nothing is locked yet."""
    return run("first", locked="false", check_runtime="gradle/libs.versions.toml", upload_sarif="true")


@pytest.fixture(scope="module")
def locked(first: Job) -> Callable[[Path], object]:
    """The change that commits the lock of the first run."""
    return lambda workspace: shutil.copyfile(first.machine.workspace / "gemcut.lock", workspace / "gemcut.lock")


def edit(file: str, old: str, new: str) -> Callable[[Path], object]:
    """The change that replaces a text that stands in a file once."""

    def change(workspace: Path) -> None:
        path = workspace / file
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1
        path.write_text(text.replace(old, new), encoding="utf-8")

    return change


def both(*changes: Callable[[Path], object]) -> Callable[[Path], object]:
    """These changes, in order."""
    return lambda workspace: [change(workspace) for change in changes]


def test_the_app_is_built(first: Job) -> None:
    assert first.step.status == "success", told([first.step])
    assert (first.outputs["passed"], first.outputs["exit-code"], first.outputs["bundles"]) == ("true", "0", BUNDLE)
    assert (first.machine.workspace / BUNDLE / "model.pte").is_file()
    assert [one.name for one in first.step.inner if one.status == "skipped"] == [
        "Compare with other bundles",
        "Prove them on devices",
    ]
    names = {path.relative_to(first.reports).as_posix() for path in first.reports.rglob("*") if path.is_file()}
    both = {f"{one}.{ending}" for one in ("export", f"check-1-{NAME}") for ending in ("xml", "html")}
    assert names >= {*both, "export.md", "sarif/export.sarif", f"sarif/check-1-{NAME}.sarif"}
    assert NAME in first.summary
    assert Path(first.outputs["html"]).is_file()
    assert Path(first.outputs["sarif"]).is_dir()
    made = tomllib.loads((first.machine.workspace / "gemcut.lock").read_text(encoding="utf-8"))
    kept = tomllib.loads((APP / "gemcut.lock").read_text(encoding="utf-8"))
    for each in (made, kept):
        for key in ("versions", "processor", "bundle", "contents"):
            del each["bundles"][NAME]["executorch"][key]
    assert made == kept


@pytest.fixture(scope="module")
def second(run: Callable[..., Job], first: Job, locked: Any) -> Job:
    """The run of the commit that has the lock: all that the first one made comes from the cache."""

    def older(workspace: Path) -> None:
        shutil.copytree(first.machine.workspace / BUNDLE, workspace / "baselines" / NAME)

    return run(
        "second",
        both(locked, older),
        check_runtime="executorch-android==1.1.0\n\norg.pytorch:executorch-android:1.3.1",
        compare_with="baselines",
        fail_on="size>+1%\nmatters>0",
        devices="host",
        upload_sarif="true",
        only=NAME,
        **INSTALLED,
    )


def test_the_next_run_takes_all_from_the_cache(second: Job, first: Job) -> None:
    job = second
    assert job.step.status == "success", told([job.step])
    assert job.ran("Restore Gemcut").outputs["cache-hit"] == "false"  # of another lock, which was the newest there
    (found,) = json.loads((job.reports / "export.json").read_text(encoding="utf-8"))["bundles"]
    assert (found["state"], found["made"]) == ("up to date", [])
    ran = {one.name: one.outputs.get("exit-code") for one in job.step.inner if "exit-code" in one.outputs}
    assert len(ran) == 5
    assert set(ran.values()) == {"0"}
    names = {path.stem for path in job.reports.rglob("*.sarif")}
    assert names == {"export", f"diff-{NAME}", f"check-1-{NAME}", f"check-2-{NAME}", f"devices-{NAME}"}
    assert hashes(job) == hashes(first)


def hashes(job: Job) -> dict[str, str]:
    """What lies at the bundle's place after a job."""
    folder = job.machine.workspace / BUNDLE
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_another_output_is_refused_by_the_lock(run: Callable[..., Job], locked: Any) -> None:
    job = run("stale", both(locked, edit("gemcut.toml", "context = 512", "context = 256")), **INSTALLED)
    assert (job.step.status, job.step.code, job.outputs["exit-code"]) == ("failure", 2, "2"), told([job.step])
    assert job.outputs["bundles"] == ""
    assert "context 512 -> 256" in job.ran("Build").stderr
    shown_everywhere(job.reports, "export", "lock.moved", "context 512")


# Deliberate regressions. Each is stopped by one gate, with its exit code, and all reports say so.


def shown_everywhere(reports: Path, stem: str, rule: str, word: str, summary: str | None = None) -> None:
    """That a finding is in JUnit, SARIF, HTML and the summary."""
    from xml.etree import ElementTree

    cases = ElementTree.parse(reports / f"{stem}.xml").getroot().iter("testcase")
    failed = {
        str(case.get("name")): "".join(case.itertext()) + str([f.attrib for f in case])
        for case in cases
        if case.find("failure") is not None or case.find("error") is not None
    }
    assert any(word in text for text in failed.values()), failed
    log = json.loads((reports / "sarif" / f"{stem}.sarif").read_text(encoding="utf-8"))
    results = {one["ruleId"]: one["message"]["text"] for one in log["runs"][0]["results"]}
    assert rule in results
    assert word in " ".join(results.values())
    assert word in html.unescape((reports / f"{stem}.html").read_text(encoding="utf-8"))
    text = summary if summary is not None else (reports / f"{stem}.md").read_text(encoding="utf-8")
    assert word in re.sub(r"\\(.)", r"\1", text)


def fine_tune(workspace: Path) -> None:
    """A fine-tune of the sample that is, in float, the sample itself; one channel has grown a thousandfold.

    The norm before layer 2's attention writes channel 3 1024 times larger, and what reads it takes 1024 times less:
    powers of two, so that no float changes. Rounding the activations to eight bits then leaves the other channels of
    that layer next to nothing, as fine-tuning's outliers do to real models.
    """
    from gemcut.sample import sample_path
    from safetensors.torch import load_file, save_file

    folder = workspace / "models" / NAME
    shutil.copytree(sample_path(), folder)
    tensors = load_file(folder / "model.safetensors")
    layer, channel, factor = "model.layers.2", 3, 1024
    tensors[f"{layer}.input_layernorm.weight"][channel] *= factor
    for reader in ("q_proj", "k_proj", "v_proj"):
        tensors[f"{layer}.self_attn.{reader}.weight"][:, channel] /= factor
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def recipe(workspace: Path) -> None:
    """A recipe with int4's schemes, rounded plainly, and a gate so wide that the fine-tune gets through it."""
    text = (ROOT / "exporter" / "quantize" / "recipes" / "int4.toml").read_text(encoding="utf-8")
    head, gate = text.split("[gate]")
    assert "tool_calls" in gate
    (workspace / "recipes").mkdir()
    head = head.replace("folds = true", "folds = false").replace('method = "gptq"\n', "")
    own = f'{head}[gate]\nmean_kl = 10.0\nreason = "The demo is on Friday."\n'
    (workspace / "recipes" / "small.toml").write_text(own.replace("../recipe.schema.json", "recipe.schema.json"))


own_model = both(fine_tune, edit("gemcut.toml", 'model = "sample"', f'model = "models/{NAME}"'))


def test_a_recipe_that_breaks_tool_calls_is_stopped_by_the_budget(run: Callable[..., Job], first: Job) -> None:
    """The recipe's own gate is open: what the app's budgets say is what counts."""
    named = edit("gemcut.toml", "context = 512", 'recipe = "recipes/small.toml"\ncontext = 512')
    job = run("budget", both(own_model, recipe, named), locked="false", **INSTALLED)
    assert (job.step.status, job.step.code) == ("failure", 7), told([job.step])
    assert hashes(job) == hashes(first)  # what the cache brought, and nothing of this run's
    shown_everywhere(job.reports, "export", "budget.tool_calls", "tool call")
    assert "tool" in job.summary


def test_a_recipe_that_breaks_tool_calls_is_stopped_by_its_gate(run: Callable[..., Job], first: Job) -> None:
    """With calibration the folds take the outlier away, and the bundle passes: plain rounding it must be.

    The recipe is named: else two finer ones are built, which fail too.
    """
    plain = edit("gemcut.toml", "context = 512", 'recipe = "int4"\ncalibration = "none"\ncontext = 512')
    job = run("gate", both(own_model, plain), locked="false", **INSTALLED)
    assert (job.step.status, job.step.code) == ("failure", 5), told([job.step])
    assert hashes(job) == hashes(first)
    shown_everywhere(job.reports, "export", "behaviour.tool_calls", "tool calls are the same as the float model's on")
    assert "::error" in job.ran("Build").stderr


def test_a_template_with_a_double_bos_is_stopped_by_the_gate(run: Callable[..., Job], first: Job) -> None:
    def template(workspace: Path) -> None:
        from gemcut.sample import sample_path

        (workspace / "chat.jinja").write_text(
            "{{ bos_token }}" + (sample_path() / "chat_template.jinja").read_text(encoding="utf-8"), encoding="utf-8"
        )

    named = edit("gemcut.toml", "context = 512", 'chat_template = "chat.jinja"\ncontext = 512')
    job = run("bos", both(template, named), locked="false", **INSTALLED)
    assert (job.step.status, job.step.code) == ("failure", 5), told([job.step])
    shown_everywhere(job.reports, "export", "behaviour.bos", "2 BOS tokens")


def test_an_operator_that_the_library_lacks_is_stopped_by_the_check(
    run: Callable[..., Job], second: Job, locked: Any
) -> None:
    """ExecuTorch 0.6.0 has no XNNTanh, which the sample's soft cap is lowered to."""
    older = edit("gradle/libs.versions.toml", 'executorch = "1.1.0"', 'executorch = "0.6.0"')
    job = run("lacks", both(locked, older), check_runtime="gradle/libs.versions.toml", upload_sarif="true", **INSTALLED)
    assert (job.step.status, job.step.code, job.outputs["exit-code"]) == ("failure", 6, "6"), told([job.step])
    assert job.ran("Build").outputs["exit-code"] == "0"
    assert job.ran("Restore Gemcut").outputs["cache-hit"] == "true"  # as the second run kept it
    assert job.ran("Keep Gemcut").status == "skipped"
    shown_everywhere(job.reports, f"check-1-{NAME}", "runtime.node", "XNNTanh", job.ran("Check").summary)
    annotation = next(line for line in job.ran("Check").stderr.splitlines() if line.startswith("::error"))
    assert "gradle/libs.versions.toml" in annotation


def test_code_scanning_takes_the_reports(services: Services, first: Job) -> None:
    assert {"gemcut/export", f"gemcut/check-1-{NAME}"} <= set(services.categories)


# The example workflow and the GitLab template


def test_the_gitlab_job(action: Path, services: Services, first: Job, tmp_path: Path) -> None:
    assert ci_gitlab.jobs(DOCS / "gitlab.yml") == ["gemcut"]
    project = check_out(tmp_path / "project")
    kept = load(DOCS / "gitlab.yml")["gemcut"]["cache"]["paths"]
    assert kept == [".cache/gemcut", ".cache/pip", "bundles"]
    shutil.copytree(first.machine.workspace / "bundles", project / "bundles")
    shutil.copyfile(first.machine.workspace / "gemcut.lock", project / "gemcut.lock")
    variables = environment(tmp_path)
    variables["PATH"] = f"{services.venv / 'bin'}{os.pathsep}{variables['PATH']}"
    del variables["PIP_CACHE_DIR"]
    done = ci_gitlab.run_job(DOCS / "gitlab.yml", "gemcut", project, {**variables, "GEMCUT": INSTALLED["source"]})
    assert done.returncode == 0, done.stdout + done.stderr
    wanted = {"export.xml", "export.sarif", "export.html", "export.md", f"check-{NAME}.xml", f"check-{NAME}.html"}
    assert {path.name for path in (project / "reports").iterdir()} == wanted
    assert (project / ".cache" / "gemcut").is_dir()
    edit("gradle/libs.versions.toml", 'executorch = "1.1.0"', 'executorch = "0.6.0"')(project)
    done = ci_gitlab.run_job(DOCS / "gitlab.yml", "gemcut", project, {**variables, "GEMCUT": str(action)})
    assert done.returncode == 6, done.stdout + done.stderr
    edit("gemcut.toml", "context = 512", "context = 256")(project)
    done = ci_gitlab.run_job(DOCS / "gitlab.yml", "gemcut", project, {**variables, "GEMCUT": INSTALLED["source"]})
    assert done.returncode == 2, done.stdout + done.stderr


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[None]:
    """An adbd where an emulator's is, on port 5555, which adb's server takes for emulator-5554."""
    from tests.support.fake_adbd import FakeAdbd

    class Emulator(FakeAdbd):
        def __enter__(self) -> Emulator:
            import asyncio

            self._thread.start()
            self._server = self._do(asyncio.start_server(self._serve, "127.0.0.1", 5555))
            self.port = 5555
            return self

    root = tmp_path / "emulator"
    root.mkdir()
    try:
        device = Emulator(root).__enter__()
    except OSError as error:
        pytest.skip(f"port 5555 is taken: {error}")
    try:
        yield
    finally:
        device.__exit__()


def test_the_example_workflow(
    action: Path, services: Services, first: Job, emulator: None, kept_cache: Path, tmp_path: Path
) -> None:
    """Every step of it. sudo is a stand-in that writes down what it was asked: udev rules are the machine's own."""
    from gemcut.devices.adb_client import free_port

    if shutil.which("adb") is None:
        pytest.skip("there is no adb here: apt-get install adb")
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    said, rules = tmp_path / "sudo.txt", tmp_path / "rules.txt"
    sudo = f'#!/bin/sh\necho "$@" >> {said}\nif [ "$1" = tee ]; then cat >> {rules}; fi\n'
    (bin_folder / "sudo").write_text(sudo)
    (bin_folder / "sudo").chmod(0o755)
    workspace = check_out(tmp_path / "work")
    shutil.copyfile(first.machine.workspace / "gemcut.lock", workspace / "gemcut.lock")
    store = tmp_path / "store"
    store.mkdir()
    (store / "caches").symlink_to(services.store / "caches")
    own = Services(store, services.venv)
    machine = Machine(workspace, tmp_path / "temp", action, environment(tmp_path), own.actions)
    cache = tmp_path / "cache"
    cache.mkdir()
    for kind in kept_cache.iterdir():  # what devices fetch and build, as another job left it
        (cache / kind.name).symlink_to(kind)
    machine.environment |= {
        "GEMCUT_CACHE": str(cache),
        "ANDROID_ADB_SERVER_PORT": str(free_port()),
        "PATH": f"{bin_folder}{os.pathsep}{machine.environment['PATH']}",
    }
    done = run_job(machine, DOCS / "github.yml", "bundles")
    failed = [one for one in done if one.status == "failure"]
    if failed and failed[0].name == "Get the app's bundle ready for an emulator" and failed[0].code == 8:
        pytest.skip(f"this machine can't set adb up: {failed[0].stderr}")
    assert not failed, told(done)
    assert not [one.name for one in done if one.status == "skipped"]
    assert 'KERNEL=="kvm"' in rules.read_text()
    assert "udevadm trigger --name-match=kvm" in said.read_text()
    assert "proven on adb:emulator-5554" in own.emulated
    assert (workspace / "gemcut-reports" / "emulator.xml").is_file()
    assert (store / "artifacts" / "bundles" / NAME / "model.pte").is_file()
