"""Folders as trainers leave them: an adapter with a tokenizer, a template or an end token of its own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from gemcut.checkpoint.opening import open_checkpoint
from gemcut.errors import CheckpointError

OWN = "{% for m in messages %}### {{ m.role }}: {{ m.content }}\n{% endfor %}### assistant:"


@pytest.fixture
def base(fresh: Callable[[], Path]) -> Path:
    return fresh()


@pytest.fixture
def adapter(base: Path, make_adapter: Callable[..., Path]) -> Path:
    folder = make_adapter(base)
    for path in folder.iterdir():
        if not path.name.startswith("adapter_"):
            path.unlink()
    return folder


def settings(base: Path, **changes: object) -> str:
    return json.dumps(json.loads((base / "tokenizer_config.json").read_text()) | changes)


def test_without_words_of_its_own_an_adapter_has_its_base_models(base: Path, adapter: Path) -> None:
    alone, merged = open_checkpoint(str(base)), open_checkpoint(str(base), adapter=adapter)
    assert merged.chat_template == alone.chat_template
    assert merged.stop_ids == alone.stop_ids
    assert merged.words == base
    assert not [note for note in merged.notes if "adapter's own" in note]


@pytest.mark.parametrize("place", ["jinja", "settings", "several"])
@pytest.mark.parametrize("whole", [False, True])
def test_its_template_is_used_wherever_it_stands(base: Path, adapter: Path, place: str, whole: bool) -> None:
    if place == "jinja":
        (adapter / "chat_template.jinja").write_text("\ufeff" + OWN)
    else:
        several = [{"name": "default", "template": OWN}, {"name": "tool_use", "template": "x"}]
        (adapter / "tokenizer_config.json").write_text(
            settings(base, chat_template=OWN if place == "settings" else several)
        )
    if whole:
        shutil.copy(base / "tokenizer.json", adapter)
        if place == "jinja":
            shutil.copy(base / "tokenizer_config.json", adapter)
    found = open_checkpoint(str(base), adapter=adapter)
    assert found.chat_template == OWN
    assert found.words == (adapter if whole else base)
    assert any("chat template is the adapter's own" in note for note in found.notes)
    assert found.bos_id is None, "this template doesn't write it"
    asked = open_checkpoint(str(base), adapter=adapter, chat_template="none")
    assert asked.chat_template is None
    assert set(found.adapter.hashes) >= {path.name for path in adapter.iterdir()}  # type: ignore[union-attr]


def test_its_end_of_sequence_ends_a_reply(base: Path, adapter: Path) -> None:
    (adapter / "tokenizer_config.json").write_text(settings(base, eos_token="<unk>"))
    found = open_checkpoint(str(base), adapter=adapter)
    end = found.tokenizer.convert_tokens_to_ids("<unk>")
    assert end in found.stop_ids
    assert any("'<unk>'" in note and "adapter's own" in note for note in found.notes)
    (adapter / "tokenizer_config.json").write_text(settings(base, eos_token="<|never|>"))
    with pytest.raises(CheckpointError, match=r"<\|never\|>.*no token of the base model"):
        open_checkpoint(str(base), adapter=adapter)


def test_a_token_that_has_no_row_is_refused(base: Path, adapter: Path) -> None:
    shutil.copy(base / "tokenizer_config.json", adapter)
    words = json.loads((base / "tokenizer.json").read_text())
    plain = {"special": True, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    words["added_tokens"].append({"id": 100_000, "content": "<|call|>", **plain})
    (adapter / "tokenizer.json").write_text(json.dumps(words))
    with pytest.raises(CheckpointError, match=r"<\|call\|>.* first"):
        open_checkpoint(str(base), adapter=adapter)


def test_an_adapter_in_a_whole_models_folder_is_asked_about(base: Path, adapter: Path) -> None:
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        shutil.copy(adapter / name, base)
    with pytest.raises(CheckpointError, match="a whole model and an adapter") as caught:
        open_checkpoint(str(base))
    assert f"--adapter {base}" in caught.value.hint
    assert open_checkpoint(str(base), adapter=base).adapter is not None
    (base / "adapter_config.json").unlink()
    assert open_checkpoint(str(base)).adapter is None
