"""A headless Chromium, driven over the pipe of its own debugging protocol: no driver and no port is needed."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

PACKAGE = "chromium"
_SECONDS = 60.0


def chromium() -> str | None:
    """The browser's command; None where there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Browser:
    """One page of a browser that lives as long as the context.

    messages: every event that the page has sent so far, in order.
    """

    def __init__(self) -> None:
        command = chromium()
        assert command is not None
        self._profile = tempfile.TemporaryDirectory(prefix="gemcut-chromium-")
        there, self._write = os.pipe()
        self._read, back = os.pipe()
        words = [
            command,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--remote-debugging-pipe",
            f"--user-data-dir={self._profile.name}",
            "--window-size=1200,900",
            "about:blank",
        ]
        self._process = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{there} 4>&{back}', "chromium", *words],
            pass_fds=(there, back),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(there)
        os.close(back)
        self._rest, self._number, self._session = b"", 0, ""
        self.messages: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._write)
        os.close(self._read)
        shutil.rmtree(self._profile.name, ignore_errors=True)
        self._profile.cleanup()

    def _next(self, until: float) -> dict[str, Any]:
        while b"\0" not in self._rest:
            if not select.select([self._read], [], [], max(0.0, until - time.monotonic()))[0]:
                raise TimeoutError("Chromium said nothing in time")
            part = os.read(self._read, 1 << 20)
            if not part:
                raise RuntimeError("Chromium ended")
            self._rest += part
        line, self._rest = self._rest.split(b"\0", 1)
        found: dict[str, Any] = json.loads(line)
        return found

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command of the protocol, and what it returns."""
        self._number += 1
        order: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            order["sessionId"] = self._session
        os.write(self._write, json.dumps(order).encode() + b"\0")
        until = time.monotonic() + _SECONDS
        while True:
            message = self._next(until)
            if message.get("id") == self._number:
                assert "error" not in message, message
                return dict(message["result"])
            self.messages.append(message)

    def wait(self, done: Callable[[], bool]) -> None:
        """Until ``done``, asked again and again."""
        until = time.monotonic() + _SECONDS
        while not done():
            assert time.monotonic() < until, "it never came"
            time.sleep(0.05)

    def open(self, page: Path) -> None:
        """Opens a file and waits until it has been loaded and its scripts have run."""
        self.messages.clear()
        self.call("Page.navigate", url=page.as_uri())
        self.wait(lambda: self.run("document.readyState") == "complete" and self.run("location.protocol") == "file:")

    def run(self, expression: str) -> Any:
        """What a JavaScript expression gives in the page."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def key(self, name: str, code: int, text: str = "") -> None:
        """Presses and lets go a key. code: Windows' number of it; text: what it types."""
        pressed = {"key": name, "code": name, "windowsVirtualKeyCode": code}
        if text:
            self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **pressed)
        else:
            self.call("Input.dispatchKeyEvent", type="rawKeyDown", **pressed)
        self.call("Input.dispatchKeyEvent", type="keyUp", **pressed)

    def media(self, scheme: str, kind: str = "") -> None:
        """Emulates ``prefers-color-scheme`` and the medium."""
        self.call(
            "Emulation.setEmulatedMedia", media=kind, features=[{"name": "prefers-color-scheme", "value": scheme}]
        )

    def complaints(self) -> list[str]:
        """What the console would show in red or yellow."""
        out = []
        for message in self.messages:
            method, what = message.get("method", ""), message.get("params", {})
            if method == "Runtime.exceptionThrown" or (
                method == "Runtime.consoleAPICalled" and what["type"] in ("error", "warning", "assert")
            ):
                out.append(json.dumps(what)[:2000])
            if method == "Log.entryAdded" and what["entry"]["level"] in ("error", "warning"):
                out.append(what["entry"]["text"])
        return out

    def requests(self) -> list[str]:
        """Every address that the page asked for, itself aside; data: addresses are no requests."""
        sent = [m["params"]["request"]["url"] for m in self.messages if m.get("method") == "Network.requestWillBeSent"]
        return [url for url in sent[1:] if not url.startswith(("data:", "blob:"))]
