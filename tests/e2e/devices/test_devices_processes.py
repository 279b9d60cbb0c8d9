"""Child processes end, with their children: at their time limit, on Ctrl-C, and when we are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from gemcut.errors import ConformanceError, LackingError
from gemcut.util import processes

HANGS = ["sh", "-c", "echo $$ > pid; sleep 600 & echo $! > child; wait"]


def ended(path: Path) -> bool:
    """Whether the process whose number a file holds is gone, or will be in a moment."""
    number = int(path.read_text())
    for _ in range(100):
        if not psutil.pid_exists(number) or psutil.Process(number).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


def wait_for(path: Path) -> None:
    for _ in range(200):
        if path.exists() and path.read_text().strip():
            return
        time.sleep(0.05)
    raise AssertionError(f"{path.name} never came")


def test_output_and_exit_code() -> None:
    done = processes.run(["sh", "-c", "cat; echo out; echo err >&2; exit 3"], 10, given=b"in ")
    assert (done.code, done.stdout, done.stderr, done.signal) == (3, "in out\n", "err\n", 0)


def test_a_signal_is_told() -> None:
    assert processes.run(["sh", "-c", "kill -SEGV $$"], 10).signal == signal.SIGSEGV


def test_a_time_limit_ends_it_and_its_children(tmp_path: Path) -> None:
    with pytest.raises(ConformanceError, match="took more than 1 seconds"):
        processes.run(HANGS, 1, tmp_path)
    assert ended(tmp_path / "pid")
    assert ended(tmp_path / "child")


def test_a_command_that_is_not_there() -> None:
    with pytest.raises(LackingError, match="command not found: nonesuch"):
        processes.run(["nonesuch"], 1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_when_we_are_ended(tmp_path: Path, number: signal.Signals) -> None:
    if number == signal.SIGKILL and processes.shutil.which("setpriv") is None:
        pytest.skip("no setpriv here: apt-get install util-linux")
    program = (
        "import signal; signal.signal(signal.SIGTERM, signal.default_int_handler)\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"from gemcut.util import processes; processes.run({HANGS!r}, 600)"
    )
    us = subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path, stderr=subprocess.DEVNULL)
    wait_for(tmp_path / "child")
    os.kill(us.pid, number)
    us.wait(20)
    assert ended(tmp_path / "pid")
    if number != signal.SIGKILL:  # then only what we started ourselves can be ended by the kernel
        assert ended(tmp_path / "child")
    else:
        os.kill(int((tmp_path / "child").read_text()), signal.SIGKILL)
