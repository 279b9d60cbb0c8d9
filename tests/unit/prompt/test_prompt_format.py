"""The file's own form: schema, strictness, reading calls, refusals in words, cases for other implementations."""

from __future__ import annotations

import json
import subprocess
import sys

import jsonschema
import pytest
from gemcut.errors import ConformanceError, UnsupportedError
from gemcut.prompt import format as form
from gemcut.prompt.conformance_cases import cases
from gemcut.prompt.json_writer import SPACE, number_text, write
from gemcut.prompt.parser import call_reader, parse_calls
from gemcut.prompt.renderer import render_prompt
from gemcut.prompt.segments import PromptRefused, segments
from gemcut.prompt.toolcalls import ToolCall

USER = {"role": "user", "content": "Hi"}


def test_shipped_schema_is_the_models(compiled):
    assert form.SCHEMA_FILE.read_text() == form.schema_text()
    schema = json.loads(form.schema_text())
    for name in ("sample", "gemma3", "dated"):
        jsonschema.validate(json.loads(form.prompt_text(compiled(name).prompt)), schema)


def test_round_trip_and_strictness(compiled):
    text = form.prompt_text(compiled("gemma4").prompt)
    assert form.prompt_text(form.read_prompt(text)) == text
    data = json.loads(text)
    with pytest.raises(UnsupportedError, match="schema version 3"):
        form.read_prompt(json.dumps({**data, "schema_version": 3}))
    with pytest.raises(ConformanceError, match="extra"):
        form.read_prompt(json.dumps({**data, "extra": 1}))
    for broken in ("[]", "{", "{}"):
        with pytest.raises(ConformanceError):
            form.read_prompt(broken)


def test_file_of_version_1_is_read_and_has_no_thinking(compiled):
    data = json.loads(form.prompt_text(compiled("gemma4").prompt))
    del data["thinking"], data["reasons"]["thinking"]
    old = form.read_prompt(json.dumps({**data, "schema_version": 1}))
    assert render_prompt(old, [USER]) == render_prompt(compiled("gemma4").prompt, [USER])
    with pytest.raises(PromptRefused, match="an older Gemcut made it"):
        render_prompt(old, [USER], thinking=True)


def test_white_space_is_that_of_str_strip():
    assert set(SPACE) == {chr(n) for n in range(sys.maxunicode + 1) if chr(n).isspace()}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (-3, "-3"),
        (10**20, "100000000000000000000"),
        (2.0, "2.0"),
        (0.0001, "0.0001"),
        (1e-05, "1e-05"),
        (1234567890123456.0, "1234567890123456.0"),
        (1.5e16, "1.5e+16"),
        (1e21, "1e+21"),
        (0.1, "0.1"),
    ],
)
def test_numbers_as_documented(value, text):
    assert number_text(value) == text


def test_writers_as_documented():
    string = form.StringWriter(open='"', close='"', escape="json")
    assert write(string, 'a"\\\n\x01/\x7fé', {}) == '"a\\"\\\\\\n\\u0001/\x7fé"'
    plain = form.StringWriter()
    mapping = form.MapWriter(open="{", between=",", close="}", colon=":", sort="dictsort", key=plain, value=plain)
    assert write(mapping, {"b": "1", "A": "2", "a": "3"}, {}) == "{A:2,a:3,b:1}"
    with pytest.raises(PromptRefused):
        write(form.NumberWriter(), True, {})
    with pytest.raises(PromptRefused, match="inf"):
        write(form.NumberWriter(), float("inf"), {})


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([], "no messages"),
        ([{"role": "developer", "content": "x"}], "the unknown role 'developer'"),
        ([{"role": "user", "content": [{"type": "text", "text": "x"}]}], "not text"),
        ([{"role": "user"}], "is missing"),
        ([USER, {"role": "system", "content": "x"}], "only the first message can be a system message"),
        ([USER, {"role": "tool", "content": "x"}], "doesn't belong to any call"),
        ([{**USER, "images": ["x"]}], "can't carry 'images'"),
        ([USER, {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}], "arguments"),
        ([USER, {"role": "assistant", "reasoning_content": "x", "content": "y"}], "reasoning_content"),
    ],
)
def test_refusals_in_words(compiled, messages, words):
    with pytest.raises(PromptRefused, match=words):
        render_prompt(compiled("sample").prompt, messages)


def test_results_belong_to_calls():
    call = {"id": "a", "function": {"name": "f", "arguments": {}}}
    asked = [USER, {"role": "assistant", "tool_calls": [call]}]
    answered = [*asked, {"role": "tool", "content": "1"}]
    kinds = [s.kind for s in segments(answered, (), "after-system", ("call", "words"))]
    assert kinds == ["user", "call", "result"]
    for result, words in (
        ({"tool_call_id": "b"}, "no call with the id"),
        ({"name": "g"}, "its call is to 'f'"),
    ):
        with pytest.raises(PromptRefused, match=words):
            list(segments([*asked, {"role": "tool", "content": "1", **result}], (), "after-system", ("call",)))


