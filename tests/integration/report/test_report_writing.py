"""Reports as files, and the command line's part: written at every end, whatever it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from gemcut.errors import LackingError, UnsupportedError, UsageError
from gemcut.report.formats.summary import LIMIT
from gemcut.report.outcome import Outcome
from gemcut.report.writer import ReportFiles, check_files, write_reports


def _files(folder: Path, html: bool = False) -> ReportFiles:
    return ReportFiles(
        junit=folder / "a" / "j.xml",
        sarif=folder / "b.sarif",
        html=folder / "c" / "d" / "r.html" if html else None,
        summary=folder / "s.md",
    )


def test_a_report_of_no_known_form_is_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="unknown report format 'junt': did you mean 'junit'"):
        ReportFiles(junt=tmp_path / "j.xml")


def test_all_reports_are_written_and_their_folders_made(outcomes: tuple[Outcome, ...], tmp_path: Path) -> None:
    pytest.importorskip("plotly", reason="plotly is not installed: pip install 'gemcut[report]'")
    files = _files(tmp_path, html=True)
    assert write_reports(outcomes, files, {}) == ()
    first = {name: path.read_bytes() for name, path in files.named().items()}
    assert len(first) == 4
    assert write_reports(outcomes, files, {}) == ()
    assert {name: path.read_bytes() for name, path in files.named().items()} == first
    assert [path.name for path in tmp_path.rglob(".*")] == []
    mask = os.umask(0o022)
    os.umask(mask)
    assert (tmp_path / "b.sarif").stat().st_mode & 0o777 == 0o666 & ~mask


@pytest.mark.parametrize("flag", ["junit", "sarif", "html", "summary"])
def test_a_place_that_cannot_be_written_is_refused_before_any_work(flag: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match=f"--{flag} .* is a folder"):
        check_files(ReportFiles(**{flag: tmp_path}))
    with pytest.raises(UsageError, match=f"--{flag} .* can't be written: "):
        check_files(ReportFiles(**{flag: tmp_path / "file" / "below.x"}))
    with pytest.raises(UsageError, match=f"--{flag} .* can't be written: "):
        check_files(ReportFiles(**{flag: Path("/proc/gemcut/report.x")}))


def test_one_file_for_two_reports_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--junit and --sarif name the same file"):
        check_files(ReportFiles(junit=tmp_path / "x", sarif=tmp_path / "y" / ".." / "x"))


def test_a_report_that_fails_keeps_none_of_the_others_back(outcomes: tuple[Outcome, ...], tmp_path: Path) -> None:
    (tmp_path / "a").write_text("in the way")
    with pytest.raises(UsageError, match="--junit"):
        write_reports(outcomes, _files(tmp_path), {})
    assert (tmp_path / "b.sarif").is_file()
    assert (tmp_path / "s.md").is_file()


def test_an_old_report_stays_whole_when_a_new_one_cannot_be_written(
    outcomes: tuple[Outcome, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "b.sarif").write_text("old")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(UsageError, match="No space left"):
        write_reports(outcomes, ReportFiles(sarif=tmp_path / "b.sarif"), {})
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("b.sarif", "old")]


def test_the_steps_summary_is_appended_to_and_never_too_long(outcomes: tuple[Outcome, ...], tmp_path: Path) -> None:
    step = tmp_path / "step"
    environ = {"GITHUB_STEP_SUMMARY": str(step)}
    step.write_text("# From another command\n")
    assert write_reports(outcomes, ReportFiles(), environ) == ()
    text = step.read_text()
    assert text.startswith("# From another command\n\n## Gemcut export: 3 of 4 failed\n")
    step.write_text("x" * (LIMIT - 700))
    write_reports(outcomes, ReportFiles(), environ)
    assert LIMIT - 700 < step.stat().st_size <= LIMIT
    step.write_text("x" * LIMIT)
    (said,) = write_reports(outcomes, ReportFiles(), environ)
    assert "full" in said
    assert step.stat().st_size == LIMIT
    (said,) = write_reports(outcomes, ReportFiles(), {"GITHUB_STEP_SUMMARY": str(tmp_path)})
    assert "could not be written" in said
    assert write_reports(outcomes, ReportFiles(), {"GITHUB_STEP_SUMMARY": ""}) == ()


def test_html_without_its_package_is_refused_with_the_command_that_gets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(LackingError) as caught:
        check_files(ReportFiles(html=tmp_path / "x.html"))
    assert "[report]'" in str(caught.value.hint)


# A command as the founder's are, run as one in a process of its own.
_COMMAND = """
    import sys, click, signal, os
    from gemcut import cli
    from gemcut.cli import common, reporting
    from gemcut.errors import CheckpointError, GateError
    from gemcut.report.outcome import Finding, Outcome

    @cli.cli.command("try", cls=common.Command)
    @click.option("--end")
    @reporting.report_options
    @common.json_option
    def command(end, as_json, **flags):
        with reporting.reporting(flags, "export", "chat") as report:
            if end != "nothing":
                report.add(Outcome("export", "first", "published", (Finding("diff.size", True, "as large"),)))
            if end == "gate":
                report.add(Outcome("export", "chat", "failed", (Finding("fidelity.top1", False, "too low", 5),)))
                raise GateError("the gate failed")
            if end == "checkpoint":
                report.add(Outcome("export", "chat", "failed", (Finding("fidelity.top1", False, "too low", 5),)))
                raise CheckpointError("config.json is missing", hint="fetch it")
            if end == "usage":
                raise click.UsageError("no such thing")
            if end == "memory":
                raise MemoryError
            if end == "bug":
                raise ZeroDivisionError("by us")
            if end == "interrupt":
                signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
                os.kill(os.getpid(), signal.SIGINT)
        common.say("done")
        return 0

    cli.COMMANDS["try"] = "x"
    cli.LazyGroup.get_command = lambda self, ctx, name: command
    sys.exit(cli.main())
