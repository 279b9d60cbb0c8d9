"""The app but for its screen, on OpenJDK with the real Android library: bundles, chat, tool calls, proof."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from gemcut.bundle.reader import open_bundle
from gemcut.devices.android import java, toolchain
from gemcut.devices.android.device import first_processors, write_root
from gemcut.devices.android.libraries import resolve
from gemcut.errors import LackingError
from gemcut.sample.phone_tools import TOOLS
from gemcut.util.progress import Silent

from tests.support.android_app import (
    APP,
    DEMO,
    DRIVE,
    SCREENLESS,
    Desk,
    compiled,
    digest,
    rewritten,
    with_prompt,
    zipped,
)
from tests.support.command import gemcut
from tests.support.exports import Exported

LIBRARY = "npm:react-native-executorch@0.8.4"
OTHERS = ("npm:react-native-executorch@0.7.3", "npm:react-native-executorch@0.9.3")
pytestmark = pytest.mark.skipif(toolchain.machine() != "x86_64", reason="it runs the x86-64 library: run it there")

Laid = Callable[[str], Desk]


@pytest.fixture(scope="module", autouse=True)
def device_cache(own_cache: Path, kept_cache: Path) -> Iterator[Path]:
    """Libraries and shims come from the cache that is kept."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GEMCUT_CACHE", str(kept_cache))
        yield kept_cache


@pytest.fixture(scope="module")
def desk_of(device_cache: Path, jdk: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory) -> Laid:
    """Lays the app on a desk with one ExecuTorch library; skips with the reason where that can't be fetched."""
    gson = next(jar for jar in jdk if jar.name == "gson.jar")
    root = tmp_path_factory.mktemp("root")
    # One processor: threads that wait for each other's turn are slower than none, on a machine that others use too.
    write_root(first_processors(1), root)

    def lay(name: str) -> Desk:
        try:
            library = resolve(name, "x86_64", Silent())
            home = java.build(library, Silent())
        except LackingError as error:
            pytest.skip(f"{error.message}; {error.hint}")
        folders = [DEMO / "core/src/main/java", *(APP / "java/org/gemcut/demo" / one for one in SCREENLESS), DRIVE]
        sources = [path for folder in folders for path in sorted(folder.rglob("*.java"))]
        assert library.classes
        out = tmp_path_factory.mktemp("app")
        compiled(sources, [library.classes, gson, home / "classes"], out)
        shutil.copytree(APP / "resources", out, dirs_exist_ok=True)
        return Desk(home, out, gson, root)

    return lay


@pytest.fixture(scope="module")
def desk(desk_of: Laid) -> Desk:
    return desk_of(LIBRARY)


