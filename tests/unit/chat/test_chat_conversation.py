"""``gemcut chat``'s conversation: thoughts apart from words, and what a template has no place for refused in words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from gemcut.chat.conversation import Chat, _Pieces
from gemcut.chat.options import ChatOptions
from gemcut.errors import UsageError
from gemcut.prompt.codec import ChatCodec
from gemcut.prompt.compiler import compile_codec

from tests.support.table_model import SPECIALS, STOP, TEMPLATE, TableModel

TEMPLATES = Path(__file__).parents[2] / "support" / "templates"
GEMMA4 = (TEMPLATES / "gemma4.jinja").read_text(encoding="utf-8")
TOOL = {"type": "function", "function": {"name": "f", "description": "F.", "parameters": {"type": "object"}}}


def talk(
    codec: ChatCodec, said: list[tuple[str, str]], compiled: bool = True, thinking: bool | None = True
) -> tuple[Chat, list[tuple[str, bool]], list[list[int]]]:
    """A chat in which the model gives each reply; its pieces, and what had been fed at the end of each turn."""
    messages: list[dict[str, str]] = []
    replies = {}
    for user, reply in said:
        messages.append({"role": "user", "content": user})
        text = codec.render(messages, None, True, thinking is True, unthinking=thinking is False)
        replies[tuple(codec.encode(text))] = (*codec.encode(reply), STOP[1])
        messages.append({"role": "assistant", "content": reply})
    runner = TableModel(codec.tokenizer.get_vocab_size(), replies)
    prompt = compile_codec(codec, STOP) if compiled else None
    chat = Chat(runner, codec, frozenset(STOP), options=ChatOptions(thinking=thinking), prompt=prompt)
    pieces, fed = [], []
    for user, _ in said:
        pieces += [(piece.text, piece.thought) for piece, _ in chat.reply(user)]
        fed.append(list(runner.fed))
    return chat, pieces, fed


def test_thoughts_are_told_apart_and_not_fed_back(make_codec: Callable[..., ChatCodec]) -> None:
    codec = make_codec(GEMMA4)
    first = "<|channel>thought\nA city.<channel|>Paris."
    chat, pieces, fed = talk(codec, [("Capital of France?", first), ("And of Italy?", "Rome.")])
    assert "".join(text for text, thought in pieces if thought) == "A city."
    assert "".join(text for text, thought in pieces if not thought) == "Paris.Rome."
    assert chat.last is not None
    assert (chat.last.reply, chat.last.thoughts, chat.last.ended) == ("Rome.", "", "stop")
    text = codec.decode(fed[1])
    assert text.startswith("<bos><|turn>system\n<|think|>\n<turn|>\n")
    assert "<|turn>model\nParis.<turn|>\n" in text
    assert "city" not in text


def test_a_turn_holds_its_thoughts(make_codec: Callable[..., ChatCodec]) -> None:
    reply = "<|channel>thought\nA city.\n<channel|>Paris."
    chat, _, _ = talk(make_codec(GEMMA4), [("Capital of France?", reply)])
    assert chat.last is not None
    assert (chat.last.reply, chat.last.thoughts) == ("Paris.", "A city.")
    assert chat.tells_thoughts


@pytest.mark.parametrize(
    ("name", "reply", "calls"),
    [
        (
            "functiongemma",
            "<start_function_call>call:set_alarm{time:<escape>06:30<escape>}<end_function_call>",
            ['set_alarm(time="06:30")'],
        ),
        (
            "gemma4",
            '<|tool_call>call:set_alarm{time:<|"|>06:30<|"|>,days:[1,true]}<tool_call|>'
            "<|tool_call>call:torch{}<tool_call|>",
            ['set_alarm(time="06:30", days=[1, true])', "torch()"],
        ),
        ("functiongemma", "<start_function_call>call:set_alarm{time:", []),  # malformed: the reply shows it
        ("functiongemma", "No.", []),
    ],
)
def test_a_turn_holds_its_calls(name: str, reply: str, calls: list[str], make_codec: Callable[..., ChatCodec]) -> None:
    codec = make_codec((TEMPLATES / f"{name}.jinja").read_text(encoding="utf-8"))
    chat, _, _ = talk(codec, [("Wake me", reply)], thinking=None)
    assert chat.last is not None
    assert (chat.last.reply, list(map(str, chat.last.calls))) == (reply, calls)


def test_without_a_compiled_template_thoughts_stay_in_the_reply(make_codec: Callable[..., ChatCodec]) -> None:
    reply = "<|channel>thought\nA city.<channel|>Paris."
    chat, pieces, _ = talk(make_codec(GEMMA4), [("Capital of France?", reply)], compiled=False)
    assert not chat.tells_thoughts
    assert "".join(text for text, _ in pieces) == reply
    assert not any(thought for _, thought in pieces)
    assert chat.last is not None
    assert (chat.last.reply, chat.last.thoughts) == (reply, "")


def test_thinking_is_turned_off_where_a_template_has_it_by_default(make_codec: Callable[..., ChatCodec]) -> None:
    """As Qwen 3's does."""
    source = TEMPLATE + "{% if enable_thinking is defined and enable_thinking is false %}<think></think>{% endif %}"
    codec = make_codec(source)
    chat, _, fed = talk(codec, [("Hi", "Yes")], compiled=False, thinking=False)
    assert "<think></think>Yes" in codec.decode(fed[0])
    assert chat.last is not None
    with pytest.raises(UsageError, match="no thinking to turn on"):
        talk(codec, [("Hi", "Yes")], compiled=False, thinking=True)
    assert "<think>" not in codec.decode(talk(codec, [("Hi", "Yes")], compiled=False, thinking=None)[2][0])
    # Gemma 4 doesn't think by default, and may be told not to all the same.
    assert talk(make_codec(GEMMA4), [("Hi", "Yes")], thinking=False)[0].last is not None