"""


def _try(folder: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("GITHUB_", "CI_"))}
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_COMMAND), "try", *words],
        cwd=folder,
        env={**clean, **environ},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("end", "code", "rules"),
    [
        ("well", 0, []),
        ("nothing", 0, []),
        ("gate", 5, ["fidelity.top1"]),
        ("checkpoint", 3, ["fidelity.top1", "error.CheckpointError"]),
        ("usage", 2, ["error.UsageError"]),
        ("memory", 8, ["error.LackingError"]),
        ("bug", 1, ["error.Bug"]),
        ("interrupt", 130, ["error.Interrupted"]),
    ],
)
def test_reports_are_written_at_every_end(end: str, code: int, rules: list[str], tmp_path: Path) -> None:
    words = ("--end", end, "--junit", "o/j.xml", "--sarif", "o/s.sarif", "--summary", "o/s.md")
    done = _try(tmp_path, *words, GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(tmp_path / "step"))
    assert done.returncode == code, done.stderr
    (run,) = json.loads((tmp_path / "o/s.sarif").read_text())["runs"]
    assert [result["ruleId"] for result in run["results"]] == rules
    root = ElementTree.parse(tmp_path / "o/j.xml").getroot()
    bad = [case.get("name") for case in root.iter("testcase") if case.find("failure") is not None]
    bad += [case.get("name") for case in root.iter("testcase") if case.find("error") is not None]
    assert bad == rules
    assert (tmp_path / "step").read_text() == (tmp_path / "o/s.md").read_text()
    assert done.stdout == ("done\n" if code == 0 else "")
    assert sum(line.startswith("::error ") for line in done.stderr.splitlines()) == len(rules)
    if end == "checkpoint":
        assert "fetch it" in (tmp_path / "o/s.md").read_text()


def test_json_on_stdout_stays_json_under_github(tmp_path: Path) -> None:
    done = _try(tmp_path, "--end", "checkpoint", "--json", GITHUB_ACTIONS="true")
    assert json.loads(done.stdout)["error"]["exit_code"] == 3
    assert "::error " in done.stderr


def test_a_report_that_cannot_be_written_hides_no_other_error(tmp_path: Path) -> None:
    done = _try(tmp_path, "--end", "gate", "--junit", "/proc/gemcut/j.xml")
    assert done.returncode == 2
    assert "--junit" in done.stderr
    step = tmp_path / "no" / "folder"
    done = _try(tmp_path, "--end", "gate", GITHUB_STEP_SUMMARY=str(step))
    assert done.returncode == 5
    assert "warning: the step's summary could not be written" in done.stderr


def test_help_teaches_the_flags(tmp_path: Path) -> None:
    done = _try(tmp_path, "--help")
    for flag in ("--junit FILE", "--sarif FILE", "--html FILE", "--summary FILE", "GITHUB_STEP_SUMMARY"):
        assert flag in done.stdout
