"""The Kotlin sample: compiled by JetBrains' compiler, screen included, and run with the real Android library."""

from __future__ import annotations

import functools
import http.server
import json
import re
import subprocess
import threading
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gemcut.devices.android import java, toolchain
from gemcut.devices.android.device import first_processors, write_root
from gemcut.devices.android.libraries import resolve
from gemcut.errors import LackingError
from gemcut.sample.phone_tools import TOOLS
from gemcut.util.fetching import npm, pins
from gemcut.util.progress import Silent

from tests.support.android_app import DEMO, Desk, digest, rewritten, with_prompt, zipped
from tests.support.exports import Exported
from tests.support.java_core import JAVA, Core

SAMPLE = DEMO / "kotlin"
DRIVE = Path(__file__).parents[2] / "support/kotlin_drive/Drive.kt"
LIBRARY = "npm:react-native-executorch@0.8.4"
COMPILER = "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler"
CATALOG = tomllib.loads((DEMO / "gradle/libs.versions.toml").read_text(encoding="utf-8"))
pytestmark = pytest.mark.skipif(toolchain.machine() != "x86_64", reason="it runs the x86-64 library: run it there")


@pytest.fixture(scope="module", autouse=True)
def device_cache(own_cache: Path, kept_cache: Path) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GEMCUT_CACHE", str(kept_cache))
        yield kept_cache


@pytest.fixture(scope="module")
def kotlin(device_cache: Path) -> Path:
    """The folder of the compiler's jars, of the version that the app's build names."""
    try:
        return npm("kotlin-compiler", CATALOG["versions"]["kotlin"], Silent()) / "lib"
    except LackingError as error:
        pytest.skip(f"{error.message}; {error.hint}")


