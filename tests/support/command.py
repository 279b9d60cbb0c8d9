"""The command line as a user runs it: in a process, folder and environment of its own.

Importing torch, ExecuTorch and LiteRT takes most of a short command's time, and is the same each time. So a process is
usually a fork of a server that has imported them and done nothing else (``multiprocessing``'s forkserver). What
concerns the start itself asks for ``cold=True``: a new interpreter. So does, unasked, every command whose environment
differs in what is read while modules are imported.
"""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
import multiprocessing.forkserver
import os
import signal
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[2]
PRELOADED = "tests.support.preloaded"
SECONDS = 900.0
# Variables by which modules or the interpreter act as they are loaded; a command that has them otherwise starts anew.
AT_IMPORT = ("PYTHON", "HF_", "HUGGINGFACE", "TRANSFORMERS", "OMP_", "MKL_", "LD_", "HOME", "XDG_", "TORCH")
# Read when it is used; torch sets it in a process of the tests that has compiled something.
NOT_AT_IMPORT = "TORCHINDUCTOR_CACHE_DIR"
# No test asks a hub, and none is to wait for one.
OFFLINE = {"HF_HUB_OFFLINE": "1"}

_server_environment: dict[str, str] | None = None
_running: weakref.WeakSet[Running] = weakref.WeakSet()


class Running:
    """A command that was begun; the names are those of ``subprocess.Popen``.

    Attributes:
        pid: Of its process.
        returncode: Minus the signal that ended it, or its exit code; None before it was waited for.
        stdout: What it says, as text; likewise stderr.
    """

    def __init__(self, words: tuple[str, ...], cwd: Path, environment: Mapping[str, str], stdin: str) -> None:
        out, out_end = multiprocessing.Pipe(duplex=False)
        err, err_end = multiprocessing.Pipe(duplex=False)
        with tempfile.TemporaryFile("w+", encoding="utf-8") as given:
            given.write(stdin)
            given.seek(0)
            given_end = Connection(os.dup(given.fileno()), writable=False)
        self.args = words
        self.returncode: int | None = None
        with _server(), given_end, out_end, err_end:
            context = multiprocessing.get_context("forkserver")
            arguments = (words, str(cwd), dict(environment), given_end, out_end, err_end)
            self._process = context.Process(target=_child, args=arguments)
            self._process.start()
        _running.add(self)
        self.pid = self._process.pid
        self.stdout, self.stderr = _text(out), _text(err)

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        self.returncode = self._process.exitcode
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end.

        Raises:
            subprocess.TimeoutExpired: It still runs.
        """
        self._process.join(timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None and self.pid is not None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it as ``kill -9`` does."""
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Read all that it says, and wait for its end.

        Raises:
            subprocess.TimeoutExpired: It still runs.
        """
        said: dict[str, str] = {}
        streams = {"out": self.stdout, "err": self.stderr}
        readers = [Thread(target=_read, args=(said, *each)) for each in streams.items()]
        for reader in readers:
            reader.start()
        self.wait(timeout)
        for reader in readers:
            reader.join(timeout)
            if reader.is_alive():  # a child of its own holds the pipe
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
        for stream in streams.values():
            stream.close()
        return said["out"], said["err"]


def gemcut(
    *words: object,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str = "",
    timeout: float = SECONDS,
    cold: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run ``gemcut`` with these words to its end.

    Args:
        words: Each becomes a word of the command line.
        cwd: The folder to run it in; this process's unless said.
        env: Variables that it has beside this process's.
        stdin: What it reads.
        timeout: Seconds after which it is killed, and the test fails.
        cold: Start an interpreter, instead of forking one that has everything imported.

    Returns:
        Its exit code, and what it said.
    """
    if _must_be_cold(env or {}, cold):
        return subprocess.run(
            [sys.executable, "-m", "gemcut.cli", *map(str, words)],
            cwd=cwd,
            env=_environment(env or {}),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    running = Running(tuple(map(str, words)), cwd or Path.cwd(), _environment(env or {}), stdin)
    try:
        out, err = running.communicate(timeout)
    except BaseException:
        running.kill()
        raise
    return subprocess.CompletedProcess(list(words), running.wait(), out, err)


def begin(
    *words: object, cwd: Path, env: Mapping[str, str] | None = None, cold: bool = False
) -> Running | subprocess.Popen[str]:
    """Begin ``gemcut`` with these words; arguments as for ``gemcut``.

    With a TMPDIR of its own it starts anew: by that, tests find the processes that it starts.
    """
    if (env or {}).get("TMPDIR", os.environ.get("TMPDIR")) == os.environ.get("TMPDIR") and not _must_be_cold(
        env or {}, cold
    ):
        return Running(tuple(map(str, words)), cwd, _environment(env or {}), "")
    return subprocess.Popen(
        [sys.executable, "-m", "gemcut.cli", *map(str, words)],
        cwd=cwd,
        env=_environment(env or {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that runs the tests in the background hands on an ignored SIGINT; Ctrl-C must reach the child.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


@atexit.register
def _kill_what_still_runs() -> None:
    """Of a test that failed before it waited: multiprocessing would wait for it."""
    for running in list(_running):
        running.kill()


def _environment(changes: Mapping[str, str]) -> dict[str, str]:
    return {**os.environ, **OFFLINE, **changes}


def _at_import(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(AT_IMPORT) and name != NOT_AT_IMPORT}


def _must_be_cold(changes: Mapping[str, str], cold: bool) -> bool:
    if cold:
        return True
    served = _server_environment if _server_environment is not None else _at_import({**os.environ, **OFFLINE})
    return _at_import(_environment(changes)) != served


@contextlib.contextmanager
def _server() -> Iterator[None]:
    """The server runs, and has the environment that it was first asked for with."""
    global _server_environment
    if _server_environment is None:
        _server_environment = _at_import({**os.environ, **OFFLINE})
        multiprocessing.get_context("forkserver").set_forkserver_preload([PRELOADED])
        before, here = dict(os.environ), Path.cwd()
        os.environ.update(OFFLINE)
        os.chdir(ROOT)  # where it finds what it is to import
        try:
            multiprocessing.forkserver.ensure_running()
        finally:
            os.chdir(here)
            os.environ.clear()
            os.environ.update(before)
    yield


def _child(
    words: tuple[str, ...], cwd: str, environment: dict[str, str], given: Connection, out: Connection, err: Connection
) -> None:
    """What the fork does: be a ``gemcut`` that was just started."""
    for number, connection in enumerate((given, out, err)):
        os.dup2(connection.fileno(), number)
        connection.close()
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)  # the server's is closed
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    tempfile.tempdir = None
    sys.argv = ["gemcut", *words]
    from gemcut.cli import main

    # With the words of sys.argv, as the script does: a process that is about to end ignores Ctrl-C from then on.
    code = main()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    sys.exit(code)


def _text(connection: Connection) -> IO[str]:
    """The reading end as a stream of text; the connection itself is closed."""
    with connection:
        return os.fdopen(os.dup(connection.fileno()), encoding="utf-8", errors="replace")


def _read(said: dict[str, str], name: str, stream: Any) -> None:
    said[name] = stream.read()