@pytest.mark.parametrize(
    ("name", "asked", "said"),
    [
        ("gemma1", {"system": "Be brief."}, "takes no system turn"),
        ("gemma2", {"system": "Be brief."}, "takes no system turn"),
        ("gemma3", {"tools": [TOOL]}, "doesn't support tools"),
        ("llama2", {"tools": [TOOL]}, "doesn't support tools"),
        ("gemma3", {"thinking": True}, "no thinking to turn on"),
        ("gemma3", {"thinking": False}, "no thinking to turn off"),
        (None, {"system": "Be brief."}, "base model"),
        (None, {"tools": [TOOL]}, "base model"),
        (None, {"thinking": False}, "base model"),
    ],
)
def test_what_a_template_has_no_place_for_is_refused(
    make_codec: Callable[..., ChatCodec], name: str | None, asked: dict[str, object], said: str
) -> None:
    codec = make_codec(None if name is None else (TEMPLATES / f"{name}.jinja").read_text(encoding="utf-8"))
    with pytest.raises(UsageError, match=said) as caught:
        Chat(TableModel(8, {}), codec, frozenset(STOP), options=ChatOptions(**asked))  # type: ignore[arg-type]
    assert caught.value.hint or name is None


def test_a_system_turn_that_is_dropped_without_a_word_is_refused_too(make_codec: Callable[..., ChatCodec]) -> None:
    silent = TEMPLATE.replace("for message in messages", "for message in messages if message.role != 'system'")
    with pytest.raises(UsageError, match="takes no system turn"):
        Chat(TableModel(8, {}), make_codec(silent), frozenset(STOP), options=ChatOptions(system="Be brief."))


def test_an_interrupted_reply_is_remembered_as_far_as_it_came(make_codec: Callable[..., ChatCodec]) -> None:
    codec = make_codec()
    asked = tuple(codec.encode(codec.render([{"role": "user", "content": "Hi"}], None, True)))
    runner = TableModel(codec.tokenizer.get_vocab_size(), {asked: (*codec.encode("a long answer"), STOP[1])})
    chat = Chat(runner, codec, frozenset(STOP))
    for number, _ in enumerate(chat.reply("Hi"), 1):
        if number == 6:
            chat.interrupt()
    assert chat.last is not None
    assert (chat.last.reply, chat.last.ended) == ("a long", "interrupted")
    list(chat.reply("Go on"))
    assert "<turn>model\na long</turn>" in codec.decode(runner.fed)


def test_an_interrupt_ends_a_long_prompt_after_the_chunk_that_is_fed(make_codec: Callable[..., ChatCodec]) -> None:
    codec = make_codec()

    class Interrupts(TableModel):
        def prefill(self, ids: list[int], position: int) -> object:  # type: ignore[override]
            if position >= 16:
                chat.interrupt()
            return super().prefill(ids, position)

    runner = Interrupts(codec.tokenizer.get_vocab_size(), {})
    chat = Chat(runner, codec, frozenset(STOP))
    assert list(chat.reply("word " * 20)) == []
    assert chat.last is not None
    assert (chat.last.reply, chat.last.tokens, chat.last.ended, chat.held) == ("", 0, "interrupted", 24)


def test_what_was_said_is_forgotten_and_the_system_turn_is_not(make_codec: Callable[..., ChatCodec]) -> None:
    codec = make_codec(GEMMA4)
    runner = TableModel(codec.tokenizer.get_vocab_size(), {})
    chat = Chat(runner, codec, frozenset(STOP), options=ChatOptions(max_new=2, system="Be brief."))
    list(chat.reply("First"))
    chat.clear()
    assert chat.last is None
    list(chat.reply("Second"))
    text = codec.decode(runner.fed)
    assert "Be brief." in text
    assert "First" not in text
    chat.change(ChatOptions(max_new=2))
    list(chat.reply("Third"))
    text = codec.decode(runner.fed)
    assert "Be brief." not in text
    assert "Second" in text


def test_bytes_that_are_no_text_are_shown_and_end_nothing(make_codec: Callable[..., ChatCodec]) -> None:
    """Sampling draws them; the whole text is what the ids decode to, whatever they are."""
    codec = make_codec()
    letters = range(len(SPECIALS), codec.tokenizer.get_vocab_size())
    for seed in range(40):
        ids = np.random.default_rng(seed).choice(letters, 30).tolist()
        pieces = _Pieces(codec)
        shown = "".join(pieces.add(token) for token in ids)
        rest, whole = pieces.finish()
        assert whole == shown + rest
        assert shown.count("\ufffd") <= whole.count("\ufffd")
    pieces = _Pieces(codec)
    ids = codec.encode("né 🙂 日本")
    parts = [pieces.add(token) for token in ids]
    assert "".join(parts) == "né 🙂 日本"
    assert "\ufffd" not in "".join(parts)
