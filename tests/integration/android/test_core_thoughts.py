"""The app's core tells thoughts from words as Python does, whatever the pieces that a reply comes in."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from gemcut.prompt.format import prompt_text
from gemcut.prompt.renderer import render_prompt
from gemcut.prompt.segments import PromptRefused
from gemcut.prompt.thoughts import ThoughtStream, tell_thoughts, thought_begun

from tests.support.compiled_templates import compiled_template

NAMES = ("gemma3", "gemma4", "gemma4_july")
BITS = ("<|channel>", "<channel|>", "<|ch", "annel>", "<chan", "thought\n", "thou", "x", " y\n", "\U0001f600", "<")
CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": {}}}
USER = {"role": "user", "content": "Go <|channel>thought\n"}


def chats(content: object) -> list[list[dict[str, Any]]]:
    return [[USER], [USER, {"role": "assistant", "tool_calls": [CALL]}, {"role": "tool", "content": content}]]


@pytest.fixture(scope="module")
def cases() -> list[dict[str, Any]]:
    pick, found = random.Random(9), []
    rendered = []
    for at, name in enumerate(NAMES):
        prompt = compiled_template(name).prompt
        for chat in chats("ok")[: 1 if prompt.tools is None else 2]:
            for thinking in (False, True)[: 1 if prompt.thinking is None else 2]:
                rendered.append((at, render_prompt(prompt, chat, thinking=thinking)))
    for _ in range(1500):
        at, text = pick.choice(rendered)
        pieces = [pick.choice(BITS) for _ in range(pick.randrange(9))]
        found.append({"prompt": at, "rendered": text, "pieces": pieces})
    return found


def takes_objects(prompt: Any) -> bool:
    try:
        return bool(render_prompt(prompt, chats({"status": "ok"})[1]))
    except PromptRefused:
        return False


def test_thoughts_are_told_alike(core: Any, cases: list[dict[str, Any]]) -> None:
    prompts = [compiled_template(name).prompt for name in NAMES]
    lines = [json.dumps([json.loads(prompt_text(prompt)) for prompt in prompts]), *map(json.dumps, cases)]
    begun = thoughts = 0
    for case, answer in zip(cases, core.ask("thoughts", lines=lines), strict=True):
        prompt = prompts[case["prompt"]]
        opened = thought_begun(prompt, case["rendered"])
        stream = ThoughtStream(prompt, opened)
        heard = [piece for text in case["pieces"] for piece in stream.add(text)]
        heard += stream.finish()
        told = tell_thoughts(prompt, "".join(case["pieces"]), opened)
        assert answer == {
            "begun": opened,
            "heard": [[piece.text, piece.thought] for piece in heard],
            "words": told.words,
            "thoughts": told.thoughts,
            "objects": takes_objects(prompt),
        }, case
        begun += bool(opened)
        thoughts += bool(told.thoughts)
    assert begun > 100
    assert thoughts > 300
    assert [takes_objects(prompt) for prompt in prompts] == [False, True, False]
