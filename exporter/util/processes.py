"""Child processes that never outlive this one: each in its own session, with a time limit, ended with its children."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ..errors import ConformanceError, LackingError


@dataclass(frozen=True)
class Finished:
    """The result of a command that has ended, here or on a device.

    Attributes:
        code: The exit code; 128 + the signal's number if a signal ended it.
        stdout: What it printed, as text; undecodable bytes are replaced.
        stderr: What it printed as errors, likewise.
    """

    code: int
    stdout: str
    stderr: str

    @property
    def signal(self) -> int:
        """The number of the signal that ended the command, or 0."""
        return self.code - 128 if 128 < self.code < 193 else 0


SPELL = 0.5  # seconds
GRACE = 2.0  # seconds between SIGTERM and SIGKILL


def start(
    command: Sequence[str],
    folder: Path | None = None,
    env: Mapping[str, str] | None = None,
    out: int | IO[bytes] = subprocess.DEVNULL,
    stdin: int | IO[bytes] = subprocess.DEVNULL,
    err: int | IO[bytes] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a command in a session of its own; end it with ``stop``.

    If util-linux's setpriv is installed, the kernel kills the command when this process dies, however that happens
    (prctl(2), PR_SET_PDEATHSIG).

    Args:
        command: The command's name and arguments.
        folder: Where it runs.
        env: Environment variables, in addition to this process's.
        out: Where its output goes; nowhere by default.
        stdin: What it reads; nothing by default.
        err: Where its errors go; with ``out`` by default.

    Raises:
        LackingError: There is no such command.
    """
    setpriv = shutil.which("setpriv")
    tied = [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
    named = str(folder / command[0]) if folder and "/" in command[0] else command[0]
    if shutil.which(named) is None:
        raise LackingError(f"command not found: {command[0]}", hint="run gemcut doctor to see what is missing")
    return subprocess.Popen(
        [*tied, *command],
        cwd=folder,
        env={**os.environ, **(env or {})},
        stdin=stdin,
        stdout=out,
        stderr=subprocess.STDOUT if err is None else err,
        start_new_session=True,
    )


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a started command and all its children, and wait for it; one that has already ended may have left some."""
    for number, grace in ((signal.SIGTERM, GRACE), (signal.SIGKILL, None)):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(grace)
            if number == signal.SIGTERM:
                continue  # its children may not have heard


def run(
    command: Sequence[str],
    seconds: float,
    folder: Path | None = None,
    env: Mapping[str, str] | None = None,
    given: bytes | None = None,
) -> Finished:
    """Run a command to its end, or end it and its children at its time limit, on Ctrl-C and on any error.

    Args:
        command: The command's name and arguments.
        seconds: Its time limit.
        folder: Where it runs.
        env: Environment variables, in addition to this process's.
        given: What it reads.

    Raises:
        ConformanceError: It took longer than ``seconds``.
        LackingError: There is no such command.
    """
    process = start(
        command,
        folder,
        env,
        out=subprocess.PIPE,
        err=subprocess.PIPE,
        stdin=subprocess.DEVNULL if given is None else subprocess.PIPE,
    )
    try:
        out, err = _communicate(process, seconds, given, Path(command[0]).name)
    finally:
        stop(process)
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()
    code = process.returncode if process.returncode >= 0 else 128 - process.returncode
    return Finished(code, out.decode("utf-8", "replace"), err.decode("utf-8", "replace"))


def _communicate(
    process: subprocess.Popen[bytes], seconds: float, given: bytes | None, name: str
) -> tuple[bytes, bytes]:
    """What it wrote. Waits in short spells: a signal that comes just before a long one would not end it."""
    end = time.monotonic() + seconds
    while True:
        try:
            return process.communicate(given, timeout=max(0.0, min(SPELL, end - time.monotonic())))
        except subprocess.TimeoutExpired as error:
            given = None  # communicate keeps what it hasn't sent yet, and takes no more
            if time.monotonic() < end:
                continue
            raise ConformanceError(
                f"{name} took more than {seconds:.0f} seconds and was ended",
                hint="it hangs, or this machine is busy; allow it more time with --timeout SECONDS",
            ) from error