def test_calls_are_read_leniently(compiled):
    gemma, chatml = compiled("gemma4").prompt, compiled("chatml_tools").prompt
    text = (
        'Sure. <|tool_call>call:set_alarm{ time: <|"|>07:30<|"|>, <|"|>days<|"|> : [1, 2.5], on:true, x:null }'
        "<tool_call|>"
    )
    calls, words = parse_calls(gemma, text)
    assert words == "Sure."
    assert [(c.name, c.arguments) for c in calls] == [
        ("set_alarm", {"time": "07:30", "days": [1, 2.5], "on": True, "x": None})
    ]
    text = (
        '<tool_call>{"name":"f","arguments":{"a":"\\u00e9\\"","b":{}}}</tool_call>\n'
        '<tool_call>\n{"name": "g", "arguments": {}}\n</tool_call>'
    )
    assert [(c.name, c.arguments) for c in parse_calls(chatml, text)[0]] == [("f", {"a": 'é"', "b": {}}), ("g", {})]
    assert parse_calls(gemma, "No call {at} all.") == ([], "No call {at} all.")


def test_calls_of_any_family_are_read_in_its_own_form(compiled):
    gemma, chatml = compiled("gemma4").prompt, compiled("chatml_tools").prompt
    wanted = [ToolCall("f", {"a": "x", "n": 2})]
    texts = [
        '<|tool_call>call:f{a:<|"|>x<|"|>,n:2}<tool_call|>',
        '<tool_call>\n{"name": "f", "arguments": {"a": "x", "n": 2}}\n</tool_call>',
    ]
    assert call_reader(gemma)(texts[0]) == call_reader(chatml)(texts[1]) == wanted
    assert call_reader(gemma)(texts[1]) == call_reader(chatml)(texts[0]) == []
    thought = f"<|channel>thought\nMaybe {texts[0]}?<channel|>"
    assert call_reader(gemma)(thought + "No.") == []  # what it only thought of is no call
    assert call_reader(gemma)(thought + texts[0]) == wanted
    for without in (None, compiled("gemma3").prompt):  # of an older bundle, and of a family without tools
        assert call_reader(without)(texts[0]) == wanted
        assert call_reader(without)(texts[1]) == []


@pytest.mark.parametrize(
    "text",
    [
        "<|tool_call>call:f{a:1}",
        "<|tool_call>",
        '<|tool_call>call:f{a:<|"|>x}<tool_call|>',
        "<|tool_call>call:f{a:1,a:2}<tool_call|>",
        "<|tool_call>call:f{a:1 b:2}<tool_call|>",
        "<|tool_call>call:f{a:" + "[" * 80 + "]" * 80 + "}<tool_call|>",
    ],
)
def test_malformed_calls_name_the_place(compiled, text):
    with pytest.raises(ValueError, match="at character"):
        parse_calls(compiled("gemma4").prompt, text)


@pytest.mark.parametrize("name", ["sample", "gemma4"])
def test_cases_are_the_templates_text(compiled, name):
    made = compiled(name)
    found = list(cases(made.prompt, count=60))
    assert found == list(cases(made.prompt, count=60))
    rendered = [c for c in found if c.get("text") is not None]
    assert len(rendered) > 90
    assert any(case["thinking"] for case in rendered) == (name == "gemma4")
    for case in rendered:
        chat = (case["messages"], case["tools"] or None, case["generation"])
        assert case["text"] == made.codec.render(*chat, thinking=case["thinking"])
    replies = [c for c in found if "reply" in c]
    assert any(c["calls"] is None for c in replies)
    assert any(c["calls"] and c["words"] for c in replies)


def test_cases_command_takes_a_prompt_file(compiled, tmp_path):
    path = tmp_path / "prompt.json"
    path.write_text(form.prompt_text(compiled("gemma3").prompt))
    command = [sys.executable, "-m", "gemcut.prompt.conformance_cases"]
    done = subprocess.run([*command, str(path)], capture_output=True, text=True, check=True)
    assert len([json.loads(line) for line in done.stdout.splitlines()]) == 400
    for wrong in ([], [str(tmp_path / "none")], [str(tmp_path / "none.json")]):
        failed = subprocess.run([*command, *wrong], capture_output=True, text=True, check=False)
        assert failed.returncode == 2
        assert failed.stderr.startswith("error: ")
        assert "Traceback" not in failed.stderr


def test_importing_the_package_is_light():
    code = "import sys, gemcut.prompt; print(sorted({'pydantic', 'jinja2', 'numpy', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
