"""A runtime from a separate distribution: every command knows it, though no file of Gemcut's names it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gemcut.errors import LackingError, UnsupportedError
from gemcut.runtimes import RUNTIMES, find_runtime
from gemcut.target import load_target

from tests.support import fake_runtime

Run = Callable[..., Any]


def gemcut(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gemcut.cli", *map(str, words)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def bundle(checkpoint: Path, site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made by the command line, in a process of its own, with nothing patched."""
    folder = tmp_path_factory.mktemp("plugin")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", fake_runtime.environment(site)["PYTHONPATH"])
        target = fake_runtime.write_target(folder)
        words = ("export", checkpoint, "--target", target, "--runtime", "fake", "--recipe", "float32", "--fake-twist")
        done = gemcut(*words, "-o", folder / "bundle", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    (made,) = json.loads(done.stdout)["bundles"]
    assert made["fidelity"]["mean_kl"] == 0.0
    return folder / "bundle"


def test_its_bundle_is_validated_inspected_and_compared(bundle: Path, tmp_path: Path) -> None:
    for words in (("validate", bundle), ("inspect", bundle), ("diff", bundle, bundle)):
        done = gemcut(*words, cwd=tmp_path)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
    assert (bundle / "twist.txt").is_file()


@pytest.mark.parametrize(("version", "code", "word"), [("2.0", 0, "runs"), ("1.0", 6, "fake::lookup")])
def test_check_answers_from_its_own_facts(bundle: Path, tmp_path: Path, version: str, code: int, word: str) -> None:
    done = gemcut("check", bundle, "--runtime", f"fake-android=={version}", cwd=tmp_path)
    assert (done.returncode, word in done.stdout + done.stderr) == (code, True), done.stdout + done.stderr


def test_help_has_its_name_and_its_flags(tmp_path: Path) -> None:
    shown = " ".join(gemcut("export", "--help", cwd=tmp_path).stdout.split())
    assert "--fake-twist / --no-fake-twist" in shown
    assert "executorch, litert, fake, fake_two" in shown


def test_a_report_format_of_its_own_is_a_flag(bundle: Path, tmp_path: Path) -> None:
    done = gemcut("validate", bundle, "--lines", "found.txt", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "fidelity.top1 True" in (tmp_path / "found.txt").read_text().splitlines()


def test_doctor_and_devices_list_it(tmp_path: Path) -> None:
    found = {each["name"]: each for each in json.loads(gemcut("doctor", "--json", cwd=tmp_path).stdout)["runtimes"]}
    assert found["fake"]["can_export"]
    devices = json.loads(gemcut("devices", "--json", cwd=tmp_path).stdout)["devices"]
    assert "fake" in next(each for each in devices if each["name"] == "host")["ready"]


def test_targets_explain_it(tmp_path: Path) -> None:
    path = fake_runtime.write_target(tmp_path)
    path.write_text(path.read_text() + "\n[fake]\nfake_twist = true\n[fake.choices]\nfake_twist = 'To see one.'\n")
    shown = gemcut("targets", "show", path, cwd=tmp_path).stdout
    assert "fake.fake_twist" in shown
    assert "To see one." in shown


def test_gemcut_toml_has_its_keys(checkpoint: Path, tmp_path: Path) -> None:
    target = fake_runtime.write_target(tmp_path)
    (tmp_path / "gemcut.toml").write_text(
        f'[bundles.a]\nmodel = "{checkpoint}"\ntarget = "{target}"\nruntimes = ["fake"]\nrecipe = "float32"\n'
        "fake_twist = true\n"
    )
    done = gemcut("export", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "bundles" / "a" / "twist.txt").is_file()
    again = gemcut("export", cwd=tmp_path)
    assert "up to date" in again.stdout + again.stderr
    (tmp_path / "gemcut.toml").write_text((tmp_path / "gemcut.toml").read_text().replace('"fake"', '"litert"'))
    refused = gemcut("export", cwd=tmp_path)
    assert refused.returncode in (2, 4)
    assert "fake_twist" in refused.stderr


def test_a_project_that_is_killed_in_its_second_bundle(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = fake_runtime.write_target(tmp_path)
    entry = f'model = "{checkpoint}"\ntarget = "{target}"\nruntimes = ["fake"]\nrecipe = "float32"\n'
    text = f"[bundles.one]\n{entry}context = 256\n[bundles.two]\n{entry}context = 255\n"
    (tmp_path / "gemcut.toml").write_text(text)
    assert gemcut("export", "--only", "one", cwd=tmp_path).returncode == 0
    monkeypatch.setenv("GEMCUT_FAKE", "measure=die")
    killed = gemcut("export", cwd=tmp_path)
    assert killed.returncode == -signal.SIGKILL
    assert "building two" in killed.stderr
    assert sorted(path.name for path in (tmp_path / "bundles").iterdir() if path.name[0] != ".") == ["one"]
    monkeypatch.delenv("GEMCUT_FAKE")
    done = gemcut("export", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "one is up to date" in done.stderr
    assert "note: Resumed: 'load', 'reference'" in done.stderr
    assert "Running the float model" not in done.stderr
    assert sorted(path.name for path in (tmp_path / "bundles").iterdir()) == ["one", "two"]


def test_a_device_that_has_no_golden_runner_for_it_refuses(run: Run) -> None:
    with pytest.raises(UnsupportedError, match="not fake bundles"):
        run(prove_on=("arm64-user",))


def test_a_delegate_of_its_own_is_what_a_target_must_name(tmp_path: Path) -> None:
    path = fake_runtime.write_target(tmp_path, {'"lookup"': '"lokup"'})
    with pytest.raises(UnsupportedError, match="delegate = 'lokup': did you mean 'lookup'"):
        load_target(str(path))


def test_a_plugin_that_cannot_be_imported_names_its_distribution(
    site: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (site / "gemcut_fake" / "__init__.py").rename(tmp_path / "aside.py")
    try:
        for name in [name for name in sys.modules if name.partition(".")[0] == "gemcut_fake"]:
            monkeypatch.delitem(sys.modules, name)
        RUNTIMES._loaded.pop("fake", None)
        with pytest.raises(LackingError, match="of gemcut-fake can't be imported"):
            find_runtime("fake")
        done = gemcut("doctor", "--json", cwd=tmp_path)
        found = {each["name"]: each for each in json.loads(done.stdout)["runtimes"]}
        assert not found["fake"]["can_run"]
        assert "gemcut-fake" in found["fake"]["found"]
    finally:
        (tmp_path / "aside.py").rename(site / "gemcut_fake" / "__init__.py")
