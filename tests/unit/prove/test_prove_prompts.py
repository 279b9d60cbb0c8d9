import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from gemcut.errors import CheckpointError, UsageError
from gemcut.prompt.chats import Prompt, encode_prompt
from gemcut.prompt.codec import ChatCodec
from gemcut.prompt.expected import Expected
from gemcut.prove.prompt_file import load_prompts, prompts_schema, read_prompt
from gemcut.prove.prompts import KINDS, LEAST_PROMPTS, abilities, built_in_prompts, choose_prompts, needs

from tests.support.table_model import TEMPLATE

NO_TOOLS = TEMPLATE.replace("{%- if tools %}", "{%- if false %}")
NO_SYSTEM = TEMPLATE.replace(
    "{{ bos_token }}",
    "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}",
)


# Calls and their results too, and a thinking channel as Gemma 4 has it.
WHOLE = TEMPLATE.replace(
    "{{ bos_token }}", "{{ bos_token }}{% if enable_thinking is defined and enable_thinking %}<think>{% endif %}"
).replace("{{ message.content }}", "{{ message.tool_calls | tojson if message.tool_calls else message.content }}")


def _kinds(prompts: list[Prompt]) -> set[str]:
    return {prompt.kind for prompt in prompts}


def test_built_in_prompts_are_enough_for_a_template_that_takes_only_plain_chats() -> None:
    plain = [p for p in built_in_prompts() if p.kind == "chat"]
    assert len(plain) >= LEAST_PROMPTS
    text = "".join(str(p.messages) for p in built_in_prompts())
    assert any(ord(c) > 0x1F000 for c in text)  # Emoji, and hieroglyphs for the byte fallback.


def test_template_decides_which_kinds_are_used(make_codec: Callable[..., ChatCodec]) -> None:
    every = choose_prompts(make_codec(), 64, 1024)
    assert _kinds(every) == {"chat", "tool", "system", "multi-turn", "long"}
    assert "tool" not in _kinds(choose_prompts(make_codec(NO_TOOLS), 64, 1024))
    assert "system" not in _kinds(choose_prompts(make_codec(NO_SYSTEM), 64, 1024))
    base = choose_prompts(make_codec(None), 64, 1024)
    assert _kinds(base) == {"text"}
    for chosen in (every, base):
        assert len(chosen) >= LEAST_PROMPTS
        assert len({p.id for p in chosen}) == len(chosen)


def test_every_kind_that_the_template_can_do_has_a_prompt(make_codec: Callable[..., ChatCodec]) -> None:
    codec = make_codec(WHOLE)
    assert abilities(codec) == set(KINDS)
    assert abilities(make_codec()) == {"tool", "system", "multi-turn"}
    assert abilities(make_codec(None)) == frozenset()
    chosen = choose_prompts(codec, None, 1024)
    assert set(KINDS) <= _kinds(chosen)
    thinking = next(p for p in chosen if p.thinking)
    assert encode_prompt(codec, thinking)[0].startswith("<bos><think>")
    assert "<think>" not in encode_prompt(codec, replace(thinking, thinking=False))[0]
    own = [Prompt(f"own-{n}", "chat", ({"role": "user", "content": "Hi"},)) for n in range(LEAST_PROMPTS)]
    with_own = choose_prompts(codec, None, 1024, own)
    assert frozenset().union(*map(needs, with_own)) == set(KINDS)
    assert LEAST_PROMPTS < len(with_own) <= LEAST_PROMPTS + len(KINDS)


def test_template_that_drops_what_it_is_given_is_not_asked_for_it(make_codec: Callable[..., ChatCodec]) -> None:
    silent = WHOLE.replace("{%- for message in messages %}", "{%- for message in messages if message.role == 'user' %}")
    assert abilities(make_codec(silent)) == {"tool", "thinking"}


def test_own_prompt_may_ask_for_thinking(tmp_path: Path) -> None:
    path = tmp_path / "golden_prompts.jsonl"
    path.write_text('{"id": "a", "thinking": true, "messages": [{"role": "user", "content": "x"}]}\n')
    assert [(p.kind, p.thinking) for p in load_prompts(path)] == [("thinking", True)]


@pytest.mark.parametrize("window", [16, 512, 3000])
def test_the_long_prompt_is_past_the_window_and_inside_the_context(codec: ChatCodec, window: int) -> None:
    prompts = {p.id: p for p in choose_prompts(codec, window, 4096)}
    length = len(encode_prompt(codec, prompts["long"])[1])
    assert window < length < 4096 - 32
    assert "long" not in {p.id for p in choose_prompts(codec, 512, 512)}
    assert "long" not in {p.id for p in choose_prompts(codec, None, 4096)}


