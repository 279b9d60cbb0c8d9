import pytest
from gemcut.prompt.toolcalls import ToolCall, parse_tool_calls


def test_every_kind_of_value_is_read() -> None:
    text = (
        'Sure. <|tool_call>call:do.it-now{text:<|"|>a, {b}: [c]\n<|"|>,n:3,f:-1.5e3,yes:true,no:false,none:null,'
        'list:[1,<|"|>x<|"|>,[],{}],obj:{a:1,<|"|>odd key<|"|>:2},empty:<|"|><|"|>}<tool_call|> Done.'
    )
    assert parse_tool_calls(text) == [
        ToolCall(
            "do.it-now",
            {
                "text": "a, {b}: [c]\n",
                "n": 3,
                "f": -1500.0,
                "yes": True,
                "no": False,
                "none": None,
                "list": [1, "x", [], {}],
                "obj": {"a": 1, "odd key": 2},
                "empty": "",
            },
        )
    ]


def test_several_calls_and_none() -> None:
    one = "<|tool_call>call:a{}<tool_call|>"
    assert [call.name for call in parse_tool_calls(one + "\n" + one.replace("call:a", "call:b"))] == ["a", "b"]
    assert parse_tool_calls("no call here, {a:1}") == []
    assert parse_tool_calls("<|tool_call> call:a { x : 1 , y : [ 2 , 3 ] } <tool_call|>") == [
        ToolCall("a", {"x": 1, "y": [2, 3]})
    ]


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("<|tool_call>call:a{", 19),
        ("<|tool_call>call:a{}", 20),
        ("<|tool_call>call:a{x:}<tool_call|>", 21),
        ("<|tool_call>call:a{x:1,}<tool_call|>", 23),
        ("<|tool_call>call:a{x:1 y:2}<tool_call|>", 23),
        ("<|tool_call>call:a{x:12ab}<tool_call|>", 21),
        ("<|tool_call>call:a{x:tru}<tool_call|>", 21),
        ('<|tool_call>call:a{x:<|"|>never closed}<tool_call|>', 26),
        ("<|tool_call>call:a{x:1,x:2}<tool_call|>", 23),
        ("<|tool_call>call:a{x:[1,2}<tool_call|>", 25),
        ("<|tool_call>call:{x:1}<tool_call|>", 17),
        ('<|tool_call>{"name": "a"}<tool_call|>', 12),
        ("hello <tool_call|>", 6),
        ("<|tool_call>call:a{x:" + "[" * 5000, 85),
    ],
)
def test_malformed_call_names_the_position(text: str, at: int) -> None:
    with pytest.raises(ValueError, match=f"malformed tool call at character {at}:"):
        parse_tool_calls(text)
