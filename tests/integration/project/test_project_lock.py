"""``gemcut.lock`` and what counts as up to date, against a real bundle."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import gemcut
import pytest
from gemcut.bundle.reader import open_bundle
from gemcut.errors import ConformanceError, UnsupportedError, UsageError
from gemcut.project.checkpoint_files import file_hashes, resolve
from gemcut.project.entries import ModelSource
from gemcut.project.hash_cache import SMALL, Hashes
from gemcut.project.lock import HEAD, check_sealed, lock_text, moves, read_lock
from gemcut.project.status import examine
from gemcut.sample import sample_path
from gemcut.util.platform import processor

COMMIT, OTHER = "a" * 40, "b" * 40


# The file


def test_the_lock_says_where_a_bundle_came_from(app, sample_int4: Any) -> None:
    text = (app.root / "gemcut.lock").read_text()
    assert text.startswith(HEAD)
    found = tomllib.loads(text)["bundles"]["phone"]["executorch"]
    side = (app.bundle / "manifest.sha256").read_text().split()[0]
    with open_bundle(sample_int4.path) as bundle:
        manifest = bundle.manifest
    assert (found["bundle"], found["place"], found["model"]) == (side, "bundles/phone", "model")
    assert found["files"] == manifest.model.files
    assert found["versions"].items() >= {"gemcut": gemcut.__version__, **manifest.libraries}.items()
    assert found["versions"]["executorch"] == manifest.runtime.version
    assert found["contents"]["model.pte"] == manifest.files["model.pte"].sha256
    assert str(app.root) not in text


def test_the_same_facts_give_the_same_bytes(app) -> None:
    text = (app.root / "gemcut.lock").read_text()
    assert lock_text(app.lock) == text
    stamp = (app.root / "gemcut.lock").stat().st_mtime_ns
    app.write_lock()
    assert (app.root / "gemcut.lock").read_text() == text
    assert (app.root / "gemcut.lock").stat().st_mtime_ns == stamp  # not even written
    assert sorted(path.name for path in app.root.iterdir()) == [
        "bundles",
        "gemcut.lock",
        "gemcut.toml",
        "mine.toml",
        "model",
    ]


def test_a_lock_that_cannot_be_read(app) -> None:
    path = app.root / "gemcut.lock"
    text = path.read_text()
    for changed, words in (
        (f"<<<<<<< ours\n{text}=======\n>>>>>>> theirs\n", "conflict markers"),
        (text + "x = ", "not TOML"),
        (text.replace('model = "model"', "model = 3"), "model: Input should be a valid string"),
        (text.replace("bundle =", "bundel ="), "executorch.bundle: Field required"),
    ):
        path.write_text(changed)
        with pytest.raises(UsageError, match=words) as caught:
            read_lock(app.root)
        assert caught.value.hint
    path.write_text("version = 2\n")
    with pytest.raises(UnsupportedError, match="version 2"):
        read_lock(app.root)
    path.unlink()
    assert read_lock(app.root) is None


# What is out of date, and why


def test_up_to_date(app) -> None:
    assert app.reasons() == ()


def test_a_comment_in_a_recipe_is_no_change(app) -> None:
    with (app.root / "mine.toml").open("a") as file:
        file.write("\n# a remark\n")
    assert app.reasons() == ()


def add(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


CHANGES = {
    "recipe mine changed": lambda app: app.replace("mine.toml", "group = 32", "group = 64"),
    "recipe mine -> int4": lambda app: app.replace("gemcut.toml", '"mine.toml"', '"int4"'),
    "target android-arm64 -> linux-arm64": lambda app: app.replace("gemcut.toml", "android", "linux"),
    "context default -> 512": lambda app: add(app.root / "gemcut.toml", "context = 512\n"),
    "prefill_lengths default -> 64": lambda app: add(app.root / "gemcut.toml", "prefill_lengths = [64]\n"),
    "chat_template default -> none": lambda app: add(app.root / "gemcut.toml", 'chat_template = "none"\n'),
    "prove_on default -> android-lib": lambda app: add(app.root / "gemcut.toml", 'prove_on = ["android-lib"]\n'),
    "output bundles/phone -> elsewhere": lambda app: add(app.root / "gemcut.toml", 'output = "elsewhere"\n'),
    "runtime litert is new": lambda app: add(app.root / "gemcut.toml", 'runtimes = ["executorch", "litert"]\n'),
    "runtime executorch is gone": lambda app: add(app.root / "gemcut.toml", 'runtimes = ["litert"]\n'),
    "budgets.download_size none -> 12,000,000": lambda app: add(
        app.root / "gemcut.toml", '[bundles.phone.budgets]\ndownload_size = "12 MB"\n'
    ),
    "model model -> sample": lambda app: app.replace("gemcut.toml", '"model"', '"sample"'),
    "model.safetensors changed": lambda app: flip(app.root / "model/model.safetensors"),
    "the prompts changed": lambda app: add(app.root / "model/golden_prompts.jsonl", '{"id": "a", "text": "b"}\n'),
    "chat_template.jinja changed": lambda app: add(app.root / "model/chat_template.jinja", "{# #}"),
    "NOTICE is new": lambda app: (app.root / "model/NOTICE").write_text("mine"),
    "generation_config.json is gone": lambda app: (app.root / "model/generation_config.json").unlink(),
    "no bundle at bundles/phone": lambda app: app.bundle.rename(app.root / "moved"),
    "bundles/phone: model.pte changed": lambda app: flip(app.bundle / "model.pte"),
    "bundles/phone: NOTICE changed": lambda app: (app.bundle / "NOTICE").unlink(),
    "bundles/phone: stray changed": lambda app: (app.bundle / "stray").touch(),
    "the bundle at bundles/phone is not the one in gemcut.lock": lambda app: add(app.bundle / "manifest.json", "\n"),
    "what is at bundles/phone is not a bundle": lambda app: [
        (app.bundle / name).unlink() for name in ("manifest.json", "manifest.sha256")
    ],
    "gemcut.lock has no such bundle": lambda app: app.replace("gemcut.toml", "bundles.phone", "bundles.tablet"),
    "there is no gemcut.lock": lambda app: (app.root / "gemcut.lock").unlink(),
    "torch 1.0 -> ": lambda app: app.write_lock(versions={"torch": "1.0"}),
    "gemcut 0.0.1 -> ": lambda app: app.write_lock(versions={"gemcut": "0.0.1"}),
}


@pytest.mark.parametrize("reason", CHANGES)
def test_a_change_is_named(app, reason: str) -> None:
    CHANGES[reason](app)
    assert any(one.startswith(reason) for one in app.reasons()), app.reasons()


def test_a_change_of_the_baseline_is_named_and_one_that_is_not_here_has_not_moved(app, sample_int4: Any) -> None:
    shutil.copytree(sample_int4.path, app.root / "old")
    add(app.root / "gemcut.toml", 'baseline = "old"\n[bundles.phone.budgets]\ndecode = 0.9\n')
    assert "the baseline bundle is new" in app.reasons()
    app.write_lock()
    assert app.reasons() == ()
    (app.root / "old").rename(app.root / "away")
    assert app.reasons() == ()
    app.write_lock(baseline="c" * 64)
    (app.root / "away").rename(app.root / "old")
    assert app.reasons() == ("the baseline bundle changed",)


def test_an_adapter_is_in_the_lock_and_a_change_of_it_is_named(app) -> None:
    (app.root / "lora").mkdir()
    weights, config = app.root / "lora/adapter_model.safetensors", app.root / "lora/adapter_config.json"
    weights.write_bytes(b"one")
    config.write_text('{"peft_type": "LORA"}')
    app.replace("gemcut.toml", "recipe =", 'adapter = "lora"\nrecipe =')
    assert "adapter none -> lora" in app.reasons()
    app.write_lock()
    assert app.lock.of("phone")["executorch"].adapter == "lora"
    assert set(app.lock.of("phone")["executorch"].adapter_files) == {weights.name, config.name}
    assert app.reasons() == ()
    weights.write_bytes(b"two")
    assert app.reasons() == ("the adapter's adapter_model.safetensors changed",)


def test_a_library_that_is_not_here_has_not_moved(app) -> None:
    app.write_lock(versions={"no-such-package": "1.0"})
    assert app.reasons() == ()


def test_the_files_are_those_that_the_checkpoint_names() -> None:
    from gemcut.checkpoint.opening import open_checkpoint

    read = open_checkpoint(str(sample_path())).hashes
    assert file_hashes(sample_path(), Hashes(), own_template=True) == read
    without = file_hashes(sample_path(), Hashes(), own_template=False)
    assert set(read) - set(without) == {"chat_template.jinja"}


def test_an_up_to_date_project_is_answered_without_torch(app) -> None:
    program = (
        "import sys; from gemcut.cli import main; code = main(['export', '--locked']);"
        "print(sorted({'torch', 'transformers', 'executorch', 'huggingface_hub'} & set(sys.modules)), file=sys.stderr);"
        "sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=app.root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "[]"
    assert "up to date" in done.stdout


# Kept hashes


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setenv("GEMCUT_CACHE", str(folder))
    return folder


def test_a_hash_is_kept_only_of_a_file_that_had_settled(tmp_path: Path, empty_cache: Path) -> None:
    path = tmp_path / "big"
    path.write_bytes(bytes(SMALL))
    first = Hashes()
    known = first.of(path)
    first.save()
    kept = empty_cache / "hashes.json"
    assert not kept.exists() or str(path) not in kept.read_text()
    time.sleep(2.1)  # what is kept is of files that have been left alone for two seconds
    settled = Hashes()
    assert settled.of(path) == known
    settled.save()
    assert str(path) in kept.read_text()
    stat = path.stat()
    with path.open("r+b") as file:
        file.write(b"x")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # the same size, time and inode, yet another content
    assert Hashes().of(path) != known


def test_a_damaged_cache_is_no_error(tmp_path: Path, empty_cache: Path) -> None:
    (empty_cache / "hashes.json").write_text("[")
    path = tmp_path / "big"
    path.write_bytes(bytes(SMALL))
    assert len(Hashes().of(path)) == 64


# Hub ids


def test_a_commit_is_what_it_is() -> None:
    assert resolve(ModelSource("a/b@" + COMMIT, "hub", None, "a/b", COMMIT), OTHER) == (COMMIT, ())


OFFLINE = """
from pathlib import Path
from typing import Any
from gemcut.project.config import read_project
from gemcut.project.hash_cache import Hashes
from gemcut.project.lock import read_lock
from gemcut.project.status import examine
entry, = read_project(Path()).entries
status = examine(entry, read_lock(Path()), Path(), Hashes())
print(status.reasons, status.notes, status.found.revision)
"""


def test_offline_the_locks_commit_holds_and_a_note_says_so(app) -> None:
    said = asked(app, "http://127.0.0.1:9", HF_HUB_OFFLINE="1")
    assert said.startswith("() (")
    assert "can't tell whether org/name@main has moved: HF_HUB_OFFLINE forbids network access" in said
    assert said.rstrip().endswith(COMMIT)


@pytest.fixture
def hub() -> Iterator[str]:
    """As much of a hub as is asked where main is: at OTHER."""

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path.split("?")[0] == "/api/models/org/name/revision/main"
            body = json.dumps({"id": "org/name", "sha": OTHER, "siblings": [], "tags": []} if found else {}).encode()
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def asked(app, endpoint: str, **variables: str) -> str:
    """What ``examine`` says of a project whose model is a hub id, in a process that sees this hub."""
    app.replace("gemcut.toml", '"model"', '"org/name@main"')
    app.write_lock(model="org/name@main", revision=COMMIT)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    environment = {**kept, "HF_ENDPOINT": endpoint, "HF_HOME": str(app.root / "hub"), "NO_PROXY": "127.0.0.1"}
    environment |= variables
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE], cwd=app.root, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_hub_is_asked_where_a_branch_is(app, hub: str) -> None:
    assert asked(app, hub) == f"('the commit of org/name@main changed',) () {OTHER}\n"


def test_a_hub_that_cannot_be_reached_is_a_note(app) -> None:
    said = asked(app, "http://127.0.0.1:9")
    assert said.startswith("() (")
    assert "gave no answer" in said
    assert said.rstrip().endswith(COMMIT)


def test_a_branch_that_moved_is_named(app) -> None:
    locked = app.lock.of("phone")["executorch"].model_copy(update={"model": "a/b", "revision": COMMIT})
    now = locked.model_copy(update={"revision": OTHER, "files": {}})
    (move,) = moves(locked, now)
    assert str(move) == "the commit of a/b changed"
    assert move.full == f"the commit of a/b changed ({COMMIT[:12]} -> {OTHER[:12]})"


# What came out


def test_the_sealed_bundle_is_held_against_the_lock(app) -> None:
    locked = app.lock.of("phone")["executorch"]
    with open_bundle(app.bundle) as bundle:
        manifest = bundle.manifest
    assert check_sealed("phone", locked, manifest) is None
    contents = {**locked.contents, "model.pte": "0" * 64}
    other = locked.model_copy(update={"bundle": "0" * 64, "contents": contents})
    with pytest.raises(ConformanceError, match=r"phone \(executorch\) is not the bundle in gemcut.lock.*: model.pte"):
        check_sealed("phone", other, manifest)
    elsewhere = other.model_copy(update={"processor": "x86_64 Another"})
    plain = manifest.model_copy(update={"calibration": None})
    with pytest.raises(ConformanceError, match="locked on x86_64 Another"):
        check_sealed("phone", elsewhere, plain)
    assert "calibrated weights: the bundle was locked on" in str(check_sealed("phone", elsewhere, manifest))
    threads = other.model_copy(update={"processor": f"{processor()}, 7 threads"})
    assert "7 threads" in str(check_sealed("phone", threads, manifest))
    words = elsewhere.model_copy(update={"contents": {**contents, "tokenizer.json": "0" * 64}})
    with pytest.raises(ConformanceError, match=r"model\.pte, tokenizer\.json differ \(locked on x86_64 Another"):
        check_sealed("phone", words, manifest)


def test_goldens_may_differ_on_another_processor_alone(app) -> None:
    locked = app.lock.of("phone")["executorch"]
    contents = {**locked.contents, "goldens/goldens.safetensors": "0" * 64, "README.md": "0" * 64}
    here = locked.model_copy(update={"bundle": "0" * 64, "contents": contents})
    with open_bundle(app.bundle) as bundle:
        manifest = bundle.manifest
    with pytest.raises(ConformanceError, match=r"README\.md, goldens/goldens\.safetensors differ"):
        check_sealed("phone", here, manifest)
    there = here.model_copy(update={"processor": "x86_64 Another"})
    assert "processors round differently" in str(check_sealed("phone", there, manifest))
    app.write_lock(bundle="0" * 64, contents=contents, processor="x86_64 Another")
    status = examine(app.entry, app.lock, app.root, Hashes())
    assert status.reasons == ()
    assert "processors round differently" in status.notes[0]
