"""``doctor``: what is lacking is found, named with the command that mends it, and ends with exit code 8."""

from __future__ import annotations

import http.server
import importlib.metadata
import json
import threading
from pathlib import Path

import pytest
from gemcut import doctor
from gemcut.cli import main

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
    assert "This machine can export." in shown
    assert "cores" in shown


@pytest.mark.parametrize("installed", ["2.12.1", None])
def test_another_torch_or_none_is_lacking(
    installed: str | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = importlib.metadata.version

    def version(name: str) -> str:
        if name != "torch":
            return real(name)
        if installed is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return installed

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert main(["doctor", "--json"]) == 8
    found = json.loads(capsys.readouterr().out)
    torch = next(c for c in found["checks"] if c["name"] == "torch")
    assert not found["can_export"]
    assert (torch["state"], torch["fix"]) == ("lacking", "pip install 'gemcut[executorch]'")
    assert "==2.13.0 is wanted" in torch["found"]


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
