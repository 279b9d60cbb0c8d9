"""The chat on a terminal, with a script in place of whoever types."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from gemcut.chat.conversation import Chat
from gemcut.chat.options import ChatOptions
from gemcut.chat.sampling import Sampling
from gemcut.cli.chat_session import Dropped, Session
from gemcut.cli.chat_terminal import run
from gemcut.prompt.codec import load_codec
from gemcut.prompt.compiler import compile_codec
from gemcut.sample.phone_tools import TOOLS

from tests.support.table_model import STOP, TableModel, write_tokenizer

GEMMA4 = (Path(__file__).parents[2] / "support" / "templates" / "gemma4.jinja").read_text(encoding="utf-8")
CALL = '<|tool_call>call:set_alarm{time:<|"|>06:30<|"|>}<tool_call|>'
MANIFEST = SimpleNamespace(
    model=SimpleNamespace(name="table"),
    recipe=SimpleNamespace(name="int8"),
    runtime=SimpleNamespace(name="executorch", version="1"),
    context=2048,
)


class Script:
    def __init__(self, *lines: str | None) -> None:
        self.lines, self.asked = list(lines), []

    def ask(self, prompt: str) -> str | None:
        self.asked.append(prompt)
        line = self.lines.pop(0) if self.lines else None
        if line == "^C":
            raise Dropped
        return line


class Says(TableModel):
    """Answers the first prompt with a call, the next with words, whatever they are."""

    pressed = -1

    def step(self, token: int, position: int) -> Any:
        self.fed = [*self.fed, token]
        if len(self.fed) == self.pressed:
            os.kill(os.getpid(), signal.SIGINT)
        return self._logits()

    def prefill(self, ids: Any, position: int) -> Any:
        if not position or len(self.fed) != position:
            self.fed = self.fed[:position]
        self.fed = [*self.fed, *ids]
        self.begun = len(self.fed)
        return self._logits()

    def _logits(self) -> Any:
        import numpy as np

        reply = self.texts[min(self.turn(), len(self.texts) - 1)]
        done = len(self.fed) - self.begun
        found = np.zeros(self.vocab_size, np.float32)
        found[reply[done] if done < len(reply) else STOP[1]] = 9
        return found


@pytest.fixture
def session(tmp_path: Path) -> Any:
    path = tmp_path / "tokenizer.json"
    write_tokenizer(path)
    codec = load_codec(path, GEMMA4, {"bos_token": "<bos>"}, bos_id=2)

    def make(*lines: str | None, results: dict[str, Any] | None = None, **options: Any) -> Session:
        runner = Says(codec.tokenizer.get_vocab_size(), {}, prefill_chunk=4096)
        runner.texts = [codec.encode(CALL), codec.encode("It is set.")]
        runner.turn = lambda: int("response:" in codec.decode(runner.fed[: runner.begun]))  # type: ignore[method-assign]
        chat = Chat(
            runner,
            codec,
            frozenset(STOP),
            options=ChatOptions(tools=list(TOOLS.values())[:1], **options),
            prompt=compile_codec(codec, STOP),
        )
        return Session(chat, MANIFEST, Script(*lines), results, [])  # type: ignore[arg-type]

    return make


def test_a_call_is_shown_as_a_call_and_its_result_is_asked_for(session: Any, capsys: Any) -> None:
    talk = session("Wake me", '{"status": "ok"}')
    run(talk)
    shown = capsys.readouterr()
    assert shown.out == 'set_alarm(time="06:30")\nIt is set.\n'
    assert "gave back what?" in shown.err
    assert talk.asker.asked == [">>> ", "    result: ", ">>> "]
    assert [turn.results for turn in talk.turns][1][0].content == {"status": "ok"}


def test_a_result_that_is_dropped_is_none(session: Any, capsys: Any) -> None:
    talk = session("Wake me", "^C", "/bye")
    run(talk)
    assert capsys.readouterr().out == 'set_alarm(time="06:30")\n'


def test_words_around_a_call_are_shown(session: Any, capsys: Any) -> None:
    talk = session("Wake me", "")
    codec = talk.chat._codec
    talk.chat._runner.texts = [codec.encode(f"Sure. {CALL}Anything else?")]
    run(talk)
    assert capsys.readouterr().out == 'Sure. \nset_alarm(time="06:30")\nAnything else?\n'


def test_no_result_is_asked_for_after_the_last_round(session: Any, capsys: Any) -> None:
    talk = session("Wake me", *["again"] * 20)
    talk.chat._runner.texts = [talk.chat._codec.encode(CALL)]
    talk.chat._runner.turn = lambda: 0
    asked = talk.asker
    run(talk)
    assert "has had 8 results in a row" in capsys.readouterr().err
    assert asked.asked[:10] == [">>> ", *["    result: "] * 8, ">>> "]


def test_a_program_that_cannot_be_loaded_ends_the_chat(session: Any) -> None:
    from gemcut.chat.loading import LoadingRunner
    from gemcut.errors import ConformanceError

    def load() -> Any:
        raise ConformanceError("the file is damaged")

    talk = session("Wake me", "Wake me")
    talk.chat._runner = LoadingRunner(load)
    with pytest.raises(ConformanceError, match="damaged"):
        run(talk)
    assert talk.asker.lines == ["Wake me"]


def test_without_a_result_the_chat_goes_on(session: Any, capsys: Any) -> None:
    talk = session("Wake me", "", "/bye", "never asked")
    run(talk)
    assert capsys.readouterr().out == 'set_alarm(time="06:30")\n'
    assert len(talk.turns) == 1
    assert talk.asker.lines == ["never asked"]


def test_given_results_are_not_asked_for(session: Any, capsys: Any) -> None:
    talk = session("Wake me", results={"set_alarm": "ok"})
    run(talk)
    assert capsys.readouterr().out == 'set_alarm(time="06:30")\nIt is set.\n'
    talk = session("Wake me", "/stats", results={})
    run(talk)
    assert "--tool-results has no set_alarm" in capsys.readouterr().err


def test_a_message_of_several_lines(session: Any) -> None:
    talk = session('"""One', "two", 'three"""', '"""four"""', '"""never ended', None)
    run(talk)
    assert [turn.user for turn in talk.turns if turn.user] == ["One\ntwo\nthree"]
    talk = session("^C", '"""One', "", 'two"""', "", '"""three', "^C", "/bye", "four")
    run(talk)
    assert [turn.user for turn in talk.turns if turn.user] == ["One\n\ntwo"]
    assert talk.asker.lines == ["four"]


