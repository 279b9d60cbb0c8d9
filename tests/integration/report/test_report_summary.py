"""The Markdown summary, read by a real Markdown library, and GitHub's workflow commands, read as its runner does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from gemcut.report.annotations import MOST, workflow_commands
from gemcut.report.formats.summary import LIMIT, markdown, summary
from gemcut.report.outcome import Finding, Outcome

from tests.support.report_samples import HOSTILE

GITHUB = {"GITHUB_ACTIONS": "true"}


def _tokens(text: str) -> list[Any]:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(text)


def _plain(token: Any) -> str:
    """The text that a reader sees of an inline token."""
    assert all(child.type in ("text", "text_special", "softbreak") for child in token.children), token.children
    return "".join("\n" if child.type == "softbreak" else child.content for child in token.children)


def _tables(text: str) -> list[list[list[str]]]:
    found: list[list[list[str]]] = []
    for token in _tokens(text):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append([])
        elif token.type == "inline" and found and token.level > 3:
            found[-1][-1].append(_plain(token))
    return found


@pytest.mark.parametrize(
    "text",
    [
        HOSTILE,
        "a | b",
        "**bold** _it_ ~~no~~",
        "<b>&amp;</b>",
        "# no heading",
        "1. no list",
        "- no list",
        "+ no",
        "= no",
        "[a](http://b)",
        "`code",
        "\\",
        "a\\|b",
        "$x$ :smile: @you #1",
        "![i](j)",
        "0.0027",
        "-0.5",
        "12.",
        "- ",
        "---",
        "> q",
        "</details>",
        "https://example.org",
        "    indented",
        "*",
        "|",
        "a\nb\r\nc\u2028d",
    ],
)
def test_any_text_is_shown_as_it_is(text: str) -> None:
    wanted = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    for form in ("| {} | y |\n| --- | --- |\n| {} | z |\n", "- {}\n", "### {}\n"):
        inline = [token for token in _tokens(form.replace("{}", markdown(text))) if token.type == "inline"]
        assert _plain(inline[0]) == wanted
        assert not any(token.type == "html_block" for token in _tokens(form.replace("{}", markdown(text))))


def test_the_summary_shows_what_failed_first(outcomes: tuple[Outcome, ...]) -> None:
    text = summary(outcomes)
    headings = [_tokens(text)[i + 1] for i, token in enumerate(_tokens(text)) if token.type == "heading_open"]
    assert [_plain(heading) for heading in headings] == [
        "Gemcut export: 3 of 4 failed",
        "❌ chat (executorch): failed",
        "❌ chat-broken (executorch): failed",
        "❌ tiny: failed",
    ]
    overview, first, *_ = _tables(text)
    assert [row[0] for row in overview[1:]] == ["❌ chat", "❌ chat-broken", "❌ tiny", "✅ old"]
    assert overview[1][4] == f"{len(outcomes[0].failures)} of {len(outcomes[0].findings)}"
    at = overview[0].index("fidelity")
    assert overview[1][at].startswith("users won't notice (0.00")
    assert [row[at] for row in overview[3:]] == ["-", "-"]  # an error, and nothing to do
    assert len(first) == 1 + len(outcomes[0].failures)
    assert ["budget: decode speed", "0.71 x", "0.90 x"] in [row[:3] for row in first]
    assert text.index("### ") < text.index("<details>")
    assert all(len(row) == len(table[0]) for table in _tables(text) for row in table)
    assert sum(len(table) - 1 for table in _tables(text) if table[0][0] == "check") == sum(
        len(one.findings) for one in outcomes
    )


def test_a_summary_that_is_too_long_says_so_and_keeps_the_heading(outcomes: tuple[Outcome, ...]) -> None:
    many = tuple(Finding(f"diff.f{i}", False, "ü" * 400, 5) for i in range(3000))
    text = summary((replace(outcomes[0], findings=many),))
    assert LIMIT * 0.8 < len(text.encode()) <= LIMIT
    assert text.startswith("## Gemcut export: failed")
    assert text.rstrip().endswith("*More was found than fits here; the other reports have all of it.*")
    assert summary(outcomes, 10) == ""
    for limit in (200, 1000, 5000, 20000):
        assert len(summary(outcomes, limit).encode()) <= limit


def _as_the_runner(line: str) -> tuple[str, dict[str, str], str]:
    """GitHub's own parsing (actions/runner, ActionCommand.TryParseV2)."""
    assert line.startswith("::")
    assert "\n" not in line
    assert "\r" not in line
    head, _, data = line[2:].partition("::")
    command, _, pairs = head.partition(" ")
    properties = dict(pair.split("=", 1) for pair in pairs.split(",") if pair)

    def back(text: str, also: dict[str, str]) -> str:
        for coded, char in {**also, "%0D": "\r", "%0A": "\n", "%25": "%"}.items():
            text = text.replace(coded, char)
        return text

    return command, {k: back(v, {"%3A": ":", "%2C": ","}) for k, v in properties.items()}, back(data, {})


def test_annotations_come_back_from_githubs_parser_as_they_were(outcomes: tuple[Outcome, ...]) -> None:
    (line,) = workflow_commands((outcomes[2],), GITHUB)
    command, properties, message = _as_the_runner(line)
    assert command == "error"
    assert properties == {"file": "x y/ü:1,2.toml", "line": "3", "title": "tiny: error: CheckpointError"}
    assert message == f"can't read <a&b> | {HOSTILE}\n100% sure: a, b\r\nc"


def test_annotations_are_for_github_alone_and_no_more_than_it_shows(outcomes: tuple[Outcome, ...]) -> None:
    assert workflow_commands(outcomes, {}) == []
    assert workflow_commands(outcomes, {"GITHUB_ACTIONS": "false"}) == []
    failed = sum(len(one.failures) for one in outcomes)
    assert failed > MOST
    lines = workflow_commands(outcomes, GITHUB)
    assert len(lines) == MOST
    assert _as_the_runner(lines[-1])[2].startswith(f"{failed - MOST + 1} more")
    let_through = workflow_commands((replace(outcomes[1], state="published"),), GITHUB)
    assert {_as_the_runner(line)[0] for line in let_through} == {"warning"}
    assert workflow_commands((outcomes[3],), GITHUB) == []