@pytest.fixture(scope="module")
def bundle(sample_int4: Exported, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample's bundle with its prompt.json."""
    return with_prompt(sample_int4.path, tmp_path_factory.mktemp("bundle") / "sample")


@pytest.fixture(scope="module")
def added(bundle: Path) -> list[dict[str, str]]:
    """The steps that add the bundle and open it."""
    sha256 = digest(bundle / "manifest.json")
    return [{"do": "add", "folder": str(bundle)}, {"do": "open", "sha256": sha256, "version": "1.1.0"}]


# ---- what comes before the library -----------------------------------------------------------------------------------


def test_a_bundle_is_added_listed_and_removed(desk: Desk, bundle: Path, tmp_path: Path) -> None:
    sha256 = digest(bundle / "manifest.json")
    steps = [
        {"do": "add", "folder": str(bundle), "stop_after": 3},
        {"do": "list"},
        {"do": "add", "folder": str(bundle)},
        {"do": "add", "folder": str(bundle)},
        {"do": "list"},
        {"do": "remove", "sha256": sha256},
        {"do": "list"},
    ]
    stopped, none, first, again, kept, _, gone = results = desk.run(tmp_path, steps)
    assert (stopped["kind"], none["kept"]) == ("STOPPED", [])
    assert first["sha256"] == again["sha256"] == sha256
    assert [line.split()[:3] for line in kept["kept"]] == [[sha256, "sample", "executorch"]]
    assert gone["kept"] == []
    assert not any(result["loaded"] for result in results)
    assert not list((tmp_path / "store").iterdir())


def test_a_zip_is_unpacked_as_it_is_read(desk: Desk, bundle: Path, tmp_path: Path) -> None:
    whole = zipped(bundle, tmp_path / "sample.gemcut").read_bytes()
    names = {
        "half.gemcut": whole[: len(whole) // 2],
        "empty.gemcut": b"",
        "notes.txt": b"no bundle at all",
        "flipped.gemcut": whole[:2_000_000] + bytes([whole[2_000_000] ^ 1]) + whole[2_000_001:],
    }
    for name, data in names.items():
        (tmp_path / name).write_bytes(data)
    files = ["sample.gemcut", *names]
    good, half, empty, notes, flipped = results = desk.run(
        tmp_path, [{"do": "add_zip", "zip": str(tmp_path / name)} for name in files]
    )
    assert good["sha256"] == digest(bundle / "manifest.json")
    assert "half.gemcut is truncated or was changed" in half["error"]
    assert (empty["kind"], notes["kind"]) == ("NOT_A_BUNDLE", "NOT_A_BUNDLE")
    assert "notes.txt is not a bundle" in notes["error"]
    assert "flipped.gemcut" in flipped["error"]
    assert flipped["kind"] == "DAMAGED"
    assert not any(result["loaded"] for result in results)


def test_a_zip_whose_names_lead_out_is_refused(desk: Desk, tmp_path: Path) -> None:
    import zipfile

    for number, name in enumerate(("../../out.txt", "/out.txt", "a/../../out.txt")):
        with zipfile.ZipFile(tmp_path / f"{number}.gemcut", "w") as packed:
            packed.writestr(name, b"out")
    results = desk.run(tmp_path, [{"do": "add_zip", "zip": str(tmp_path / f"{n}.gemcut")} for n in range(3)])
    assert all("leads out of it" in result["error"] for result in results)
    assert not list(tmp_path.rglob("out.txt"))


def test_one_flipped_byte_is_refused_before_the_library_is_loaded(desk: Desk, bundle: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(bundle, damaged)
    program = damaged / "model.pte"
    data = bytearray(program.read_bytes())
    data[len(data) // 3] ^= 4
    program.write_bytes(data)
    (result,) = desk.run(tmp_path / "new", [{"do": "add", "folder": str(damaged)}])
    assert (result["kind"], result["loaded"]) == ("DAMAGED", False)
    assert "model.pte was changed or swapped" in result["error"]
    assert "copy or export the bundle again" in result["shown"]
    # And where storage decays after it was added.
    sha256 = digest(bundle / "manifest.json")
    desk.run(tmp_path / "old", [{"do": "add", "folder": str(bundle)}])
    (tmp_path / "old/store" / sha256 / "model.pte").write_bytes(data)
    opened, again, whole = desk.run(
        tmp_path / "old",
        [{"do": "open", "sha256": sha256}, {"do": "add", "folder": str(bundle)}, {"do": "open", "sha256": sha256}],
    )
    assert (opened["kind"], opened["loaded"], again["loaded"]) == ("DAMAGED", False, False)
    assert "error" not in whole  # adding it anew mended it
    assert whole["loaded"]


def test_a_truncated_bundle_is_named(desk: Desk, bundle: Path, tmp_path: Path) -> None:
    short = tmp_path / "short"
    shutil.copytree(bundle, short)
    program = short / "model.pte"
    program.write_bytes(program.read_bytes()[:100_000])
    gone = tmp_path / "gone"
    shutil.copytree(bundle, gone)
    (gone / "tokenizer.json").unlink()
    results = desk.run(tmp_path, [{"do": "add", "folder": str(each)} for each in (short, gone, tmp_path / "nowhere")])
    assert "model.pte is truncated" in results[0]["error"]
    assert "tokenizer.json is missing" in results[1]["error"]
    assert "nowhere" in results[2]["error"]
    assert not any(result["loaded"] for result in results)


def test_what_this_app_cannot_run_is_said_before_the_library_is_asked(desk: Desk, bundle: Path, tmp_path: Path) -> None:
    manifest = open_bundle(bundle).manifest
    litert = manifest.runtime.model_copy(update={"name": "litert"})
    other = rewritten(bundle, tmp_path / "litert", {}, runtime=litert)
    needy = rewritten(bundle, tmp_path / "needy", {}, kernels=(*manifest.kernels, "llama::from_the_future.out"))
    steps = []
    for each in (other, needy):
        steps += [{"do": "add", "folder": str(each)}, {"do": "open", "sha256": digest(each / "manifest.json")}]
    _, refused, _, lacking = desk.run(tmp_path, steps)
    assert refused["error"] == "this bundle is for LiteRT-LM, which this app doesn't run yet"
    assert not refused["loaded"]
    assert "lacks operators that the program needs: llama::from_the_future.out" in lacking["error"]


def test_the_declared_tools_are_the_samples_own() -> None:
    declared = json.loads((APP / "resources/org/gemcut/demo/session/tools.json").read_text(encoding="utf-8"))
    assert declared == [TOOLS[name] for name in ("set_alarm", "send_message", "set_flashlight")]


# ---- with the library ------------------------------------------------------------------------------------------------


def test_a_real_litert_bundle_gives_words(desk: Desk, sample_litert: Exported, tmp_path: Path) -> None:
    sha256 = digest(sample_litert.path / "manifest.json")
    steps = [{"do": "add", "folder": str(sample_litert.path)}, {"do": "open", "sha256": sha256}]
    added, opened = desk.run(tmp_path, steps)
    assert added["sha256"] == sha256
    assert "LiteRT-LM" in opened["error"]
    assert not opened["loaded"]


def test_every_golden_chat_gives_the_text_that_python_recorded(
    desk: Desk, bundle: Path, added: list[dict[str, str]], tmp_path: Path
) -> None:
    goldens = desk.run(tmp_path, [*added, {"do": "goldens"}])[-1]["goldens"]
    assert len([one for one in goldens if "tool_call>" in one["recorded"]]) > 10
    assert [(one["id"], one["text"]) for one in goldens] == [(one["id"], one["recorded"]) for one in goldens]
    assert [one["rendered"] for one in goldens] == [one["golden"] for one in goldens]
    assert [one["prompt_tokens"] for one in goldens] == [one["golden_tokens"] for one in goldens]
    assert {one["ending"] for one in goldens if one["ended"]} == {"COMPLETE"}


def test_tool_calls_are_done_after_the_person_agreed(desk: Desk, added: list[dict[str, str]], tmp_path: Path) -> None:
    steps = [
        {"do": "chat", "say": "I have to get up at eight ten", "answer": "yes"},
        {"do": "chat", "say": "thanks", "answer": "yes", "goes_on": True},
        {"do": "chat", "say": "I have to get up at eight ten", "answer": "no"},
        {"do": "chat", "say": "turn the torch on", "answer": "broken"},
        {"do": "chat", "say": "Tell Erin I'll be there at one fifty", "answer": "yes"},
    ]
    alarm, thanks, refused, broken, message = desk.run(tmp_path, [*added, *steps])[2:]
    assert alarm["events"] == [
        'calls [set_alarm {"time":"08:10"}] [COMPLETE]',
        "asked Set an alarm for 08:10?",
        "alarm 8 10",
        'result set_alarm {"status":"ok"}',
        "says Your alarm is set for 08:10. [COMPLETE]",
    ]
    assert alarm["messages"] == 4
    assert "tokens per second" in alarm["shown"]
    assert "MB of memory" in alarm["shown"]
    assert thanks["messages"] == 6
    assert refused["events"][1:3] == ["asked Set an alarm for 08:10?", 'result set_alarm {"status":"refused"}']
    assert not any(event.startswith("alarm") for event in refused["events"])
    assert 'result set_flashlight {"status":"error","reason":"this phone has no torch"}' in broken["events"]
    assert "draft Erin: I'll be there at one fifty" in message["events"]


def test_the_stop_button_stops(desk: Desk, added: list[dict[str, str]], tmp_path: Path) -> None:
    say = "who are you?"
    steps = [
        {"do": "chat", "say": say, "answer": "yes"},
        {"do": "chat", "say": say, "answer": "yes", "stop_after": 3},
        {"do": "chat", "say": say, "answer": "yes"},
        {"do": "generate", "prompt": "<bos><|turn>user\nwho are you?<turn|>\n<|turn>model\n", "pieces": 2},
    ]
    whole, stopped, after, raw = desk.run(tmp_path, [*added, *steps])[2:]
    assert whole["ending"] == after["ending"] == "COMPLETE"
    assert whole["text"] == after["text"]
    assert stopped["ending"] == raw["ending"] == "STOPPED"
    assert stopped["heard"] == 3 < whole["heard"]
    assert whole["text"].startswith(stopped["text"])
    assert "Stopped." in stopped["shown"]
    assert stopped["messages"] == 2  # what was said stays


def test_a_full_context_gives_words(desk: Desk, added: list[dict[str, str]], tmp_path: Path) -> None:
    long = "and why, and when, and how, and who, and where, and what for, and since when? " * 120
    steps = [
        {"do": "chat", "say": long, "answer": "yes"},
        {"do": "chat", "say": "thanks", "answer": "yes", "goes_on": True},
    ]
    full, after = desk.run(tmp_path, [*added, *steps])[2:]
    assert full["error"] == "this chat doesn't fit into the model's context of 2048 tokens"
    assert full["hint"] == "begin a new chat"
    assert after["messages"] == 2  # the question that didn't fit was taken back


# Twelve tokens in the sample's tokenizer, so that 170 of them leave room for a reply of eight.
TWELVE = "I have a long day "


def assert_full(full: dict[str, Any], over: dict[str, Any], after: dict[str, Any]) -> None:
    assert full["ending"] == "FULL"
    assert 5 <= len(full["pieces"]) <= 9
    assert "context is full" in full["shown"]
    assert "doesn't fit" in over["error"]
    assert after["ending"] == "COMPLETE"
    assert after["prompt_tokens"] == 36


def filling() -> list[dict[str, Any]]:
    return [{"do": "generate", "prompt": TWELVE, "times": times} for times in (170, 171, 3)]


def test_a_reply_that_fills_the_context_ends_there(desk: Desk, added: list[dict[str, str]], tmp_path: Path) -> None:
    assert_full(*desk.run(tmp_path, [*added, *filling()])[2:])


def test_the_goldens_are_replayed_and_the_verdict_is_read(
    desk: Desk, bundle: Path, added: list[dict[str, str]], tmp_path: Path
) -> None:
    file = tmp_path / "verdict.json"
    steps = [
        {"do": "prove", "file": str(file), "stop_after": 20},
        {"do": "prove", "file": str(file)},
        {"do": "chat", "say": "thanks", "answer": "yes"},
    ]
    stopped, proven, chat = desk.run(tmp_path, [*added, *steps])[2:]
    assert stopped["kind"] == "STOPPED"
    assert proven["passed"], proven["words"]
    assert proven["words"].startswith("Proven: 25 prompts")
    assert chat["ending"] == "COMPLETE"  # the chat goes on after a proof
    verdict = json.loads(file.read_text(encoding="utf-8"))
    assert verdict["passed"]
    assert verdict["manifest_sha256"] == digest(bundle / "manifest.json")
    assert verdict["library"] == resolve(LIBRARY, "x86_64").sha256
    judged = gemcut("validate", bundle, "--from", file)
    assert judged.returncode == 0, judged.stdout + judged.stderr


@pytest.mark.parametrize("library", OTHERS)
def test_other_versions_of_executorch_fit_the_same_source(
    desk_of: Laid, library: str, added: list[dict[str, str]], tmp_path: Path
) -> None:
    long = "and why, and when, and how, and who, and where, and what for, and since when? " * 120
    steps = [
        {"do": "chat", "say": "I have to get up at eight ten", "answer": "yes"},
        {"do": "chat", "say": long, "answer": "yes"},
        {"do": "goldens"},
        {"do": "prove", "file": str(tmp_path / "verdict.json")},
        *filling(),
    ]
    alarm, full, goldens, proven, *filled = desk_of(library).run(tmp_path, [*added, *steps])[2:]
    assert_full(*filled)
    assert "alarm 8 10" in alarm["events"]
    assert "doesn't fit" in full["error"]
    assert all(one["text"] == one["recorded"] for one in goldens["goldens"])
    assert proven["passed"], proven["words"]
