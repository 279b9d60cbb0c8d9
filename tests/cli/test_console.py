"""Progress on a terminal and off it, and figures for readers."""

from __future__ import annotations

import io
import os
import pty
import sys
from collections.abc import Iterator

import pytest
from gemcut.report import console
from gemcut.report.console import ConsoleProgress, count_text, size_text
from gemcut.report.stream import LiveText


class Terminal(io.TextIOWrapper):
    """A pseudo-terminal to write to, and what came out at its other end."""

    def __init__(self) -> None:
        self.reader, writer = pty.openpty()
        super().__init__(os.fdopen(writer, "wb", buffering=0), encoding="utf-8", write_through=True)

    def shown(self) -> str:
        self.flush()
        found = b""
        while True:
            os.set_blocking(self.reader, False)
            try:
                part = os.read(self.reader, 65536)
            except BlockingIOError:
                return found.decode()
            found += part


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    it = Terminal()
    yield it
    it.close()
    os.close(it.reader)


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (16_300_000, "16.3 MB"), (2.35e12, "2.4 TB")]
)
def test_sizes_read_as_file_managers_have_them(size: float, text: str) -> None:
    assert size_text(size) == text


@pytest.mark.parametrize(("count", "text"), [(12, "12"), (8_400, "8.4k"), (268_098_176, "268.1M"), (2.35e9, "2.35B")])
def test_counts_read_short(count: float, text: str) -> None:
    assert count_text(count) == text


def test_off_a_terminal_a_line_per_stage(capsys: pytest.CaptureFixture[str]) -> None:
    with ConsoleProgress() as progress:
        progress.stage("lower")
        progress.update(1, 2, "layer 1")
        progress.note("take [bold]care[/bold]")
        progress.stage("pack")
    assert capsys.readouterr().err == "lower\nnote: take [bold]care[/bold]\npack\n"
    assert list(progress.seconds) == ["lower", "pack"]


def test_off_a_terminal_a_long_stage_says_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    with ConsoleProgress() as progress:
        progress.stage("lower")
        for second in range(1, 26):
            now[0] = second
            progress.update(second, 50, "layer x")
    assert capsys.readouterr().err == "lower\nlower: 20%, layer x\nlower: 40%, layer x\n"
    assert progress.seconds == {"lower": 25.0}


def test_on_a_terminal_a_bar_that_leaves_nothing_but_notes(monkeypatch: pytest.MonkeyPatch, terminal: Terminal) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", terminal)
    with ConsoleProgress() as progress:
        progress.stage("lower")
        progress.update(1, 2, "layer [1]")
        progress.note("a note")
    shown = terminal.shown()
    assert "a note" in shown
    assert "\x1b[2K" in shown


def test_streamed_text_off_a_terminal_is_the_text_alone(capsys: pytest.CaptureFixture[str]) -> None:
    text = LiveText()
    for piece in ("Hello", ", ", "world"):
        text.write(piece, "9 tok/s")
    text.end()
    assert capsys.readouterr().out == "Hello, world\n"


def test_streamed_text_on_a_terminal_has_the_live_rate_behind_it(
    monkeypatch: pytest.MonkeyPatch, terminal: Terminal
) -> None:
    monkeypatch.setattr(sys, "stdout", terminal)
    text = LiveText()
    text.write("Hello", "9 tok/s")
    text.write(" world", "8 tok/s")
    text.end()
    shown = terminal.shown()
    assert "Hello\x1b[2m 9 tok/s\x1b[0m\x1b[8D\x1b[K world" in shown
    assert shown.endswith("\x1b[K\r\n")
