"""Opening a hub id, through huggingface_hub itself, against a small local hub behind HF_ENDPOINT."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from gemcut.checkpoint.hub import hub_id, locate
from gemcut.errors import CheckpointError, LackingError

SHA = "0123456789abcdef0123456789abcdef01234567"
OLD = "fedcba9876543210fedcba9876543210fedcba98"
OPEN = """
import json, sys
from gemcut.checkpoint import describe, open_checkpoint
from gemcut.errors import GemcutError
try:
    if sys.argv[2:] == ["dry-run"]:
        from gemcut.pipeline.planned_export import dry_run
        from gemcut.pipeline.request import ExportRequest
        from gemcut.util.progress import Silent
        found = dry_run(ExportRequest(sys.argv[1], target="linux-x86_64", context=256), Silent())
        print(json.dumps({"prompts": found.prompts, "notes": found.notes, "recipe": found.bundles[0].recipe}))
    elif sys.argv[2:] == ["describe"]:
        found = describe(sys.argv[1])
        print(json.dumps({"path": str(found.place.path)}))
    else:
        found = open_checkpoint(sys.argv[1])
        keys = ("name", "source", "revision", "hashes", "stop_ids", "bos_id")
        print(json.dumps({key: getattr(found, key) for key in keys} | {"path": str(found.path)}))
except GemcutError as error:
    kind = type(error).__name__
    print(json.dumps({"error": kind, "code": error.exit_code, "message": error.message, "hint": error.hint}))
"""


class Hub(BaseHTTPRequestHandler):
    """As much of the hub's API as a snapshot needs. ``files``: repository -> file name -> content."""

    files: dict[str, dict[str, bytes]]
    asked: list[str]

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = self.path.split("?")[0]
        type(self).asked.append(f"{self.command} {path}")
        if match := re.fullmatch(r"/api/models/([\w-]+/[\w-]+)(/revision/([^/]+))?", path):
            self.info(match[1], match[3] or "main")
        elif match := re.fullmatch(r"/api/models/([\w-]+/[\w-]+)/tree/([^/]+)(/.*)?", path):
            self.tree(match[1], match[2])
        elif match := re.fullmatch(r"/([\w-]+/[\w-]+)/resolve/([^/]+)/(.+)", path):
            self.file(*match.groups())
        else:
            self.answer(404, b"{}")

    def answer(self, status, body, **headers):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def known(self, repo, revision):
        if repo not in self.files:
            self.answer(401, b'{"error": "Repository not found"}', X_Error_Code="RepoNotFound")
        elif revision not in ("main", "old", SHA, OLD):
            self.answer(404, b'{"error": "Invalid rev id"}', X_Error_Code="RevisionNotFound")
        else:
            return True
        return False

    def commit(self, revision):
        return OLD if revision in ("old", OLD) else SHA

    def info(self, repo, revision):
        if self.known(repo, revision):
            siblings = [{"rfilename": name} for name in self.files[repo]]
            body = {"id": repo, "modelId": repo, "sha": self.commit(revision), "siblings": siblings, "tags": []}
            self.answer(200, json.dumps(body).encode(), Content_Type="application/json")

    def tree(self, repo, revision):
        if self.known(repo, revision):
            body = [
                {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                for name, data in self.files[repo].items()
            ]
            self.answer(200, json.dumps(body).encode(), Content_Type="application/json")

    def file(self, repo, revision, name):
        if not self.known(repo, revision):
            return
        if "gated" in repo and self.headers.get("Authorization") != "Bearer hf_accepted":
            body = b"Access to model is restricted. You must have access to it and be authenticated."
            status = 403 if self.headers.get("Authorization") else 401
            self.answer(status, body, X_Error_Code="GatedRepo", X_Error_Message=body.decode())
        elif name not in self.files[repo]:
            self.answer(404, b"", X_Error_Code="EntryNotFound")
        else:
            data = self.files[repo][name]
            etag = f'"{hashlib.sha1(data).hexdigest()}"'
            self.answer(200, data, ETag=etag, X_Repo_Commit=self.commit(revision))

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def hub(pristine):
    """A running hub: its address, and the requests that it saw."""
    tiny = {path.name: path.read_bytes() for path in pristine("gemma3_text").iterdir()}
    tiny["README.md"] = b"---\nlicense: gemma\n---\n"
    shards = [name for name in tiny if name.startswith("model")]
    Hub.files = {
        "tiny/open": tiny | {"pytorch_model.bin": b"pickle", "flax_model.msgpack": b"flax", "evil.py": b"boom"},
        "tiny/gated": tiny,
        "tiny/ggufs-GGUF": {"README.md": b"---\nbase_model: tiny/open\n---\n", "ggufs-Q4_K_M.gguf": b"GGUF"},
        "tiny/pickled": {name: tiny[name] for name in tiny if name not in shards} | {"pytorch_model.bin": b"x"},
    }
    Hub.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def opened(tmp_path):
    """Opens a model in a process of its own, with its own empty cache."""

    def run(endpoint, model, *more, **variables):
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
        kept |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "cache"), "NO_PROXY": "127.0.0.1"} | variables
        done = subprocess.run(
            [sys.executable, "-c", OPEN, model, *more],
            capture_output=True,
            text=True,
            env=kept,
            cwd=tmp_path,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1]) | {"stderr": done.stderr}

    return run


