"""JUnit and SARIF against the published schemas, and against readers of others."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from gemcut.report.formats.junit import junit_xml
from gemcut.report.formats.sarif import sarif_json
from gemcut.report.outcome import Finding, Outcome, Place

from tests.support.report_samples import HOSTILE

SCHEMAS = Path(__file__).parent / "schemas"


def _valid_junit(data: bytes) -> Any:
    etree = pytest.importorskip("lxml.etree", reason="lxml is not installed: pip install 'gemcut[test]'")
    root = etree.fromstring(data)
    etree.XMLSchema(file=str(SCHEMAS / "junit-10.xsd")).assertValid(root.getroottree())
    return root


def _valid_sarif(data: bytes) -> Any:
    import jsonschema

    schema = json.loads((SCHEMAS / "sarif-2.1.0.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    log = json.loads(data)
    jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker()).validate(log)
    return log


def test_junit_is_valid_and_has_a_case_for_every_finding(outcomes: tuple[Outcome, ...]) -> None:
    root = _valid_junit(junit_xml(outcomes))
    suites = root.findall("testsuite")
    assert [s.get("name") for s in suites] == [
        "export chat (executorch)",
        "export chat-broken (executorch)",
        "export tiny",
        "export old",
    ]
    for suite, outcome in zip(suites, outcomes, strict=True):
        cases = suite.findall("testcase")
        assert len(cases) == max(len(outcome.findings), 1) == int(suite.get("tests"))
        assert len({case.get("name") for case in cases}) == len(cases)
        bad = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
        assert len(bad) == len(outcome.failures) == int(suite.get("failures")) + int(suite.get("errors"))
    assert suites[3].find("testcase/skipped").get("message") == "nothing moved"
    assert int(root.get("errors")) == 1


def test_junit_says_what_failed_in_words(outcomes: tuple[Outcome, ...]) -> None:
    root = _valid_junit(junit_xml(outcomes))
    (failure,) = root.xpath("//testsuite[2]/testcase[@name='fidelity.mean_kl']/failure")
    assert failure.get("type") == "fidelity.mean_kl"
    assert "limit: 0.1" in failure.text
    assert "exit code: 5" in failure.text
    assert "file: gemcut.toml:12" in failure.text
    (error,) = root.xpath("//testsuite[3]/testcase/error")
    assert error.get("message") == f"can't read <a&b> | {HOSTILE}".replace("\0", "\ufffd").replace("\x1b", "\ufffd")


def test_junit_is_read_by_junitparser(outcomes: tuple[Outcome, ...], tmp_path: Path) -> None:
    junitparser = pytest.importorskip("junitparser", reason="not installed: pip install 'gemcut[test]'")
    (tmp_path / "junit.xml").write_bytes(junit_xml(outcomes))
    read = junitparser.JUnitXml.fromfile(str(tmp_path / "junit.xml"))
    before = (read.tests, read.failures, read.errors)
    read.update_statistics()
    assert before == (read.tests, read.failures, read.errors)
    assert read.failures == sum(len(one.failures) for one in outcomes) - 1


def test_reports_of_nothing_are_valid() -> None:
    assert _valid_junit(junit_xml(())).get("tests") == "0"
    assert _valid_sarif(sarif_json((), {}))["runs"][0]["results"] == []
    failed = Outcome("check", "x", "failed", notes=("why",))
    assert _valid_junit(junit_xml((failed,))).find("testsuite/testcase/failure").get("message") == "why"


def test_sarif_is_valid_and_has_what_failed_alone(outcomes: tuple[Outcome, ...]) -> None:
    (run,) = _valid_sarif(sarif_json(outcomes, {}))["runs"]
    failures = [(one, finding) for one in outcomes for finding in one.failures]
    rules = run["tool"]["driver"]["rules"]
    assert len(run["results"]) == len(failures) > 8
    for result, (_, finding) in zip(run["results"], failures, strict=True):
        assert result["ruleId"] == finding.rule == rules[result["ruleIndex"]]["id"]
        assert result["level"] == "error"
        assert finding.message in result["message"]["text"]
    assert all(len(rule["help"]["text"]) > 60 and rule["fullDescription"]["text"] for rule in rules)
    assert not run["invocations"][0]["executionSuccessful"]


def test_sarif_places(outcomes: tuple[Outcome, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "app").mkdir()
    monkeypatch.chdir(tmp_path / "app")
    (run,) = _valid_sarif(sarif_json(outcomes, {"GITHUB_WORKSPACE": str(tmp_path)}))["runs"]
    at = [result["locations"][0]["physicalLocation"] for result in run["results"]]
    assert at[0] == {
        "artifactLocation": {"uri": "app/gemcut.toml", "uriBaseId": "%SRCROOT%"},
        "region": {"startLine": 12},
    }
    assert unquote(at[-1]["artifactLocation"]["uri"]) == "app/x y/ü:1,2.toml"
    assert re.fullmatch(r"[A-Za-z0-9%/._-]+", at[-1]["artifactLocation"]["uri"])
    assert at[-1]["region"] == {"startLine": 3}

    away = replace(outcomes[2], findings=(Finding("lock.file", False, "moved", 2, place=Place("/etc/a b", 0)),))
    (run,) = _valid_sarif(sarif_json((away,), {}))["runs"]
    assert run["results"][0]["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "file:///etc/a%20b"},
        "region": {"startLine": 1},
    }


def test_a_bundle_outside_the_repository_is_named_and_its_folder_is_not(outcomes: tuple[Outcome, ...]) -> None:
    away = replace(outcomes[1], place=None)
    assert away.bundle is not None
    data = sarif_json((away,), {"GITHUB_WORKSPACE": "/somewhere/else"})
    (run,) = _valid_sarif(data)["runs"]
    assert run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "chat-broken"
    assert str(away.bundle.parent) not in data.decode()


def _prints(outcomes: tuple[Outcome, ...]) -> list[str]:
    (run,) = json.loads(sarif_json(outcomes, {}))["runs"]
    return [result["partialFingerprints"]["primaryLocationLineHash"] for result in run["results"]]


def test_sarif_fingerprints_stay_when_figures_and_lines_move(outcomes: tuple[Outcome, ...]) -> None:
    before = _prints(outcomes)
    assert len(set(before)) == len(before)

    def moved(f: Finding) -> Finding:
        message = f.message.partition(": ")[0] + ": something else"
        return replace(f, message=message, measured=1e9, place=Place("gemcut.toml", 99))

    assert _prints(tuple(replace(one, findings=tuple(map(moved, one.findings))) for one in outcomes)) == before
    assert set(_prints((replace(outcomes[0], name="other"),))).isdisjoint(before)
    lacks = [Finding("runtime.operator", False, f"it lacks the operator aten::{name}", 6) for name in "abc"]
    three = _prints((Outcome("check", "x", "failed", tuple(lacks)),))
    assert len(set(three)) == 3
    assert _prints((Outcome("check", "x", "failed", tuple(lacks[1:])),)) == three[1:]


def test_what_was_published_all_the_same_is_a_warning(outcomes: tuple[Outcome, ...]) -> None:
    (run,) = _valid_sarif(sarif_json((replace(outcomes[1], state="published"),), {}))["runs"]
    assert {result["level"] for result in run["results"]} == {"warning"}


def test_figures_that_are_not_numbers(outcomes: tuple[Outcome, ...]) -> None:
    finding = Finding("fidelity.mean_kl", False, "not a number", 5, float("inf"), float("nan"))
    odd = (Outcome("validate", "n\ud800", "failed", (finding,)),)
    (run,) = _valid_sarif(sarif_json(odd, {}))["runs"]
    assert run["results"][0]["properties"]["measured"] == "infinite"
    assert "measured: infinite" in _valid_junit(junit_xml(odd)).find("testsuite/testcase/failure").text


def test_the_same_outcomes_give_the_same_bytes(outcomes: tuple[Outcome, ...]) -> None:
    assert junit_xml(outcomes) == junit_xml(outcomes)
    assert sarif_json(outcomes, {}) == sarif_json(outcomes, {})