def test_commands(session: Any, capsys: Any) -> None:
    lines = ["/help", "/system Be brief.", "/system", "/system none", "/tools", "/tools none", "/tools sample"]
    lines += [
        "/clear",
        "/stats",
        "/STATS",
        "/tols",
        "/bye now",
        "/tools nowhere.json",
        " /no command",
        "",
        "/bye",
        "no",
    ]
    talk = session(*lines)
    run(talk)
    shown = capsys.readouterr()
    for word in ("/help", "Ctrl-C", "Be brief.\nBe brief.\nThere is no system", "set_alarm(time)", "may call no tools"):
        assert word in shown.out
    assert shown.out.count("context   0 of 2048") == 2
    for word in (
        "no command /tols",
        "did you mean 'tools'",
        "/bye takes nothing",
        "--tools nowhere.json can't be read",
    ):
        assert word in shown.err
    assert [turn.user for turn in talk.turns] == ["/no command"]
    assert talk.asker.lines == ["no"]


def test_control_c_stops_the_answer_and_not_the_chat(session: Any, capsys: Any) -> None:
    talk = session("Wake me", "/stats")
    runner = talk.chat._runner
    prefill = runner.prefill

    def fed(ids: Any, position: int) -> Any:
        found = prefill(ids, position)
        runner.pressed = len(runner.fed) + 5
        return found

    runner.prefill = fed
    before = signal.getsignal(signal.SIGINT)
    run(talk)
    shown = capsys.readouterr()
    assert shown.out.startswith("<|tool_call>call:"), "what came of a call is shown as it is"
    assert "[stopped]" in shown.err
    assert "gave back what?" not in shown.err
    assert "replies   6 tokens" in shown.out
    assert talk.turns[0].ended == "interrupted"
    assert signal.getsignal(signal.SIGINT) is before


def test_sampling_is_said(session: Any, capsys: Any) -> None:
    run(session("/stats", sampling=Sampling(1.0, top_k=3, seed=9)))
    assert "sampling  temperature 1, top-k 3, seed 9" in capsys.readouterr().out