def test_hub_id_opens_with_its_commit_and_again_offline_from_the_cache(hub, opened, pristine):
    Hub.asked.clear()
    found = opened(hub, "tiny/open")
    assert (found["name"], found["source"], found["revision"]) == ("open", "tiny/open", SHA)
    expected = {path.name: path.read_bytes() for path in pristine("gemma3_text").iterdir()}
    expected["README.md"] = Hub.files["tiny/open"]["README.md"]
    assert found["hashes"] == {name: hashlib.sha256(data).hexdigest() for name, data in expected.items()}
    fetched = {line.rsplit("/", 1)[1] for line in Hub.asked if line.startswith("GET") and "/resolve/" in line}
    assert "config.json" in fetched
    assert not fetched & {"pytorch_model.bin", "flax_model.msgpack", "evil.py"}
    assert "Fetching" not in found["stderr"]
    assert "%|" not in found["stderr"]

    Hub.asked.clear()
    again = opened(hub, "tiny/open", HF_HUB_OFFLINE="1")
    assert again["path"] == found["path"]
    assert Hub.asked == []


def test_revision_is_asked_for_and_resolved(hub, opened):
    found = opened(hub, "tiny/open@old", "describe")
    assert found["path"].endswith(OLD)


def test_description_of_a_hub_id_fetches_no_weights(hub, opened):
    Hub.asked.clear()
    opened(hub, "tiny/open", "describe")
    fetched = {line.rsplit("/", 1)[1] for line in Hub.asked if "/resolve/" in line}
    assert "config.json" in fetched
    assert not any(name.endswith((".safetensors", "tokenizer.json")) for name in fetched)


def test_dry_run_of_a_hub_id_fetches_no_weights_and_says_what_it_could_not_check(hub, opened):
    Hub.asked.clear()
    found = opened(hub, "tiny/open", "dry-run")
    fetched = {line.rsplit("/", 1)[1] for line in Hub.asked if line.startswith("GET") and "/resolve/" in line}
    assert not any(name.endswith("tokenizer.json") for name in fetched)
    assert (found["prompts"], found["recipe"]) == (None, "int4")
    assert "only its configuration was checked" in found["notes"][-1]
    opened(hub, "tiny/open")
    whole = opened(hub, "tiny/open", "dry-run", HF_HUB_OFFLINE="1")
    assert whole["prompts"] >= 24
    assert not any("only its configuration" in note for note in whole["notes"])


@pytest.mark.parametrize("token", [{}, {"HF_TOKEN": "hf_other"}], ids=["no-token", "terms-not-accepted"])
def test_gated_model_says_where_to_accept_its_terms_and_how_to_log_in(hub, opened, token):
    found = opened(hub, "tiny/gated", **token)
    assert (found["error"], found["code"]) == ("CheckpointError", 3)
    assert "tiny/gated is gated" in found["message"]
    assert f"{hub}/tiny/gated" in found["hint"]
    assert "hf auth login" in found["hint"]


def test_gated_model_opens_with_a_token_that_may(hub, opened):
    assert opened(hub, "tiny/gated", "describe", HF_TOKEN="hf_accepted")["path"].endswith(SHA)


def test_unknown_revision_is_named(hub, opened):
    found = opened(hub, "tiny/open@no-such-branch")
    assert (found["error"], found["code"]) == ("CheckpointError", 3)
    assert "tiny/open has no revision 'no-such-branch'" in found["message"]
    assert "commits" in found["hint"]


def test_unknown_repository_is_named_with_the_directory_that_is_not_there(hub, opened):
    found = opened(hub, "tiny/absent")
    assert (found["error"], found["code"]) == ("CheckpointError", 3)
    assert "no model tiny/absent" in found["message"]
    assert "no directory tiny/absent here" in found["message"]


def test_pickle_only_repository_is_refused_without_fetching_the_pickle(hub, opened):
    Hub.asked.clear()
    found = opened(hub, "tiny/pickled")
    assert (found["error"], found["code"]) == ("UnsupportedError", 4)
    assert "exist only as pickle (pytorch_model.bin)" in found["message"]
    assert not any("resolve" in line and "pytorch_model.bin" in line for line in Hub.asked)


def test_repository_of_another_format_is_named_without_fetching_it_and_with_its_original(hub, opened):
    Hub.asked.clear()
    found = opened(hub, "tiny/ggufs-GGUF")
    assert (found["error"], found["code"]) == ("UnsupportedError", 4)
    assert "ggufs-Q4_K_M.gguf is GGUF, already quantized" in found["message"]
    assert not any("resolve" in line and "gguf" in line.rpartition("/")[2] for line in Hub.asked)


def test_no_network_names_the_endpoint_and_the_way_round(opened):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{probe.getsockname()[1]}"
    found = opened(dead, "tiny/open")
    assert (found["error"], found["code"]) == ("LackingError", 8)
    assert dead in found["message"]
    assert "local directory" in found["hint"]
    assert "hf download tiny/open" in found["hint"]


def test_full_disk_says_where_and_how_to_move_the_cache(monkeypatch):
    import huggingface_hub

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", full)
    with pytest.raises(LackingError, match="the disk is full: tiny/open doesn't fit") as caught:
        locate("tiny/open")
    assert caught.value.exit_code == 8
    assert "HF_HOME" in caught.value.hint


def test_offline_with_an_empty_cache_says_so(hub, opened):
    Hub.asked.clear()
    found = opened(hub, "tiny/open", HF_HUB_OFFLINE="1")
    assert (found["error"], found["code"]) == ("LackingError", 8)
    assert "HF_HUB_OFFLINE" in found["message"]
    assert Hub.asked == []


def test_a_path_that_leads_nowhere_is_no_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert hub_id("models/mine") == ("models/mine", None)
    (tmp_path / "models").mkdir()
    assert hub_id("models/mine") is None
    assert hub_id("models/mine@main") == ("models/mine", "main")
    assert hub_id("models/mine", tmp_path / "models") == ("models/mine", None)
    with pytest.raises(CheckpointError, match="no such directory: models/mine") as caught:
        locate("models/mine")
    assert "write models/mine@main" in caught.value.hint
