"""Progress on a terminal and off it, and figures for readers."""

from __future__ import annotations

import io
import os
import pty
import sys
import time
from collections.abc import Iterator

import pytest
from gemcut.cli.views.chat_stream import LiveText
from gemcut.report import console
from gemcut.report.console import ConsoleProgress
from gemcut.report.eta import Remaining
from gemcut.util.text import count_text, duration_text, size_text


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
    said = "lower\nlower: 20%, layer x, about 40 s left\nlower: 40%, layer x, about 30 s left\n"
    assert capsys.readouterr().err == said
    assert progress.seconds == {"lower": 25.0}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "a few seconds"),
        (8, "about 10 s"),
        (42, "about 40 s"),
        (58, "about 1 min"),
        (170, "about 3 min"),
        (3_590, "about 1 h"),
        (4_800, "about 1 h 20 min"),
        (7_190, "about 2 h"),
    ],
)
def test_times_read_no_finer_than_they_are_known(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_the_time_left_follows_the_speed_of_late() -> None:
    it = Remaining(now=100.0)
    assert it.seconds(110.0) is None, "nothing is done"
    it.update(110.0, 0.5)
    assert it.seconds(110.0) == pytest.approx(10.0)
    for second in range(1, 41):  # ten times as slow from here on
        it.update(110.0 + second, 0.5 + second / 200)
    assert it.seconds(150.0) == pytest.approx(60.0), "30 % at a half per cent a second"
    assert it.seconds(190.0) > 2 * it.seconds(150.0), "it grows where nothing comes"
    it.update(191.0, 0.1)
    assert it.seconds(191.0) is None, "it began anew"
    it.update(201.0, 0.2)
    assert it.seconds(201.0) == pytest.approx(80.0)
    it.update(202.0, 1.0)
    assert it.text(202.0) == ""


def test_on_a_terminal_the_bar_says_how_long_it_will_take(monkeypatch: pytest.MonkeyPatch, terminal: Terminal) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(sys, "stderr", terminal)
    began, now = time.monotonic(), [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: began + now[0])
    with ConsoleProgress() as progress:
        progress.stage("lower")
        now[0] = 60.0
        progress.update(1, 4, "layer 1")
        progress._bars.refresh()
    assert "about 3 min left" in terminal.shown()


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
