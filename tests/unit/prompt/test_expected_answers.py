"""Expected answers: text, patterns, JSON, and tool calls."""

from __future__ import annotations

from typing import Any

import pytest
from gemcut.prompt.expected import Expected
from gemcut.prompt.toolcalls import parse_tool_calls

ALARM = '<|tool_call>call:set_alarm{time:<|"|>06:30<|"|>,days:[1]}<tool_call|>'
CALL = {"name": "set_alarm", "arguments": {"time": "06:30", "days": [1]}}
TORCH = {"name": "torch", "arguments": {}}


@pytest.mark.parametrize(
    ("kind", "value", "good", "bad"),
    [
        ("text", "Paris.", ["Paris.", " Paris.\n"], ["paris.", "Paris. Yes", ""]),
        ("pattern", r"\b1[38]\b", ["It is 13.", "18"], ["138", "none"]),
        ("pattern", "^Yes", ["Yes, it is"], ["No. Yes"]),
        (
            "json",
            {"a": [1, True, None], "b": {"c": "d"}},
            ['{"b": {"c": "d"}, "a": [1.0, true, null]}', '```json\n{"a": [1, true, null], "b": {"c": "d"}}\n```'],
            ['{"a": [1, 1, null], "b": {"c": "d"}}', '{"a": [1, true, null]}', "Here: {}", ""],
        ),
        ("json", None, ["null"], ["0", ""]),
        ("calls", [CALL], [ALARM, "Sure. " + ALARM], [ALARM + ALARM, "Sure.", ALARM.replace("30", "31"), ALARM[:-9]]),
        (
            "calls",
            [CALL, {"name": "torch", "arguments": {}}],
            [ALARM + "<|tool_call>call:torch{}<tool_call|>"],
            [ALARM],
        ),
        ("calls", [], ["No call."], [ALARM]),
    ],
)
def test_an_answer_is_as_expected_or_it_is_said_what_is_wrong(
    kind: Any, value: Any, good: list[str], bad: list[str]
) -> None:
    expected = Expected(kind, value)
    assert [expected.lacks(reply, parse_tool_calls) for reply in good] == [None] * len(good)
    for reply in bad:
        assert expected.lacks(reply, parse_tool_calls), reply


def test_what_is_wrong_is_said_as_people_read_it() -> None:
    said = Expected("calls", [CALL]).lacks(ALARM.replace("06", "07"), parse_tool_calls)
    assert said == 'set_alarm(time="07:30", days=[1]), expected set_alarm(time="06:30", days=[1])'
    said = Expected("calls", [CALL]).lacks("Done.", parse_tool_calls)
    assert said == "'Done.', expected set_alarm(time=\"06:30\", days=[1])"
    said = Expected("text", "x" * 200).lacks("no", parse_tool_calls)
    assert said is not None
    assert len(said) < 120
