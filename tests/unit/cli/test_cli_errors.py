"""Every exit code: the message, the hint, and the JSON document in their stead."""

from __future__ import annotations

import errno
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import gemcut
import jsonschema
import pytest
from gemcut import errors
from gemcut.cli import main
from gemcut.util.packages import install_command

SCHEMAS = Path(gemcut.__file__).parent / "schemas"
KNOWN = [
    (errors.UsageError, 2),
    (errors.CheckpointError, 3),
    (errors.UnsupportedError, 4),
    (errors.GateError, 5),
    (errors.ConformanceError, 6),
    (errors.BudgetError, 7),
    (errors.LackingError, 8),
]


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes ``gemcut doctor`` fail with an error of choice."""

    def fail(error: BaseException) -> None:
        def examine() -> None:
            raise error

        monkeypatch.setattr("gemcut.doctor.examine", examine)

    return fail


@pytest.mark.parametrize(("kind", "code"), KNOWN)
def test_an_error_has_its_exit_code_message_and_hint(
    kind: type[errors.GemcutError], code: int, failing: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(kind("the message", hint="the hint"))
    assert main(["doctor"]) == code
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == "error: the message\nhint: the hint\n"


@pytest.mark.parametrize(("kind", "code"), KNOWN)
def test_with_json_an_error_is_a_document(
    kind: type[errors.GemcutError], code: int, failing: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(kind("the message"))
    assert main(["doctor", "--json"]) == code
    document = json.loads(capsys.readouterr().out)
    jsonschema.validate(document, json.loads((SCHEMAS / "error.schema.json").read_text()))
    assert document["error"] == {
        "kind": kind.__name__,
        "message": "the message",
        "hint": None,
        "exit_code": code,
    }


def test_an_unexpected_error_is_a_bug_without_a_traceback(failing: Any, capsys: pytest.CaptureFixture[str]) -> None:
    failing(ZeroDivisionError("by naught"))
    assert main(["doctor"]) == 1
    shown = capsys.readouterr().err
    assert "this is a bug in gemcut: ZeroDivisionError: by naught" in shown
    assert "--verbose" in shown
    assert "Traceback" not in shown


def test_verbose_shows_the_traceback(failing: Any, capsys: pytest.CaptureFixture[str]) -> None:
    failing(ZeroDivisionError("by naught"))
    assert main(["doctor", "--verbose"]) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_lacking(number: int, failing: Any, capsys: pytest.CaptureFixture[str]) -> None:
    failing(OSError(number, "No space left on device", "model.pte"))
    assert main(["doctor"]) == 8
    assert "the disk is full (model.pte)" in capsys.readouterr().err


def test_a_missing_package_names_the_command_that_gets_it(failing: Any, capsys: pytest.CaptureFixture[str]) -> None:
    failing(ModuleNotFoundError("No module named 'torchao.x'", name="torchao.x"))
    assert main(["doctor"]) == 8
    assert install_command("executorch") in capsys.readouterr().err


def test_a_missing_module_of_our_own_is_a_bug(failing: Any) -> None:
    failing(ModuleNotFoundError("No module named 'gemcut.nothing'", name="gemcut.nothing"))
    assert main(["doctor"]) == 1


def test_too_little_memory_is_lacking(failing: Any) -> None:
    failing(MemoryError())
    assert main(["doctor"]) == 8


def test_ctrl_c_ends_with_130(failing: Any, capsys: pytest.CaptureFixture[str]) -> None:
    failing(KeyboardInterrupt())
    assert main(["doctor"]) == 130
    assert capsys.readouterr().err.strip() == "error: interrupted"


def test_sigterm_cleans_up_as_ctrl_c_does(tmp_path: Path) -> None:
    program = """
import sys, time, gemcut.doctor
from gemcut.cli import main
def examine():
    try:
        print("begun", file=sys.__stdout__, flush=True)
        open(sys.argv[1], "w").close()
        time.sleep(60)
    finally:
        open(sys.argv[2], "w").close()
gemcut.doctor.examine = examine
sys.exit(main(["doctor"]))
"""
    begun, cleaned = tmp_path / "begun", tmp_path / "cleaned"
    process = subprocess.Popen([sys.executable, "-c", program, str(begun), str(cleaned)], stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not begun.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert cleaned.exists()
    assert b"interrupted" in said


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["exprt"], 2, "unknown command 'exprt': did you mean 'export'"),
        (["checks", "a"], 2, "unknown command 'checks': did you mean 'check'"),
        (["export"], 2, "there is no --target, and no gemcut.toml in this folder or above it"),
        (["export", "some-model"], 2, "--target is missing"),
        (["export", "--target", "android-arm64", "--context", "0"], 2, "--context"),
        (["export", "--target", "android-arm64", "--format", "tar"], 2, "'tar' is not one of"),
        (["export", "--target", "android-arm64", "--colour"], 2, "No such option"),
        (["export", "--target", "android-arm64", "--runtime", "executorh"], 4, "did you mean 'executorch'"),
        (
            ["export", "--target", "android-arm64", "--runtime", "executorch,executorch"],
            2,
            "name each runtime once, separated by commas",
        ),
        (["export", "--target", "android-arm64", "--runtime", "executorch", "--runtime", "litert"], 2, "given twice"),
        (["plan", "--target", "android"], 4, "did you mean 'android-arm64'"),
        (["plan", "--target", "android-arm64", "--recipe", "int44"], 4, "did you mean 'int4'"),
        (["targets", "show", "linux-x64"], 4, "did you mean 'linux-x86_64'"),
        (["targets", "sho"], 2, "sho"),
        (["recipes", "show", "flot32"], 4, "did you mean 'float32'"),
        (["inspect", "nowhere"], 2, "nowhere"),
        (["validate", "nowhere"], 2, "nowhere"),
        (["bench", "nowhere"], 2, "nowhere"),
        (["chat", "nowhere", "--prompt", "x"], 2, "nowhere"),
        (["chat", "nowhere", "--tools", "none.json", "--prompt", "x"], 2, "none.json"),
    ],
)
def test_a_wrong_word_is_named_with_the_nearest(
    words: list[str],
    code: int,
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == code
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_with_json_a_usage_error_is_a_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["exit_code"] == 2


def test_a_wrong_number_of_threads_is_told_before_any_work(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GEMCUT_THREADS", "many")
    assert main(["targets"]) == 2
    assert "GEMCUT_THREADS is 'many', which isn't a number of threads" in capsys.readouterr().err
