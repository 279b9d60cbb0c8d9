"""A small adbd for tests: the device's side of adb's protocol, with this machine's shell behind it.

Written from adb's protocol.txt, SYNC.TXT and shell_protocol.h. It speaks CNXN, OPEN, OKAY, WRTE and CLSE; ``shell,v2``;
``sync:`` with STAT, SEND and RECV. What it takes for ``/data/local/tmp`` is a folder of the test's.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import struct
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

TMP = "/data/local/tmp"
FEATURES = "shell_v2,cmd"
VERSION, MAX_DATA = 0x01000001, 64 * 1024  # of this version on nothing has a checksum
STDIN, STDOUT, STDERR, EXIT, CLOSE_STDIN = range(5)


class FakeAdbd:
    """Listens on ``port`` of the loopback, in a thread of its own, as a context manager.

    silent: it takes what comes and answers nothing any more, as a phone out of reach.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.silent = root, False
        self.commands: list[str] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._links: set[_Link] = set()

    def __enter__(self) -> FakeAdbd:
        self._thread.start()
        self._server = self._do(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._server.close)
        self.drop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    @property
    def serial(self) -> str:
        """As ``adb connect`` takes it."""
        return f"localhost:{self.port}"

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def drop(self) -> None:
        """Ends every connection at once, as a cable that is pulled out."""

        async def all_of_them() -> None:
            for link in list(self._links):
                link.writer.transport.abort()

        self._do(all_of_them())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link(self, reader, writer)
        self._links.add(link)
        try:
            await link.serve()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            link.end()
            self._links.discard(link)
            writer.close()


class _Link:
    """One connection."""

    def __init__(self, adbd: FakeAdbd, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.adbd, self.reader, self.writer = adbd, reader, writer
        self.streams: dict[int, _Stream] = {}
        self._count = 0

    def send(self, command: bytes, arg0: int, arg1: int, data: bytes = b"") -> None:
        if not self.adbd.silent and not self.writer.is_closing():
            number = int.from_bytes(command, "little")
            head = struct.pack("<4s5I", command, arg0, arg1, len(data), 0, number ^ 0xFFFFFFFF)
            self.writer.write(head + data)

    async def serve(self) -> None:
        while True:
            command, arg0, arg1, length, _, _ = struct.unpack("<4s5I", await self.reader.readexactly(24))
            data = await self.reader.readexactly(length)
            if command == b"CNXN":
                banner = f"device::ro.product.name=fake;ro.product.model=fake;features={FEATURES}"
                self.send(b"CNXN", VERSION, MAX_DATA, banner.encode())
            elif command == b"OPEN":
                self._open(arg0, data.rstrip(b"\0").decode())
            elif arg1 in self.streams:
                stream = self.streams[arg1]
                if command == b"OKAY":
                    stream.acknowledged.set()
                elif command == b"WRTE":
                    stream.taken.feed_data(data)
                    self.send(b"OKAY", arg1, arg0)
                elif command == b"CLSE":
                    stream.task.cancel()

    def _open(self, remote: int, service: str) -> None:
        self._count += 1
        stream = _Stream(self, self._count, remote)
        kind, _, line = service.partition(":")
        if kind == "sync":
            work = _sync(stream, self.adbd)
        elif kind.startswith("shell,v2"):
            self.adbd.commands.append(line)
            work = _shell(stream, line.replace(TMP, str(self.adbd.root)), self.adbd)
        else:
            self.send(b"CLSE", 0, remote)
            return
        self.streams[stream.local] = stream
        self.send(b"OKAY", stream.local, remote)
        stream.task = asyncio.create_task(stream.do(work))

    def end(self) -> None:
        for stream in list(self.streams.values()):
            stream.task.cancel()


class _Stream:
    """One service: what came (``taken``), and one message at a time the other way."""

    task: asyncio.Task[None]

    def __init__(self, link: _Link, local: int, remote: int) -> None:
        self.link, self.local, self.remote = link, local, remote
        self.taken, self.acknowledged = asyncio.StreamReader(limit=1 << 30), asyncio.Event()
        self._one = asyncio.Lock()

    async def write(self, data: bytes) -> None:
        async with self._one:
            for at in range(0, len(data), MAX_DATA):
                self.acknowledged.clear()
                self.link.send(b"WRTE", self.local, self.remote, data[at : at + MAX_DATA])
                await self.acknowledged.wait()

    async def do(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        finally:
            self.link.send(b"CLSE", self.local, self.remote)
            self.link.streams.pop(self.local, None)


def _hear_hang_ups() -> None:
    """As on a device: whoever started the tests may have had them ignored (nohup), and a shell can't trap those."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


async def _shell(stream: _Stream, line: str, adbd: FakeAdbd) -> None:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        "sh",
        "-c",
        line,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=pipe,
        stderr=pipe,
        start_new_session=True,
        preexec_fn=_hear_hang_ups,
    )

    async def pump(kind: int, source: asyncio.StreamReader) -> None:
        while data := await source.read(1 << 14):
            data = data.replace(str(adbd.root).encode(), TMP.encode())
            await stream.write(struct.pack("<BI", kind, len(data)) + data)

    assert process.stdout
    assert process.stderr
    try:
        await asyncio.gather(pump(STDOUT, process.stdout), pump(STDERR, process.stderr))
        code = await process.wait()
        await stream.write(struct.pack("<BIB", EXIT, 1, code if code >= 0 else 128 - code))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGHUP)  # as adbd does to the shell of a stream that ended (shell_service.cpp)


async def _sync(stream: _Stream, adbd: FakeAdbd) -> None:
    while True:
        command, length = struct.unpack("<4sI", await stream.taken.readexactly(8))
        if command == b"QUIT":
            return
        name = (await stream.taken.readexactly(length)).decode()
        path = Path((name.rpartition(",")[0] if command == b"SEND" else name).replace(TMP, str(adbd.root)))
        if command == b"STAT":
            found = path.stat() if path.exists() else None
            mode, size, changed = (found.st_mode, found.st_size, int(found.st_mtime)) if found else (0, 0, 0)
            await stream.write(struct.pack("<4s3I", b"STAT", mode, size, changed))
        elif command == b"SEND":
            await stream.write(await _take(stream, path, int(name.rpartition(",")[2])))
        elif command == b"RECV":
            data = path.read_bytes()
            for at in range(0, len(data), MAX_DATA):
                part = data[at : at + MAX_DATA]
                await stream.write(struct.pack("<4sI", b"DATA", len(part)) + part)
            await stream.write(struct.pack("<4sI", b"DONE", 0))


async def _take(stream: _Stream, path: Path, mode: int) -> bytes:
    parts = []
    while True:
        kind, length = struct.unpack("<4sI", await stream.taken.readexactly(8))
        if kind == b"DONE":
            break
        parts.append(await stream.taken.readexactly(length))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"".join(parts))
        path.chmod(mode & 0o777)
    except OSError as error:
        said = str(error.strerror).encode()
        return struct.pack("<4sI", b"FAIL", len(said)) + said
    return struct.pack("<4sI", b"OKAY", 0)
