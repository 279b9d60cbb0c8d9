"""Thoughts told from words: whole and piece by piece, as the template takes them out of earlier answers."""

from __future__ import annotations

import random

import pytest
from gemcut.prompt.renderer import render_prompt, without_thoughts
from gemcut.prompt.thoughts import ThoughtStream, channel_of, tell_thoughts, thought_begun, thought_name

BITS = ["<|channel>", "<channel|>", "<|ch", "annel>", "<chan", "nel|>", "thought\n", "thou", "x", " y\n", "<"]


def streamed(prompt, text, begun, pick):
    stream, at, pieces = ThoughtStream(prompt, begun), 0, []
    while at < len(text):
        step = pick.randrange(1, 5)
        pieces += stream.add(text[at : at + step])
        at += step
    return [*pieces, *stream.finish()]


@pytest.mark.parametrize(
    ("text", "words", "thoughts"),
    [
        ("<|channel>thought\nhm<channel|>Yes.", "Yes.", "hm"),
        ("Well, <|channel>thought\n a\nb <channel|>yes.", "Well, yes.", "a\nb"),
        ("<|channel>thought\n<channel|>Yes.", "Yes.", ""),
        ("<|channel>a<channel|><|channel>b<channel|>Yes", "Yes", "a\n\nb"),
        ("<|channel>thought\nnever ends", "", "never ends"),
        ("<|channel>thoughtless<channel|>", "", "thoughtless"),
        ("a<channel|>b", "ab", ""),
        ("No thought at all.", "No thought at all.", ""),
        ("", "", ""),
    ],
)
def test_words_and_thoughts_of_gemma4(compiled, text, words, thoughts):
    prompt = compiled("gemma4").prompt
    told = tell_thoughts(prompt, text)
    assert (told.words, told.thoughts) == (words, thoughts)


@pytest.mark.parametrize("name", ["gemma4", "gemma4_july"])
def test_words_are_what_the_template_leaves_whatever_the_pieces(compiled, name):
    prompt, pick = compiled(name).prompt, random.Random(3)
    for _ in range(2000):
        text = "".join(pick.choice(BITS) for _ in range(pick.randrange(9)))
        begun = pick.choice(("", "<|channel>thought\n"))
        wanted = without_thoughts(prompt, begun + text)
        assert tell_thoughts(prompt, text, begun).words == wanted, (text, begun)
        pieces = streamed(prompt, text, begun, pick)
        assert "".join(piece.text for piece in pieces if not piece.thought) == wanted, (text, begun)
        assert all(piece.text for piece in pieces)


def test_pieces_come_as_soon_as_they_can_be_told(compiled):
    stream = ThoughtStream(compiled("gemma4").prompt)
    texts = ("Oh <", "b>.", "<|channel>", "thought\nhm ", "so")
    got = [[(piece.text, piece.thought) for piece in stream.add(text)] for text in texts]
    assert got == [[("Oh ", False)], [("<b>.", False)], [], [("hm ", True)], [("so", True)]]


def test_a_template_without_channels_has_only_words(compiled):
    reply = "<|channel>thought\nhm<channel|> Yes."
    for prompt in (compiled("gemma3").prompt, compiled("dated").prompt, None):
        told = tell_thoughts(prompt, reply)
        assert (told.words, told.thoughts) == (reply, "")
    assert channel_of(compiled("gemma3").prompt) is None
    assert thought_name(compiled("gemma3").prompt) == ""
    assert thought_name(compiled("gemma4").prompt) == "thought\n"


def test_a_prompt_that_leaves_a_thought_open_begins_the_reply_in_it(compiled):
    """Gemma 4's template of July 2026 has the model think on after results."""
    prompt = compiled("gemma4_july").prompt
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": {}}}
    chat = [
        {"role": "user", "content": "Go"},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "ok"},
    ]
    begun = thought_begun(prompt, render_prompt(prompt, chat, thinking=True))
    assert begun == "<|channel>thought\n"
    told = tell_thoughts(prompt, "it went well<channel|>Done.", begun)
    assert (told.words, told.thoughts) == ("Done.", "it went well")
    # Nothing is left open without thinking, nor by what a user writes.
    assert thought_begun(prompt, render_prompt(prompt, chat)) == ""
    sly = [{"role": "user", "content": "<|channel>thought\n"}]
    for prompt in (compiled("gemma4").prompt, compiled("gemma4_july").prompt):
        for thinking in (True, False):
            assert thought_begun(prompt, render_prompt(prompt, sly, thinking=thinking)) == ""
