"""Templates of all families, compiled and proven; those that can't be, with the reason."""

from __future__ import annotations

import dataclasses

import pytest
from gemcut.prompt.chats import Prompt
from gemcut.prompt.codec import TemplateRefused, load_codec
from gemcut.prompt.compiler import without_chat, without_thinking, without_tools
from gemcut.prompt.format import read_prompt
from gemcut.prompt.parser import parse_calls
from gemcut.prompt.renderer import render_prompt, without_thoughts
from gemcut.prompt.sample_chats import generate_chats
from gemcut.prompt.segments import PromptRefused
from gemcut.prompt.verification import make_prompt, prove_prompt
from gemcut.prove.prompts import abilities, built_in_prompts, needs

from tests.support.compiled_templates import SAMPLE, compile_source

WITH_TOOLS = ["sample", "functiongemma", "gemma4", "gemma4_july", "chatml_tools"]
THINKING = ["gemma4", "gemma4_july"]
CHAT_ALONE = ["gemma1", "gemma2", "gemma3", "gemma3n", "llama2"]
GOLDENS = [p for p in built_in_prompts() if p.kind != "text"]


@pytest.mark.parametrize("name", WITH_TOOLS + CHAT_ALONE)
def test_same_token_ids_as_the_template(compiled, name):
    made = compiled(name)
    assert made.prompt.reasons.chat is None
    able = abilities(made.codec)
    goldens = [p for p in GOLDENS if needs(p) <= able]
    assert ("system" in able) == ("system" in made.prompt.chat.bodies)
    assert ("thinking" in able) == (made.prompt.thinking is not None) == (name in THINKING)
    assert {"tool", "result"} <= able or name in CHAT_ALONE
    proof = prove_prompt(made.prompt, made.codec, goldens, count=300, seed=7)
    assert proof.passed, proof.summary()
    assert proof.same > 150
    assert proof.goldens >= 8
    assert (made.prompt.tools is not None) == (name in WITH_TOOLS)
    assert (proof.calls > 300) == (name in WITH_TOOLS)


@pytest.mark.parametrize("name", WITH_TOOLS + CHAT_ALONE)
def test_refuses_what_the_template_refuses(compiled, name):
    made = compiled(name)
    refused = 0
    for chat in generate_chats(300, seed=11, level="tools" if name in WITH_TOOLS else "chat"):
        try:
            made.codec.render(chat.messages, chat.tools or None, chat.add_generation_prompt)
        except TemplateRefused:
            refused += 1
            with pytest.raises(PromptRefused):
                render_prompt(made.prompt, chat.messages, chat.tools, chat.add_generation_prompt)
    assert refused or name in ("sample", "functiongemma", "gemma4")


def test_texts_that_one_can_read(compiled):
    chat = [{"role": "system", "content": " Be brief. "}, {"role": "user", "content": " Hi "}]
    assert render_prompt(compiled("gemma3").prompt, chat) == (
        "<bos><start_of_turn>user\n Be brief. \n\nHi<end_of_turn>\n<start_of_turn>model\n"
    )
    assert render_prompt(compiled("llama2").prompt, chat) == (
        "<bos>[INST] <<SYS>>\n Be brief. \n<</SYS>>\n\n Hi [/INST]"
    )
    thought = [*chat, {"role": "assistant", "content": "<|channel>thought\nhm<channel|> Yes."}, chat[1]]
    assert render_prompt(compiled("gemma4").prompt, thought) == (
        "<bos><|turn>system\nBe brief.<turn|>\n<|turn>user\nHi<turn|>\n<|turn>model\nYes.<turn|>\n"
        "<|turn>user\nHi<turn|>\n<|turn>model\n<|channel>thought\n<channel|>"
    )


def test_thinking_is_a_chat_of_its_own(compiled):
    made = compiled("gemma4")
    user = {"role": "user", "content": "Hi"}
    assert render_prompt(made.prompt, [user], thinking=True) == (
        "<bos><|turn>system\n<|think|>\n<turn|>\n<|turn>user\nHi<turn|>\n<|turn>model\n"
    )
    chat = [{"role": "system", "content": "Be brief."}, user, {"role": "assistant", "content": "Yes."}, user]
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    for tools in ([], [tool]):
        text = render_prompt(made.prompt, chat, tools, thinking=True)
        assert text == made.codec.render(chat, tools or None, True, thinking=True)
        assert text.startswith("<bos><|turn>system\n<|think|>\nBe brief.")
        assert text != render_prompt(made.prompt, chat, tools)
    with pytest.raises(PromptRefused, match="no thinking to turn on"):
        render_prompt(compiled("gemma3").prompt, [user], thinking=True)
    reply = "<|channel>thought\nhm<channel|> Yes."
    assert without_thoughts(made.prompt, reply) == " Yes."
    assert without_thoughts(compiled("gemma3").prompt, reply) == reply