@pytest.fixture(scope="module")
def desk(kotlin: Path, core: Core, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """The sample, its screen too, compiled against the core, ExecuTorch's classes and stubs of Android's."""
    import build_apk

    try:
        library = resolve(LIBRARY, "x86_64", Silent())
        home = java.build(library, Silent())
    except LackingError as error:
        pytest.skip(f"{error.message}; {error.hint}")
    assert library.classes
    out, stubs, root = (tmp_path_factory.mktemp(name) for name in ("kotlin", "stubs", "root"))
    build_apk.javac(build_apk.java_files(DEMO / "smoke/stubs"), (), stubs)
    gson = next(jar for jar in core.jars if jar.name == "gson.jar")
    runtime = [kotlin / "kotlin-stdlib.jar", kotlin / "kotlinx-coroutines-core-jvm.jar"]
    path = ":".join(map(str, [*runtime, kotlin / "annotations-13.0.jar", gson, stubs, core.main, library.classes]))
    flags = ("-no-stdlib", "-no-reflect", "-jvm-target", "1.8", "-Werror")
    command = (*JAVA, "-cp", f"{kotlin}/*", COMPILER, *flags, "-d", out, "-cp", path, SAMPLE / "src/main/kotlin", DRIVE)
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    write_root(first_processors(1), root)
    classes = ":".join(map(str, [out, core.main, *runtime]))
    return Desk(home, Path(classes), gson, root)  # several places, as a class path takes them


@pytest.fixture(scope="module")
def bundle(sample_int4: Exported, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_prompt(sample_int4.path, tmp_path_factory.mktemp("bundle") / "sample")


ASK = {"do": "ask", "say": "Set an alarm for 08:10", "tools": list(TOOLS.values()), "result": {"status": "ok"}}


def test_it_opens_a_bundle_streams_an_answer_and_calls_a_tool(desk: Desk, bundle: Path, tmp_path: Path) -> None:
    assert (Path(str(desk.classes).split(":")[0]) / "org/gemcut/sample/MainActivity.class").is_file()
    stranger = {"do": "ask", "say": "long " * 2000}
    first = {"do": "first", "say": "Tell me about alarms"}
    steps = [{"do": "deliver", "folder": str(bundle), "load": True}, ASK, stranger, first, ASK]
    delivered, alarm, long, cut, again = desk.run(tmp_path, steps)
    assert delivered["sha256"] == digest(bundle / "manifest.json")
    assert not delivered["needs_download"]
    assert alarm["calls"] == ['set_alarm {"time":"08:10"} gave {"status":"ok"}']
    # What the Java app says too (test_app.py), and piece by piece; nothing of the call is heard.
    assert "".join(alarm["pieces"]) == "Your alarm is set for 08:10."
    assert len(alarm["pieces"]) > 3
    assert "doesn't fit into the model's context" in long["error"]
    assert cut["first"].startswith("Said(piece=")
    assert again == alarm  # neither the refusal nor the answer that nobody heard to its end is left in the model


class Breaking(http.server.SimpleHTTPRequestHandler):
    """A server that breaks off the first answer half way, and gives the rest of a file to who asks for it."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.headers.get("Range", "all"))
        whole = Path(self.translate_path(self.path))
        if not whole.is_file():
            self.send_error(404)
            return
        data = whole.read_bytes()
        begin = int(self.asked[-1].removeprefix("bytes=").rstrip("-")) if self.asked[-1] != "all" else 0
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(data) - begin))
        self.end_headers()
        self.wfile.write(data[begin : len(data) // 2 if len(self.asked) == 1 else None])

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    """Serves tmp_path/served. Its address, and the ranges that were asked for."""
    asked: list[str] = []
    handler = type("Handler", (Breaking,), {"asked": asked})
    (tmp_path / "served").mkdir()
    where = functools.partial(handler, directory=str(tmp_path / "served"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), where) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_address[1]}", asked
        serving.shutdown()


def test_a_bundle_is_downloaded_and_goes_on_where_it_broke_off(
    desk: Desk, bundle: Path, server: tuple[str, list[str]], tmp_path: Path
) -> None:
    address, asked = server
    whole = zipped(bundle, tmp_path / "served/assistant-1.gemcut")
    flipped = bytearray(whole.read_bytes())
    flipped[2_000_000] ^= 1
    (tmp_path / "served/assistant-2.gemcut").write_bytes(flipped)
    deliver = {"do": "deliver", "url": f"{address}/assistant-1.gemcut"}
    steps = [
        deliver,
        {**deliver, "stop_after": 1},
        deliver,
        {**deliver, "load": True},
        {**ASK},
        {"do": "deliver", "url": f"{address}/assistant-2.gemcut"},
        {"do": "deliver", "url": f"{address}/assistant-3.gemcut"},
    ]
    broken, stopped, done, kept, alarm, damaged, missing = desk.run(tmp_path, steps)
    assert "assistant-1.gemcut broke off" in broken["error"]
    assert "goes on where it stopped" in broken["hint"]
    assert stopped["kind"] == "STOPPED"
    assert done["sha256"] == kept["sha256"] == digest(bundle / "manifest.json")
    assert [one["needs_download"] for one in (done, kept)] == [True, False]
    assert alarm["calls"]
    assert damaged["kind"] == "DAMAGED"
    assert "answers 404" in missing["error"]
    half = whole.stat().st_size // 2
    assert asked[:2] == ["all", f"bytes={half}-"]
    begins = int(re.fullmatch(r"bytes=(\d+)-", asked[2])[1])  # type: ignore[index]
    assert half < begins < whole.stat().st_size
    assert asked[3:] == ["all", "all"]
    # No copy of the file is left beside what was unpacked.
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["assistant-1"]


def test_a_newer_bundle_in_the_app_takes_the_place_of_the_old_one(desk: Desk, bundle: Path, tmp_path: Path) -> None:
    newer = rewritten(bundle, tmp_path / "newer", {"MODEL_CARD.md": b"# Another\n"})
    steps = [{"do": "deliver", "folder": str(folder)} for folder in (bundle, newer)]
    desk.run(tmp_path, steps)
    (kept,) = (tmp_path / "store").iterdir()
    assert kept.name == digest(newer / "manifest.json")
    damaged = kept / json.loads((kept / "manifest.json").read_text())["program"]
    damaged.write_bytes(damaged.read_bytes()[:-1])
    (again,) = desk.run(tmp_path, [steps[1]])
    assert again["sha256"] == kept.name
    assert damaged.stat().st_size == (newer / damaged.name).stat().st_size


def test_the_build_names_the_versions_that_were_compiled(kotlin: Path) -> None:
    with zipfile.ZipFile(kotlin / "kotlinx-coroutines-core-jvm.jar") as jar:
        version = jar.read("META-INF/kotlinx_coroutines_core.version").decode().strip()
    assert CATALOG["versions"]["coroutines"] == version
    assert f"npm/kotlin-compiler@{CATALOG['versions']['kotlin']}" in pins()
    manifest = (SAMPLE / "src/main/AndroidManifest.xml").read_text(encoding="utf-8")
    for permission in ("INTERNET", "ACCESS_NETWORK_STATE", "SET_ALARM"):
        assert f".permission.{permission}" in manifest
