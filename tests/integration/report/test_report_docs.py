"""What docs/reference/reports.md shows is run as it stands."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.support.command import gemcut

DOCS = (Path(__file__).parents[3] / "docs" / "reference" / "reports.md").read_text(encoding="utf-8")


def _block(kind: str) -> str:
    (found,) = re.findall(rf"```{kind}\n(.*?)```", DOCS, re.S)
    return str(found)


def _run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return gemcut(*words, cwd=folder)


def test_the_command_line(sample_int4: Any, tmp_path: Path) -> None:
    pytest.importorskip("plotly", reason="plotly is not installed: pip install 'gemcut[report]'")
    program, *words = shlex.split(_block("sh"))
    assert program == "gemcut"
    (tmp_path / "bundles").mkdir()
    (tmp_path / words[1]).symlink_to(sample_int4.path)
    done = _run(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    suite = ElementTree.parse(tmp_path / "reports/gemcut.xml").getroot().find("testsuite")
    assert suite is not None
    assert int(suite.get("tests", "0")) > 10
    assert suite.get("failures") == suite.get("errors") == "0"
    assert json.loads((tmp_path / "reports/gemcut.sarif").read_text())["runs"][0]["results"] == []
    assert "validate: passed" in (tmp_path / "reports/gemcut.md").read_text()
    html = (tmp_path / "reports/gemcut.html").read_text()
    assert 'id="b1-plot-fidelity"' in html
    assert 'id="b1-plot-conformance"' in html


def test_a_damaged_bundle_is_an_error_in_every_report(sample_int4: Any, tmp_path: Path) -> None:
    shutil.copytree(sample_int4.path, tmp_path / "bundle")
    with (tmp_path / "bundle" / "LICENSE").open("ab") as file:
        file.write(b"x")
    done = _run(tmp_path, "validate", "bundle", "--junit", "j.xml", "--sarif", "s.sarif", "--summary", "s.md")
    assert done.returncode == 6
    assert [e.get("type") for e in ElementTree.parse(tmp_path / "j.xml").iter("error")] == ["error.ConformanceError"]
    (result,) = json.loads((tmp_path / "s.sarif").read_text())["runs"][0]["results"]
    assert "LICENSE is too long" in result["message"]["text"]
    assert "LICENSE is too long" in (tmp_path / "s.md").read_text()


def test_the_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(_block("python"), "docs/reference/reports.md", "exec"), {})
    assert len(ElementTree.parse("reports/gemcut.xml").getroot().findall(".//failure")) == 1
    assert len(json.loads(Path("reports/gemcut.sarif").read_text())["runs"][0]["results"]) == 1


def test_every_area_of_rules_is_explained() -> None:
    from gemcut.report.rules import rules

    told = set(re.findall(r"^\| `(\w+)` \| .* \| [^|]+ \|$", DOCS, re.M))
    assert told == set(rules().area) - {"other"}
