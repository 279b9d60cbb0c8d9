"""``doctor``: what is lacking is found, runtime by runtime, named with the command that mends it; exit code 8."""

from __future__ import annotations

import http.server
import importlib.metadata
import json
import threading
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gemcut import doctor
from gemcut.cli import main
from gemcut.errors import LackingError
from gemcut.runtimes.litert import version as litert
from gemcut.util.packages import install_command
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[3]
PI4 = "processor\t: 0\nFeatures\t: fp asimd evtstrm crc32\n"
PI5 = "processor\t: 0\nFeatures\t: fp asimd evtstrm aes crc32 atomics asimddp\n"
PC = "model name: x\nflags\t\t: fpu avx avx2 fma avx512_vnni\nflags\t\t: fpu\n"


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_unreachable", lambda endpoint: "no network in tests")


def check(name: str) -> doctor.Check:
    return next(c for c in doctor.examine().checks if c.name == name)


@pytest.mark.parametrize(("text", "found"), [(PI5, ["asimd", "asimddp"]), (PC, ["avx2", "avx512_vnni"]), ("", [])])
def test_cpu_features_are_read_from_proc(text: str, found: list[str]) -> None:
    assert sorted(doctor.cpu_features(text)) == found


def test_this_machine_can_export_and_the_hub_is_no_condition(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    shown = capsys.readouterr().out
    assert "This machine can export: executorch, litert." in shown
    assert "cores" in shown


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Gives packages another version than they have, or (None) takes them away."""

    def change(**packages: str | None) -> None:
        real = importlib.metadata.version
        others = {name.replace("_", "-"): version for name, version in packages.items()}

        def version(name: str) -> str:
            found = others.get(name, "") if name in others else real(name)
            if found is None:
                raise importlib.metadata.PackageNotFoundError(name)
            return found

        monkeypatch.setattr(importlib.metadata, "version", version)
        monkeypatch.setattr(litert, "version", version)

    return change


NO_EXECUTORCH = {"executorch": None}
NO_LITERT = dict.fromkeys(("litert_torch", "ai_edge_litert", "litert_lm", "litert_lm_api", "litert_lm_builder"))


def states() -> dict[str, doctor.RuntimeState]:
    return {runtime.name: runtime for runtime in doctor.examine().runtimes}


def test_both_runtimes_export_and_run_here() -> None:
    for name, state in states().items():
        assert state == doctor.RuntimeState(name, True, True, "exports and runs bundles")


@pytest.mark.parametrize("torch", ["2.12.1", None])
def test_another_torch_or_none_is_lacking_whatever_the_runtime(
    torch: str | None, installed: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    installed(torch=torch)
    assert main(["doctor", "--json"]) == 8
    found = json.loads(capsys.readouterr().out)
    check = next(c for c in found["checks"] if c["name"] == "torch")
    assert not found["can_export"]
    assert (check["state"], check["fix"]) == ("lacking", install_command("executorch", "litert"))
    assert "==2.13.0 is required" in check["found"]
    assert [(r["can_export"], r["can_run"], r["lacking"]) for r in found["runtimes"]] == [(False, False, ["torch"])] * 2


@pytest.mark.parametrize(("lacking", "there"), [(NO_EXECUTORCH, "litert"), (NO_LITERT, "executorch")])
def test_one_complete_runtime_is_enough(
    lacking: dict[str, None], there: str, installed: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    installed(**lacking)
    assert main(["doctor"]) == 0
    assert f"This machine can export: {there}." in capsys.readouterr().out
    found = doctor.examine()
    other = next(runtime for runtime in found.runtimes if runtime.name != there)
    assert (other.can_export, other.can_run, other.found) == (False, False, "not installed")
    assert other.fix == install_command(other.name)
    assert all(check.state != "lacking" for check in found.checks)
    assert not {name.replace("_", "-") for name in lacking} & {check.name for check in found.checks}


def test_a_part_of_a_runtime_is_named_with_what_it_lacks(installed: Callable[..., None]) -> None:
    installed(ai_edge_litert="2.2.0")
    state = states()["litert"]
    assert (state.can_export, state.can_run, state.found) == (False, False, "lacks ai-edge-litert")
    assert (check("ai-edge-litert").state, check("ai-edge-litert").fix) == ("note", install_command("litert"))
    assert "2.2.0; ==2.3.0 is required" in check("ai-edge-litert").found


def test_with_no_runtime_at_all_the_first_ones_packages_are_lacking(installed: Callable[..., None]) -> None:
    installed(**NO_EXECUTORCH, **NO_LITERT)
    found = doctor.examine()
    assert not found.can_export
    lacking = {c.name: c.fix for c in found.checks if c.state == "lacking"}
    assert lacking == {"executorch": install_command("executorch")}


def test_without_litert_torch_bundles_are_run_and_not_made(
    installed: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    installed(litert_torch=None, executorch=None)
    assert main(["doctor"]) == 8
    shown = capsys.readouterr().out
    assert "runs bundles; exporting needs litert-torch" in shown
    assert "can run bundles, but it lacks something that an export needs" in shown


def test_where_litert_torch_has_no_wheels_that_is_said_and_no_command(
    installed: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(litert_torch=None)
    monkeypatch.setattr("gemcut.runtimes.litert.can_have_exporter", lambda: False)
    real = importlib.metadata.requires("gemcut") or []
    here = [line for line in real if not line.startswith("litert-torch")]  # what the marker says there
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: here)
    state = states()["litert"]
    assert (state.can_export, state.can_run, state.lacking, state.fix) == (False, True, (), "")
    assert "litert-converter" in state.found
    assert litert.WHERE in state.found


def test_a_processor_without_the_instructions_runs_no_litert(monkeypatch: pytest.MonkeyPatch) -> None:
    lacking = litert.lacking_instructions(PI4, "aarch64")
    monkeypatch.setattr("gemcut.runtimes.litert.lacking_instructions", lambda cpuinfo, machine: lacking)
    state = states()["litert"]
    assert (state.can_export, state.can_run, state.fix) == (False, False, "")
    assert "LSE atomics" in state.found
    assert states()["executorch"].can_export


@pytest.mark.parametrize(
    ("cpuinfo", "machine", "lacking"),
    [
        (PI4, "aarch64", "LSE atomics"),
        (PI5, "aarch64", ""),
        (PC, "x86_64", ""),
        (PC.replace("avx ", ""), "x86_64", "AVX"),
        ("", "x86_64", ""),
        (PI4, "arm64", ""),
    ],
)
def test_the_instructions_that_litert_needs_are_read_from_proc(cpuinfo: str, machine: str, lacking: str) -> None:
    assert litert.lacking_instructions(cpuinfo, machine) == lacking


def test_the_version_in_manifests_is_that_of_the_engine() -> None:
    assert litert.require_runtime() == litert.require_exporter() == importlib.metadata.version("litert-lm")
    assert set(litert.versions()) == {*litert.RUNTIME, *litert.EXPORTER}


@pytest.mark.parametrize("name", [*litert.RUNTIME, *litert.EXPORTER])
@pytest.mark.parametrize("other", [None, "9.9.9"])
def test_litert_of_another_release_or_none_is_lacking(
    name: str, other: str | None, installed: Callable[..., None]
) -> None:
    installed(**{name.replace("-", "_"): other})
    said = other or "isn't installed"
    with pytest.raises(LackingError, match=f"{name} .*{said}|{name} {said}") as caught:
        litert.require_exporter()
    assert (caught.value.hint, caught.value.exit_code) == (install_command("litert"), 8)
    if name in litert.EXPORTER:
        assert litert.require_runtime()
    else:
        with pytest.raises(LackingError, match=name):
            litert.require_runtime()


def test_no_command_is_promised_where_there_is_none(
    installed: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(litert_torch=None)
    monkeypatch.setattr(litert.platform, "machine", lambda: "riscv64")
    with pytest.raises(LackingError, match="no wheels") as caught:
        litert.require_exporter()
    assert litert.WHERE in str(caught.value.hint)


def project() -> Any:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_the_code_and_the_extra_name_the_same_releases_and_platforms() -> None:
    wanted = {each.name: each for each in map(Requirement, project()["optional-dependencies"]["litert"])}
    for name, release in {**litert.RUNTIME, **litert.EXPORTER}.items():
        (pin,) = wanted[name.removesuffix("-api")].specifier  # litert-lm pins litert-lm-api to its own version
        assert pin.operator == "=="
        assert pin.version.startswith(release + ".")
    marker = wanted["litert-torch"].marker
    assert marker is not None
    for system in ("linux", "darwin", "win32"):
        for machine in ("x86_64", "aarch64", "arm64", "AMD64"):
            taken = marker.evaluate({"sys_platform": system, "platform_machine": machine})
            assert taken == litert.can_have_exporter(system, machine)


def test_a_local_build_of_the_right_version_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda n: "2.13.0+cu129" if n == "torch" else real(n))
    assert check("torch").state == "ok"


def test_a_full_disk_is_lacking(monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    real = shutil.disk_usage
    monkeypatch.setattr(shutil, "disk_usage", lambda path: real(path)._replace(free=10**8))
    assert check("disk").state == "lacking"


def test_a_cache_that_can_not_be_written_is_noted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(doctor.os, "access", lambda path, mode: Path(path) != tmp_path)
    found = check("model cache")
    assert (found.state, "HF_HOME" in found.fix) == ("note", True)


def test_a_token_is_never_shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secretsecret")
    assert main(["doctor", "--json"]) == 0
    shown = capsys.readouterr()
    assert "secretsecret" not in shown.out + shown.err
    assert {"name": "hub token", "state": "ok", "found": "present", "fix": ""} in json.loads(shown.out)["checks"]


def test_a_hub_that_answers_with_an_error_is_reached_and_a_closed_port_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    assert doctor._unreachable(address) == ""
    thread.join()
    server.server_close()
    assert "refused" in doctor._unreachable(address)
