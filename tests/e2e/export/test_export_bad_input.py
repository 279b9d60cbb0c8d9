"""Checkpoints that can't be exported: the exit code, what is said, and nothing left behind."""

from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.checkpoints import as_bytes

Here = Callable[..., Any]


def shard(folder: Path) -> Path:
    """The second shard."""
    return sorted(folder.glob("model-*.safetensors"))[1]


def edit(path: Path, **changes: Any) -> None:
    """Sets keys of a JSON file."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def broken_config(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "gemma3_text",')


def unknown_model_type(folder: Path) -> None:
    edit(folder / "config.json", model_type="gemma3_txt")


def model_type_of_later(folder: Path) -> None:
    edit(folder / "config.json", model_type="gemma4_assistant")


def missing_shard(folder: Path) -> None:
    shard(folder).unlink()


def truncated_shard(folder: Path) -> None:
    path = shard(folder)
    path.write_bytes(path.read_bytes()[:-64])


def header_of_noise(folder: Path) -> None:
    path = shard(folder)
    data = path.read_bytes()
    path.write_bytes(data[:8] + b"\xff" * 64 + data[72:])


def header_longer_than_the_file(folder: Path) -> None:
    path = shard(folder)
    path.write_bytes(struct.pack("<Q", 1 << 40) + path.read_bytes()[8:])


def header_that_claims_more(folder: Path) -> None:
    """The last tensor is said to have a thousand times its rows."""
    path = shard(folder)
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    name = max((n for n in header if n != "__metadata__"), key=lambda n: header[n]["data_offsets"][1])
    row = header[name]
    size = row["data_offsets"][1] - row["data_offsets"][0]
    row["shape"][0] *= 1000
    row["data_offsets"][1] = row["data_offsets"][0] + size * 1000
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])


def pickles_alone(folder: Path) -> None:
    for path in folder.glob("model*safetensors*"):
        path.unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"model.embed_tokens.weight": [1.0]}))


def tokens_without_rows(folder: Path) -> None:
    path = folder / "tokenizer.json"
    state = json.loads(path.read_text())
    state["model"]["vocab"]["one-too-many"] = 512
    path.write_text(json.dumps(state))


def no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def no_template(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()


def template_into_python(folder: Path) -> None:
    reach = "{{ ''.__class__.__mro__[1].__subclasses__() }}{{ messages[0].content }}"
    (folder / "chat_template.jinja").write_text(reach)


def already_quantized(folder: Path) -> None:
    edit(as_bytes(folder) / "config.json", quantization_config={"quant_method": "gptq", "bits": 4})


BROKEN = [
    (no_config, 3, ["no config.json"]),
    (broken_config, 3, ["config.json", "can't be read"]),
    (unknown_model_type, 4, ["gemma3_txt", "did you mean 'gemma3_text'"]),
    (model_type_of_later, 4, ["gemma4_assistant"]),
    (missing_shard, 3, ["model-00002-of-"]),
    (truncated_shard, 3, ["model-00002-of-", "fetch it again"]),
    (header_of_noise, 3, ["model-00002-of-"]),
    (header_longer_than_the_file, 3, ["model-00002-of-"]),
    (header_that_claims_more, 3, ["model-00002-of-"]),
    (pickles_alone, 4, ["pytorch_model.bin", "safetensors"]),
    (tokens_without_rows, 3, ["one-too-many", "512"]),
    (no_tokenizer, 3, ["tokenizer.json"]),
    (no_template, 3, ["--chat-template FILE", "none"]),
    (template_into_python, 3, ["chat_template.jinja", "reaches for Python's internals", "__"]),
    (already_quantized, 4, ["gptq", "float checkpoint"]),
]


def everything(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize(("break_it", "code", "words"), BROKEN, ids=[row[0].__name__ for row in BROKEN])
def test_a_bad_checkpoint(
    break_it: Callable[[Path], None], code: int, words: list[str], fresh: Path, work: Path, here: Here
) -> None:
    break_it(fresh)
    before = everything(fresh)
    said = here("export", fresh, "--target", "android-arm64", "-o", work / "out" / "bundle")
    assert said.code == code, said.err
    problem = said.err[said.err.index("error: ") :]
    for word in words:
        assert word in problem
    assert "hint: " in problem
    assert "Traceback" not in said.err
    assert said.out == ""
    assert not list(work.iterdir())
    assert everything(fresh) == before


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (["--context", 257], 2, ["257", "longer than the model's 256", "--context 256"]),
        (["--context", 8], 2, ["too short"]),
        (["--chat-template", "nowhere.jinja"], 2, ["nowhere.jinja"]),
        (["--recipe", "nowhere.toml"], 2, ["nowhere.toml"]),
        (["--recipe", "int44"], 4, ["did you mean 'int4'"]),
        (["--target", "android-arm"], 4, ["did you mean 'android-arm64'"]),
    ],
)
def test_a_bad_flag(flags: list[Any], code: int, words: list[str], tiny: Path, work: Path, here: Here) -> None:
    target = [] if "--target" in flags else ["--target", "android-arm64"]
    said = here("export", tiny, *target, "-o", work / "out" / "bundle", *flags)
    assert said.code == code, said.err
    for word in words:
        assert word in said.err
    assert not list(work.iterdir())


def test_a_template_of_ones_own_is_taken_to_the_same_court(fresh: Path, work: Path, here: Here) -> None:
    own = fresh.parent / "own.jinja"
    own.write_text("{{ messages.__init__.__globals__ }}")
    said = here("export", fresh, "--target", "android-arm64", "--chat-template", own)
    assert said.code == 3
    assert "own.jinja, line 1, reaches for Python's internals" in said.err
    assert not list(work.iterdir())


def test_the_exit_code_and_one_json_document_reach_the_shell(fresh: Path, work: Path, run: Callable[..., Any]) -> None:
    truncated_shard(fresh)
    done = run("export", fresh, "--target", "android-arm64", "--json", cwd=work)
    assert done.returncode == 3
    problem = json.loads(done.stdout)["error"]
    assert (problem["kind"], problem["exit_code"]) == ("CheckpointError", 3)
    assert "model-00002-of-" in problem["message"]
    assert not list(work.iterdir())
