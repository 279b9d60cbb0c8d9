"""Tools in a conversation: calls held back, results given in each template's own form, files checked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gemcut.chat.abilities import takes_objects
from gemcut.chat.calls import WordsAlone
from gemcut.chat.conversation import Chat
from gemcut.chat.options import ChatOptions
from gemcut.chat.tool_files import given_results, read_results, read_tools, typed_result
from gemcut.chat.turns import ToolResult
from gemcut.errors import UsageError
from gemcut.prompt.codec import ChatCodec
from gemcut.prompt.compiler import compile_codec
from gemcut.prompt.toolcalls import ToolCall
from gemcut.sample.phone_tools import TOOLS

from tests.support.table_model import STOP, TableModel

TEMPLATES = Path(__file__).parents[2] / "support" / "templates"
ALARM = [TOOLS["set_alarm"]]
CALLS = {
    "gemma4": '<|tool_call>call:set_alarm{time:<|"|>06:30<|"|>}<tool_call|>',
    "functiongemma": "<start_function_call>call:set_alarm{time:<escape>06:30<escape>}<end_function_call>",
    "chatml_tools": '<tool_call>\n{"name": "set_alarm", "arguments": {"time": "06:30"}}\n</tool_call>',
}


def source(name: str) -> str:
    return (TEMPLATES / f"{name}.jinja").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("content", ["done", {"status": "ok", "at": 7}, ["a", 1]])
def test_a_result_reaches_the_model_as_the_template_writes_it(
    name: str, content: Any, make_codec: Callable[..., ChatCodec]
) -> None:
    codec = make_codec(source(name))
    user = {"role": "user", "content": "Wake me"}
    function = {"name": "set_alarm", "arguments": {"time": "06:30"}}
    as_is = isinstance(content, str) or (isinstance(content, dict) and takes_objects(codec))
    chat_so_far = [
        user,
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "call00200", "type": "function", "function": function}],
        },
        {
            "role": "tool",
            "tool_call_id": "call00200",
            "name": "set_alarm",
            "content": content if as_is else json.dumps(content),
        },
    ]
    first = tuple(codec.encode(codec.render([user], ALARM, True)))
    second = tuple(codec.encode(codec.render(chat_so_far, ALARM, True)))
    replies = {first: (*codec.encode(CALLS[name]), STOP[1]), second: (*codec.encode("It is set."), STOP[1])}
    runner = TableModel(codec.tokenizer.get_vocab_size(), replies)
    prompt = compile_codec(codec, STOP)
    chat = Chat(runner, codec, frozenset(STOP), options=ChatOptions(tools=ALARM), prompt=prompt)
    assert "".join(piece.text for piece, _ in chat.reply("Wake me")) == CALLS[name]
    assert chat.last is not None
    assert [str(call) for call in chat.last.calls] == ['set_alarm(time="06:30")']
    assert "".join(piece.text for piece, _ in chat.answer([ToolResult("set_alarm", content)])) == "It is set."
    turn = chat.last
    assert (turn.user, turn.reply, turn.results) == ("", "It is set.", (ToolResult("set_alarm", content),))


def test_a_template_without_results_refuses_them(make_codec: Callable[..., ChatCodec]) -> None:
    declares = (
        "{{ bos_token }}{% for tool in tools or [] %}{{ tool.function.name }}{% endfor %}"
        "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}"
    )
    codec = make_codec(declares)
    reply = (*codec.encode(CALLS["gemma4"]), STOP[1])
    asked = tuple(codec.encode(codec.render([{"role": "user", "content": "Hi"}], ALARM, True)))
    runner = TableModel(codec.tokenizer.get_vocab_size(), {asked: reply})
    chat = Chat(runner, codec, frozenset(STOP), options=ChatOptions(tools=ALARM))
    list(chat.reply("Hi"))
    with pytest.raises(UsageError, match="no place for a tool's result"):
        chat.answer([ToolResult("set_alarm", "ok")])


def test_templates_that_write_objects_are_told_from_those_that_write_text(make_codec: Callable[..., ChatCodec]) -> None:
    assert takes_objects(make_codec(source("gemma4")))
    assert not takes_objects(make_codec(source("chatml_tools")))  # it would write Python's own form
    assert not takes_objects(make_codec())  # it writes tool turns, but no name of a key


@pytest.mark.parametrize(
    ("pieces", "shown", "held"),
    [
        (["Sure. ", "<|call", ">f()", " and"], "Sure. ", "<|call>f() and"),
        (["Sure. <", "|ca", "ll>f()"], "Sure. ", "<|call>f()"),
        (["a <", "| b <", "b>"], "a <| b <b>", ""),
        (["no call <|c"], "no call ", "<|c"),
    ],
)
def test_calls_are_held_back_while_they_come(pieces: list[str], shown: str, held: str) -> None:
    words = WordsAlone("<|call>")
    assert "".join(words.add(piece) for piece in pieces) == words.shown == shown
    assert words.held == held
    assert WordsAlone("").add("<|call>") == "<|call>"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is not JSON"),
        ('{"name": "f"}', "not a JSON list"),
        ('[{"name": "f"}]', "declaration 1 has no function"),
        ('[{"function": {"name": 1}}]', "declaration 1 has no function"),
        ('[{"function": {"name": "f", "parameters": null}}]', "parameters of f are not"),
        ('[{"function": {"name": "f", "parameters": {"properties": []}}}]', "parameters of f are not"),
        ('[{"function": {"name": "f"}}, {"function": {"name": "f"}}]', "declares f twice"),
    ],
)
def test_declarations_are_checked(content: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "tools.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UsageError, match=said):
        read_tools(str(path))


def test_the_samples_own_tools_have_a_name() -> None:
    assert [tool["function"]["name"] for tool in read_tools("sample")] == list(TOOLS)
    with pytest.raises(UsageError, match=r"nowhere\.json") as caught:
        read_tools("nowhere.json")
    assert "--tools sample" in caught.value.hint


def test_results_are_checked_against_the_declarations(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text('{"set_alarm": {"status": "ok"}}', encoding="utf-8")
    given = read_results(path, ALARM)
    assert given_results([ToolCall("set_alarm", {})], given) == [ToolResult("set_alarm", {"status": "ok"})]
    with pytest.raises(UsageError, match=r"called get_weather\(place=\"Oslo\"\), and --tool-results has no"):
        given_results([ToolCall("get_weather", {"place": "Oslo"})], given)
    path.write_text('{"set_alrm": 1}', encoding="utf-8")
    with pytest.raises(UsageError, match="declares no set_alrm") as caught:
        read_results(path, ALARM)
    assert "did you mean 'set_alarm'" in caught.value.hint
    path.write_text("[1]", encoding="utf-8")
    with pytest.raises(UsageError, match="not a JSON object"):
        read_results(path, ALARM)


def test_a_typed_result_is_json_where_it_is_an_object_or_a_list() -> None:
    typed = ['{"a": 1}', "[1]", "9", "rain", "{rain", "true"]
    assert [typed_result(text) for text in typed] == [{"a": 1}, [1], "9", "rain", "{rain", "true"]