def test_own_prompts_come_first_and_replace_the_built_in_ones(codec: ChatCodec, tmp_path: Path) -> None:
    path = tmp_path / "golden_prompts.jsonl"
    lines = [{"id": f"own-{n}", "messages": [{"role": "user", "content": f"Call {n}"}]} for n in range(30)]
    lines[0]["tools"] = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    path.write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    own = load_prompts(path)
    assert own[0].kind == "tool"
    whole = choose_prompts(codec, None, 512, own)
    assert whole[: len(own)] == own
    assert [p.id for p in whole[len(own) :]] == ["system-brief", "turns-capital"]  # what the own ones don't show
    few = choose_prompts(codec, 64, 1024, own[:3])
    assert few[:3] == own[:3]
    assert len(few) == LEAST_PROMPTS


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 2: not JSON"),
        ("[]", "line 2: not a JSON object"),
        ('{"id": "a"}', "line 2: give either messages or a text"),
        ('{"id": "a", "text": "x", "messages": [{"role": "user"}]}', "line 2: give either messages or a text"),
        ('{"id": "a", "messages": [{"content": "x"}]}', "line 2: each message needs a role"),
        ('{"text": "x"}', "line 2: id: field required"),
        ('{"id": "a", "text": "x", "mesages": []}', "unknown key 'mesages': did you mean 'messages'"),
        ('{"id": "a", "text": "x", "expected": {"txt": "y"}}', "unknown key 'txt': did you mean 'text'"),
        ('{"id": "a", "text": "x", "expected": {}}', "give one of text, pattern, json and calls"),
        ('{"id": "a", "text": "x", "expected": {"text": "a", "json": 1}}', "give one of text"),
        ('{"id": "a", "text": "x", "expected": {"text": null}}', "text is null"),
        ('{"id": "a", "text": "x", "expected": {"pattern": "("}}', "not a regular expression"),
        ('{"id": "a", "text": "x", "expected": {"calls": [{"args": {}}]}}', "name: field required"),
        ('{"id": "a", "text": "x", "expected": {"text": "y"}, "add_generation_prompt": false}', "needs add_generation"),
        ('{"id": "first", "text": "x"}', "two prompts have the id 'first'"),
    ],
)
def test_own_prompts_that_cannot_be_read_are_named(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "golden_prompts.jsonl"
    path.write_text('{"id": "first", "text": "x"}\n' + line + "\n")
    with pytest.raises(CheckpointError, match=said):
        load_prompts(path)


def test_a_context_without_room_is_refused(codec: ChatCodec) -> None:
    with pytest.raises(UsageError, match="context of 64") as caught:
        choose_prompts(codec, None, 64)
    assert "--context" in str(caught.value.hint)


def test_other_languages_can_be_left_out_and_all_that_is_built_in(make_codec: Callable[..., ChatCodec]) -> None:
    for template in (TEMPLATE, NO_SYSTEM, None):
        english = choose_prompts(make_codec(template), None, 1024, built_in="english")
        assert len(english) >= LEAST_PROMPTS
        text = "".join(str(prompt.messages) + prompt.text for prompt in english if prompt.id not in ("bytes", "emoji"))
        assert not any(ord(character) > 0x2FF and character not in "\u2019\u215e\u2116\u203d" for character in text)
    own = [Prompt(f"own-{n}", "chat", ({"role": "user", "content": "Hi"},)) for n in range(LEAST_PROMPTS)]
    assert choose_prompts(make_codec(), None, 1024, own, built_in="none") == own
    assert [one.id for one in choose_prompts(make_codec(), 64, 1024, own, built_in="none")][LEAST_PROMPTS:] == ["long"]
    past = Prompt("past", "chat", ({"role": "user", "content": "word " * 30},))
    assert [one.id for one in choose_prompts(make_codec(), 64, 1024, [past, *own], built_in="none")][-1] == "own-23"
    with pytest.raises(UsageError, match="needs 24 prompts, and only 23") as caught:
        choose_prompts(make_codec(), None, 1024, own[1:], built_in="none")
    assert "add 1 to golden_prompts.jsonl" in caught.value.hint


def test_an_expected_answer_that_would_never_be_looked_at_is_refused(codec: ChatCodec) -> None:
    asked = ({"role": "user", "content": "word " * 300},)
    prompt = Prompt("report", "chat", asked, expected=Expected("text", "yes"))
    with pytest.raises(UsageError, match=r"'report' has an expected answer and .* tokens"):
        choose_prompts(codec, None, 512, [prompt])
    answer = Prompt("answer", "chat", ({"role": "user", "content": "Hi"},), expected=Expected("text", "word " * 110))
    with pytest.raises(UsageError, match=r"'answer' has an expected answer"):
        choose_prompts(codec, None, 512, [answer])
    assert "report" not in {one.id for one in choose_prompts(codec, None, 512, [replace(prompt, expected=None)])}


def test_the_schema_takes_what_is_read() -> None:
    import jsonschema

    lines = [
        {"id": "a", "text": "x"},
        {"id": "b", "messages": [{"role": "user", "content": "x"}], "expected": {"json": {"a": [1, None]}}},
        {"id": "c", "messages": [{"role": "user", "content": "x"}], "expected": {"calls": [{"name": "f"}]}},
    ]
    for line in lines:
        jsonschema.validate(line, prompts_schema())
        assert read_prompt(line, "line 1").id == line["id"]
    for wrong in ({"text": "x"}, {**lines[0], "kinds": 1}, {**lines[0], "expected": {"txt": 1}}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, prompts_schema())