def test_thinking_that_is_not_as_the_template_has_it_is_left_out_alone(compiled):
    source = (
        "{% for m in messages %}<{{ m.role }}>{{ 'plugh?' if enable_thinking and m.content == 'plugh' else m.content }}"
        "{% endfor %}{{ '<think>' if enable_thinking else '!' }}"
    )
    made = compile_source(source)
    assert made.prompt.thinking is not None
    golden = Prompt(id="odd", kind="thinking", messages=({"role": "user", "content": "plugh"},), thinking=True)
    proof = prove_prompt(made.prompt, made.codec, [golden])
    assert [(d.chat, d.thinking) for d in proof.differences] == [("golden odd", True)]
    left = without_thinking(made.prompt, str(proof.differences[0]))
    assert left.chat is not None
    assert "plugh?" in left.reasons.thinking
    assert prove_prompt(left, made.codec, [golden]).passed
    other = compile_source(
        "{% for m in messages %}<{{ m.role }}>{{ m.content | upper if enable_thinking else m.content }}{% endfor %}!"
        "{{ 'T' if enable_thinking else '' }}"
    )
    assert other.prompt.chat is not None
    assert other.prompt.thinking is None
    assert "leaves out the user's text" in other.prompt.reasons.thinking


@pytest.mark.parametrize("name", ["gemma1", "gemma2"])
def test_system_turn_where_the_template_has_none_is_refused_with_what_to_do(compiled, name):
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    with pytest.raises(PromptRefused, match="doesn't take a system message") as caught:
        render_prompt(compiled(name).prompt, chat)
    assert "first user message" in caught.value.hint


def test_gemma4_writes_words_after_results(compiled):
    prompt = compiled("gemma4").prompt
    assert prompt.tools.order == ("call", "result", "words")
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": {"b": [1, None], "A": {"x": "y"}}}}
    chat = [
        {"role": "user", "content": "Go"},
        {"role": "assistant", "content": "Well", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "ok"},
    ]
    assert render_prompt(prompt, chat, add_generation_prompt=False).endswith(
        '<|turn>model\n<|tool_call>call:f{A:{x:<|"|>y<|"|>},b:[1,None]}<tool_call|>'
        '<|tool_response>response:f{value:<|"|>ok<|"|>}<tool_response|>Well<turn|>\n'
    )


def test_bos_is_written_or_not(compiled):
    assert compiled("gemma3").prompt.bos.written
    assert not compiled("chatml_tools").prompt.bos.written


@pytest.mark.parametrize(
    ("name", "reason"),
    [("dated", "the template writes the date"), ("last_reasoning", "between user and assistant depends on more")],
)
def test_whole_templates_that_cannot_be_compiled(compiled, name, reason):
    prompt = compiled(name).prompt
    assert prompt.chat is None
    assert prompt.tools is None
    assert reason.lower() in prompt.reasons.chat.lower()
    assert prompt.reasons.tools
    with pytest.raises(PromptRefused, match="isn't compiled"):
        render_prompt(prompt, [{"role": "user", "content": "Hi"}])


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("tools_last", "leaves out a tool's declaration"),
        ("call_ids", "writes the ids of calls"),
        ("gemma3", "writes no tool declarations"),
    ],
)
def test_tools_that_cannot_be_compiled_leave_the_chat(compiled, name, reason):
    made = compiled(name)
    assert made.prompt.tools is None
    assert reason in made.prompt.reasons.tools
    assert prove_prompt(made.prompt, made.codec, GOLDENS[:0]).passed
    assert render_prompt(made.prompt, [{"role": "user", "content": "Hi"}])
    tool = {"type": "function", "function": {"name": "f"}}
    with pytest.raises(PromptRefused, match="can't be written"):
        render_prompt(made.prompt, [{"role": "user", "content": "Hi"}], [tool])


def test_changed_texts_are_refused_with_the_change():
    made = compile_source("{% for m in messages %}<{{ m.role }}>{{ m.content | upper }}{% endfor %}!")
    assert made.prompt.chat is None
    assert "leaves out the user's text" in made.prompt.reasons.chat
    made = compile_source("{% for m in messages %}<{{ m.role }}>{{ m.content | replace('&', '&amp;') }}{% endfor %}!")
    assert "&amp;" in made.prompt.reasons.chat


def test_proof_finds_a_wrong_joint_and_tells_both_texts(compiled):
    made = compiled("gemma3")
    joints = {**made.prompt.chat.joints, "user": {**made.prompt.chat.joints["user"], "generation": "<end_of_turn>\n"}}
    wrong = made.prompt.model_copy(update={"chat": made.prompt.chat.model_copy(update={"joints": joints})})
    proof = prove_prompt(wrong, made.codec, GOLDENS[:4], count=20)
    assert not proof.passed
    assert "start_of_turn>model" in str(proof.differences[0])
    assert "prompt.json" in proof.summary()


