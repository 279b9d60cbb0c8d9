"""``gemcut chat`` on a pseudo-terminal, typed into as people type."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pytest

PROMPT = ">>>"  # also shown again once a line is sent, so what a test waits for after that is the answer first
Start = Callable[..., pexpect.spawn]


@pytest.fixture
def start(bundle: Path, tmp_path: Path) -> Iterator[Start]:
    """Starts a chat, with a history of its own."""
    import os

    begun: list[pexpect.spawn] = []

    def run(*words: str) -> pexpect.spawn:
        environment = {**os.environ, "PROMPT_TOOLKIT_NO_CPR": "1", "XDG_STATE_HOME": str(tmp_path)}
        command = ["-m", "gemcut.cli", "chat", str(bundle), *words]
        begun.append(pexpect.spawn(sys.executable, command, env=environment, encoding="utf-8", timeout=60))
        begun[-1].expect(PROMPT)
        return begun[-1]

    yield run
    for chat in begun:
        chat.close(force=True)


def end(chat: pexpect.spawn) -> int | None:
    chat.expect(pexpect.EOF)
    chat.close()
    status: int | None = chat.exitstatus
    return status


def goes_on(chat: pexpect.spawn) -> bool:
    """Whether a chat still answers, and ends when it is told to."""
    chat.sendline("hello")
    chat.expect("three")
    chat.expect(PROMPT)
    chat.sendline("/bye")
    return end(chat) == 0


def test_messages_are_answered_until_the_end(start: Start, tmp_path: Path) -> None:
    chat = start()
    assert "follows, greedy. /help lists commands" in chat.before
    chat.sendline("hello")
    chat.expect("three")
    chat.expect(PROMPT)
    chat.sendline("/stats")
    chat.expect("context   10 of 128 tokens")
    chat.expect(PROMPT)
    chat.sendline("/clear")
    chat.expect("Forgotten")
    chat.expect(PROMPT)
    chat.sendeof()
    assert end(chat) == 0
    assert "+hello" in (tmp_path / "gemcut" / "chat_history").read_text()


def test_control_c_drops_a_line_and_not_the_chat(start: Start) -> None:
    chat = start()
    chat.send("half a line")
    chat.expect("half a line")
    chat.sendintr()
    chat.expect(PROMPT)
    assert goes_on(chat)


def test_a_mistake_is_told_and_the_chat_goes_on(start: Start) -> None:
    chat = start()
    chat.sendline("hello " * 140)
    chat.expect("the context is full")
    chat.expect(PROMPT)
    assert goes_on(chat)


def test_a_signal_from_elsewhere_ends_it(start: Start) -> None:
    import signal

    chat = start()
    chat.kill(signal.SIGTERM)
    assert end(chat) == 130


def test_the_first_prompt_is_there_before_torch(bundle: Path) -> None:
    """The program is loaded while the first message is typed; whatever comes before needs nothing large."""
    code = f"""
import sys
import gemcut.chat.loading as loading
import gemcut.cli.terminal_input as terminal_input
loading.LoadingRunner.__init__ = lambda self, load: None
loading.LoadingRunner.close = lambda self: None
def ask(self, prompt):
    print(sorted({{name.partition(".")[0] for name in sys.modules}} & {{"torch", "transformers", "executorch"}}))
terminal_input.TerminalInput.__init__ = lambda self, words: None
terminal_input.TerminalInput.ask = ask
sys.stdin.isatty = lambda: True
from gemcut.cli.chat import command
command.main([{str(bundle)!r}, "--verbose"], standalone_mode=False)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "[]" in done.stdout + done.stderr
