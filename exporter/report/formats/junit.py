"""Outcomes as JUnit XML: a testsuite for each, a testcase for each finding.

The form is that of Jenkins' xunit plugin (junit-10.xsd), which Jenkins, GitLab and GitHub's actions read. It is written
with Python's own ElementTree: junitparser gives ``testsuites`` an attribute that the schema refuses, joins suites with
the same name, and writes other bytes if lxml is installed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from ...util.text import path_text
from .. import wording as shown
from .base import ReportFormat

if TYPE_CHECKING:
    from ..outcome import Finding, Outcome

# All characters that XML 1.0 doesn't allow (section 2.2, Char); a model's reply may hold any of them.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(outcomes: Sequence[Outcome]) -> bytes:
    """Return the XML document in UTF-8. The same outcomes give the same bytes."""
    root = ElementTree.Element("testsuites", name="gemcut")
    for outcome, name in zip(outcomes, shown.numbered(_suite_name(one) for one in outcomes), strict=True):
        root.append(_suite(outcome, name))
    suites = list(root)
    for figure in ("tests", "failures", "errors"):
        root.set(figure, str(sum(int(suite.get(figure, "0")) for suite in suites)))
    root.set("time", _seconds(sum(sum(one.seconds.values()) for one in outcomes)))
    ElementTree.indent(root)
    out: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return out + b"\n"


def _suite_name(outcome: Outcome) -> str:
    return f"{outcome.action} {shown.label(outcome)}"


def _suite(outcome: Outcome, name: str) -> ElementTree.Element:
    suite = ElementTree.Element("testsuite", name=_text(name))
    _properties(suite, outcome)
    classname = _text(f"gemcut.{outcome.action}.{shown.label(outcome).replace('.', '_')}")  # a dot parts packages
    for finding, title in zip(outcome.findings, shown.numbered(f.rule for f in outcome.findings), strict=True):
        _case(suite, outcome, finding, _text(title), classname)
    if not outcome.findings:
        _bare(suite, outcome, classname)
    for figure, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(figure, str(len(suite.findall(f"testcase/{tag}"))))
    suite.set("tests", str(len(suite.findall("testcase"))))
    suite.set("time", _seconds(sum(outcome.seconds.values())))
    if outcome.notes:
        ElementTree.SubElement(suite, "system-out").text = _text("\n".join(outcome.notes))
    return suite


def _properties(suite: ElementTree.Element, outcome: Outcome) -> None:
    known = {
        "state": outcome.state,
        "runtime": outcome.runtime,
        "target": outcome.target,
        "bundle": path_text(outcome.bundle) if outcome.bundle else "",
        **(
            {f"run.{name}_bytes": str(count) for name, count in outcome.evidence.run_memory.items()}
            if outcome.evidence
            else {}
        ),
        "command_memory_bytes": str(outcome.command_memory or ""),
        **{f"seconds.{stage}": _seconds(taken) for stage, taken in outcome.seconds.items()},
        **{f"memory.{stage}": str(count) for stage, count in outcome.memory.items()},
    }
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in known.items():
        if value:
            ElementTree.SubElement(properties, "property", name=_text(name), value=_text(value))


def _case(suite: ElementTree.Element, outcome: Outcome, finding: Finding, title: str, classname: str) -> None:
    case = ElementTree.SubElement(suite, "testcase", name=title, classname=classname, time="0")
    if finding.passed:
        ElementTree.SubElement(case, "system-out").text = _text(finding.message)
        return
    path, line = shown.place_of(finding, outcome)
    known = {
        "measured": shown.number(finding.rule, finding.measured) if finding.measured is not None else "",
        "limit": shown.number(finding.rule, finding.limit) if finding.limit is not None else "",
        "where": shown.where(finding),
        "hint": finding.hint or "",
        "file": f"{path}:{line}" if finding.place or outcome.place else path,
        "exit code": str(finding.exit_code),
    }
    tag = "error" if finding.rule.startswith("error.") else "failure"
    failure = ElementTree.SubElement(case, tag, type=_text(finding.rule), message=_text(finding.message))
    failure.text = _text("\n".join([finding.message, *(f"{name}: {value}" for name, value in known.items() if value)]))


def _bare(suite: ElementTree.Element, outcome: Outcome, classname: str) -> None:
    """Add a case for an outcome of which nothing was checked: viewers take an empty suite for a broken one."""
    case = ElementTree.SubElement(suite, "testcase", name=outcome.state, classname=classname, time="0")
    said = _text("; ".join(outcome.notes) or outcome.state)
    if outcome.state == "failed":
        ElementTree.SubElement(case, "failure", type="failed", message=said)
    elif outcome.state == "up to date":
        ElementTree.SubElement(case, "skipped", message=said)


def _seconds(value: float) -> str:
    return f"{max(value, 0.0):.3f}"


def _text(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)


class JUnit(ReportFormat):
    """See ``ReportFormat``."""

    name = "junit"
    suffix = ".xml"
    help = "JUnit XML, with a test for each thing checked, as CI services show them."

    def render(self, outcomes: Sequence[Outcome], environ: Mapping[str, str]) -> bytes:
        """See ``ReportFormat``."""
        return junit_xml(outcomes)


FORMAT = JUnit()