def test_proof_is_not_passed_by_refusing(compiled):
    made = compiled("gemma3")
    joints = {"start": made.prompt.chat.joints["start"]}
    empty = made.prompt.model_copy(update={"chat": made.prompt.chat.model_copy(update={"joints": joints})})
    assert not prove_prompt(empty, made.codec, [], count=50).passed


def test_what_a_golden_disproves_is_left_out(compiled):
    source = "{% for m in messages %}<{{ m.role }}>{{ 'xyzzy!' if m.content == 'plugh' else m.content }}{% endfor %}!"
    made = compile_source(source)
    assert made.prompt.chat is not None
    golden = Prompt(id="odd", kind="chat", messages=({"role": "user", "content": "plugh"},))
    proof = prove_prompt(made.prompt, made.codec, [golden])
    assert [d.chat for d in proof.differences] == ["golden odd"]
    left = without_chat(made.prompt, str(proof.differences[0]))
    assert "xyzzy" in left.reasons.chat


def test_make_prompt_with_the_sample_is_the_same_each_time():
    codec = load_codec(SAMPLE / "tokenizer.json", (SAMPLE / "chat_template.jinja").read_text(), {"bos_token": "<bos>"})
    first, proof = make_prompt(codec, (6, 1), GOLDENS, count=40)
    assert proof.passed
    assert first.tools.marker == "<|tool_call>"
    assert first.stop.ids == (1, 6)
    assert first == make_prompt(codec, (1, 6), GOLDENS, count=10)[0]


def test_base_model_has_no_template():
    codec = load_codec(SAMPLE / "tokenizer.json", None, {"bos_token": "<bos>"})
    prompt, proof = make_prompt(codec, (1,), [])
    assert prompt.chat is None
    assert "no chat template" in prompt.reasons.chat
    assert dataclasses.astuple(proof)[:2] == (0, 0)


def test_without_tools_keeps_the_chat(compiled):
    prompt = without_tools(compiled("sample").prompt, "a test")
    assert prompt.reasons.tools == "A test"
    assert "call" not in prompt.chat.joints
    assert render_prompt(prompt, [{"role": "user", "content": "Hi"}]).startswith("<bos>")
    assert read_prompt(prompt.model_dump_json()) == prompt


def test_functiongemma_is_written_and_read_as_its_documentation_shows_it(compiled):
    """ai.google.dev/gemma/docs/functiongemma/formatting-and-best-practices: the weather tool's flow."""
    prompt = compiled("functiongemma").prompt
    place = {"type": "string", "description": 'The city and state, e.g. "San Francisco, CA"'}
    unit = {"type": "string", "description": "The unit.", "enum": ["celsius", "fahrenheit"]}
    parameters = {"type": "object", "properties": {"location": place, "unit": unit}, "required": ["location"]}
    function = {"name": "get_weather", "description": "Gets the weather.", "parameters": parameters}
    call = {"name": "get_weather", "arguments": {"location": "Tokyo, Japan"}}
    chat = [
        {"role": "system", "content": "You are a model that can do function calling with the following functions"},
        {"role": "user", "content": "Hey, what's the weather in Tokyo right now?"},
        {"role": "assistant", "tool_calls": [{"id": "call00000", "type": "function", "function": call}]},
        {
            "role": "tool",
            "tool_call_id": "call00000",
            "name": "get_weather",
            "content": {"temperature": 15, "weather": "sunny"},
        },
    ]
    written = render_prompt(prompt, chat, [{"type": "function", "function": function}], True)
    assert written == (
        "<bos><start_of_turn>developer\n"
        "You are a model that can do function calling with the following functions"
        "<start_function_declaration>declaration:get_weather{description:<escape>Gets the weather.<escape>,"
        'parameters:{properties:{location:{description:<escape>The city and state, e.g. "San Francisco, CA"<escape>,'
        "type:<escape>STRING<escape>},unit:{description:<escape>The unit.<escape>,"
        "enum:[<escape>celsius<escape>,<escape>fahrenheit<escape>],type:<escape>STRING<escape>}},"
        "required:[<escape>location<escape>],type:<escape>OBJECT<escape>}}<end_function_declaration><end_of_turn>\n"
        "<start_of_turn>user\nHey, what's the weather in Tokyo right now?<end_of_turn>\n"
        "<start_of_turn>model\n"
        "<start_function_call>call:get_weather{location:<escape>Tokyo, Japan<escape>}<end_function_call>"
        "<start_function_response>response:get_weather{temperature:15,weather:<escape>sunny<escape>}"
        "<end_function_response>"
    )
    assert prompt.tools.marker == "<start_function_call>"
    said = "<start_function_call>call:f{a:<escape>x, {y}<escape>,n:3}<end_function_call>"
    found, words = parse_calls(prompt, said + said.replace("call:f", "call:g"))
    assert [(one.name, one.arguments) for one in found] == [(n, {"a": "x, {y}", "n": 3}) for n in ("f", "g")]
    assert words == ""
    with pytest.raises(ValueError, match="character"):
        parse_calls(prompt, "<start_function_call>call:f{a:<escape>x<escape>")
