"""The compiled template's ids are those of transformers, for chats of every kind that a family's template takes."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from gemcut.prompt.codec import TemplateRefused, load_codec
from gemcut.prompt.compiler import compile_codec
from gemcut.prompt.renderer import render_prompt
from gemcut.prompt.segments import PromptRefused

from tests.support.compiled_templates import KINDS, SAMPLE, TEMPLATES, Compiled

TOKENS = [
    "<|turn>",
    "<turn|>",
    "<|tool>",
    "<tool|>",
    "<|tool_call>",
    "<tool_call|>",
    "<|tool_response>",
    "<tool_response|>",
    "<|channel>",
    "<channel|>",
    "<|think|>",
    "<start_of_turn>",
    "<end_of_turn>",
    "<|im_start|>",
    "<|im_end|>",
]
TOOL = {
    "type": "function",
    "function": {
        "name": "set_alarm",
        "description": "Sets an alarm.",
        "parameters": {
            "type": "object",
            "properties": {"time": {"type": "string", "description": "HH:MM"}},
            "required": ["time"],
        },
    },
}
CALL = {"id": "alarm0001", "type": "function", "function": {"name": "set_alarm", "arguments": {"time": "06:30"}}}
USER = {"role": "user", "content": " Wake me at half past six, s'il vous plaît. "}
THOUGHT = "<|channel>thought\nHe is French.<channel|>"
HISTORIES = {
    "none": [],
    "turns": [USER, {"role": "assistant", "content": "Done. "}],
    "thoughts": [USER, {"role": "assistant", "content": f"{THOUGHT}Done.{THOUGHT} Sleep well."}],
    "call": [USER, {"role": "assistant", "tool_calls": [CALL]}],
    "result": [
        USER,
        {"role": "assistant", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "alarm0001", "name": "set_alarm", "content": "ok"},
    ],
    "answered": [
        USER,
        {"role": "assistant", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "alarm0001", "name": "set_alarm", "content": "ok"},
        {"role": "assistant", "content": f"{THOUGHT}Alarm set."},
    ],
}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    """The sample's tokenizer with every family's control tokens, as transformers reads it."""
    from transformers import AutoTokenizer

    made = AutoTokenizer.from_pretrained(SAMPLE)
    made.add_special_tokens({"additional_special_tokens": TOKENS})
    folder = tmp_path_factory.mktemp("tokenizer")
    made.save_pretrained(folder)
    return folder, made


def source_of(name: str) -> str:
    path = SAMPLE / "chat_template.jinja" if name == "sample" else TEMPLATES / f"{name}.jinja"
    return Path(path).read_text(encoding="utf-8")


def chats():
    """With and without system, tools and an open question, after every history."""
    for (history, turns), system, tools, asks in itertools.product(HISTORIES.items(), *[(False, True)] * 3):
        head = [{"role": "system", "content": " Be brief.\n"}] if system else []
        tail = [] if history in ("call", "result") and not asks else [USER]
        if [*turns, *tail]:
            yield f"{history}, {system=}, {tools=}, {asks=}", [*head, *turns, *tail], [TOOL] if tools else []
    yield "result, to be answered", HISTORIES["result"], [TOOL]


@pytest.mark.parametrize("name", sorted(KINDS))
def test_ids_are_those_of_transformers_for_chats_of_every_kind(tokenizer, name):
    folder, theirs = tokenizer
    source = source_of(name)
    codec = load_codec(folder / "tokenizer.json", source, dict(theirs.special_tokens_map))
    made = Compiled(compile_codec(codec, (1, 6)), codec)
    rendered = {"plain": 0, "tools": 0, "thinking": 0}
    for what, messages, tools in chats():
        for thinking in (False, True)[: 1 if made.prompt.thinking is None else 2]:
            try:
                codec.render(messages, tools or None, True, thinking)
            except TemplateRefused:
                with pytest.raises(PromptRefused):
                    render_prompt(made.prompt, messages, tools, True, thinking)
                continue
            try:
                ours = render_prompt(made.prompt, messages, tools, True, thinking)
            except PromptRefused:  # Left out without a word by the template, and rightly refused in words.
                left_out = [
                    kind
                    for kind, used in (
                        ("system", messages[0]["role"] == "system"),
                        ("tool", bool(tools) or any(m["role"] == "tool" or m.get("tool_calls") for m in messages)),
                    )
                    if used and kind not in KINDS[name]
                ]
                assert left_out, (what, thinking)
                continue
            settings = {"enable_thinking": True} if thinking else {}
            wanted = theirs.apply_chat_template(
                messages,
                tools=tools or None,
                chat_template=source,
                add_generation_prompt=True,
                return_dict=False,
                **settings,
            )
            assert codec.encode(ours) == wanted, (what, thinking)
            rendered["thinking" if thinking else "tools" if tools else "plain"] += 1
            if "channel>" in source:
                assert "French" not in ours
    assert rendered["plain"] >= 4
    assert (rendered["tools"] >= 8) == ("tool" in KINDS[name])
    assert (rendered["thinking"] >= 16) == ("thinking" in KINDS[name])
