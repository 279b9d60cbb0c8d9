"""Progress on a terminal and off it, and figures for readers."""

from __future__ import annotations

import io
import itertools
import os
import pty
import random
import sys
import time
from collections.abc import Iterator, Sequence

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


@pytest.mark.parametrize(
    ("plain", "said"),
    [
        (False, ["60%, layer x, about 3 min left"]),
        (True, [f"{second // 5}%, layer x" for second in range(10, 30, 10)]),
    ],
    ids=["alone", "verbose"],
)
def test_off_a_terminal_a_stage_has_one_line_and_a_long_one_a_few_more(
    plain: bool, said: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    with ConsoleProgress(plain) as progress:
        progress.stage("lower")
        for second in range(1, 302):
            now[0] = second
            progress.update(second, 500, "layer x")
    shown = capsys.readouterr().err
    assert "\r" not in shown
    lines = shown.splitlines()
    assert lines[0] == "lower"
    assert lines[1 : 1 + len(said)] == [f"lower: {each}" for each in said]
    assert len(lines) == (31 if plain else 2)
    assert progress.seconds == {"lower": 301.0}


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


def run_of(steps: Sequence[float]) -> list[float | None]:
    """What is told of the time left, each second of a stage whose equal steps take so many seconds."""
    it, now, told = Remaining(0.0), 0.0, list[float | None]()
    ends = list(itertools.accumulate(steps))
    for second in range(1, int(ends[-1])):
        now = float(second)
        it.update(now, sum(end <= now for end in ends) / len(ends))
        told.append(it.seconds(now))
    return told


def test_the_time_left_of_even_steps_counts_down() -> None:
    told = run_of([10.0] * 26)
    first = next(second for second, left in enumerate(told, 1) if left is not None)
    assert first <= 30
    for second, left in enumerate(told[first:], first + 1):
        assert left == pytest.approx(260 - second, abs=1), "between two steps too"


def test_nothing_is_told_of_the_time_left_while_the_estimate_moves() -> None:
    told = run_of([1.0] * 60 + [10.0] * 60)  # ten times as slow from there on
    assert told[30] is not None
    at = told.index(None, 30)
    assert at < 80, "what was told no longer holds"
    again = next(second for second in range(at, len(told)) if told[second] is not None)
    assert told[again] == pytest.approx(660 - again, rel=0.4)


def test_the_time_left_never_jumps() -> None:
    steps = random.Random(1)
    for uneven in ([steps.uniform(0.2, 1.8) for _ in range(300)], [1 + at / 50 for at in range(200)]):
        told = run_of(uneven)
        pairs = [(one, other) for one, other in itertools.pairwise(told) if one is not None and other is not None]
        assert len(pairs) > len(told) / 3
        assert all(abs(other - one) <= max(0.2 * one, 5.0) for one, other in pairs)


def test_the_time_left_is_not_told_at_once_nor_at_the_end_nor_after_going_back() -> None:
    it = Remaining(now=100.0)
    assert it.seconds(110.0) is None, "nothing is done"
    it.update(110.0, 0.25)
    assert it.seconds(110.0) is None, "one step is no rule"
    for second in range(1, 11):
        it.update(110.0 + second, 0.25 + second / 40)
    assert it.seconds(120.0) == pytest.approx(20.0)
    it.update(121.0, 0.1)
    assert it.seconds(121.0) is None, "it began anew"
    it.update(122.0, 1.0)
    assert it.text(122.0) == ""


def test_on_a_terminal_the_bar_says_how_long_it_will_take(monkeypatch: pytest.MonkeyPatch, terminal: Terminal) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(sys, "stderr", terminal)
    began, now = time.monotonic(), [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: began + now[0])
    with ConsoleProgress() as progress:
        progress.stage("lower")
        for second in range(1, 61):
            now[0] = float(second)
            progress.update(second, 240, "layer 1")
        progress._bars.refresh()
    shown = terminal.shown()
    assert "25%" in shown
    assert "about 3 min left" in shown


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
