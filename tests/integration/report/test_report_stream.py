"""Text as it comes: the figure behind it, and what is said aside."""

from __future__ import annotations

import io
import re
import sys

import pytest
from gemcut.cli.views.chat_stream import LiveText

PIECES = [("Well, ", False), ("\na city", True), (" it is.\n", True), ("\n", False), ("Paris", False), (".", False)]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def written(monkeypatch: pytest.MonkeyPatch, out: io.StringIO, pieces: list[tuple[str, bool]]) -> tuple[str, str]:
    err = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    text = LiveText()
    for piece, aside in pieces:
        text.write(piece, "9 tok/s", aside=aside)
    text.end()
    return out.getvalue(), err.getvalue()


def test_a_pipe_holds_the_words_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert written(monkeypatch, io.StringIO(), PIECES) == ("Well, Paris.\n", "[thinking]\na city it is.\n\n")
    assert written(monkeypatch, io.StringIO(), [("never ends", True)]) == ("\n", "[thinking]\nnever ends\n")
    assert written(monkeypatch, io.StringIO(), [(" a", False), ("\n b\n", False)]) == (" a\n b\n\n", "")


def test_a_terminal_shows_what_is_aside_dim_on_its_own_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = written(monkeypatch, Terminal(), PIECES)
    assert err == ""
    assert "\x1b[2ma city\x1b[0m" in out
    assert "\x1b[2mParis" not in out
    shown = re.sub(r"\x1b\[2m 9 tok/s\x1b\[0m", "", out)  # what the next piece replaces
    assert re.sub(r"\x1b\[\d*[A-Z]|\x1b\[\d*m", "", shown) == "Well, \n[thinking]\na city it is.\nParis.\n"
