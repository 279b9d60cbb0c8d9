"""Calibration text: what ships, a user's own, and how it is cut."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from gemcut.calibrate.text_segments import (
    LEAST,
    MOST,
    CalibrationText,
    enough,
    make_segments,
    shipped_text,
    text_of,
)
from gemcut.errors import UsageError
from gemcut.prompt.codec import TemplateRefused


class Words:
    """A codec whose tokens are characters, with a BOS; its chats name their roles."""

    special_ids = frozenset({0})
    bos_id = 0

    def __init__(self, template: bool, refuses: bool = False) -> None:
        self.has_template, self._refuses = template, refuses

    def render(self, messages: Any, tools: Any, add_generation_prompt: bool, thinking: bool = False) -> str:
        if self._refuses:
            raise TemplateRefused("no")
        return "".join(f"<{each['role']}>{each['content']}" for each in messages)

    def encode(self, text: str, add_special_tokens: bool = False) -> list[int]:
        return [0, *map(ord, text)] if add_special_tokens else list(map(ord, text))

    def decode(self, ids: Any) -> str:
        return "".join(map(chr, ids))


def test_what_ships_has_many_languages_and_code_and_says_where_it_is_from() -> None:
    text = shipped_text()
    assert len(text.parts) >= 15
    assert any("def " in part for part in text.parts)
    assert sum(map(len, text.parts)) > 100_000
    folder = resources.files("gemcut.calibrate") / "text"
    sources = tomllib.loads((folder / "sources.toml").read_text(encoding="utf-8"))
    kinds = {entry.name.partition("-")[0] for entry in folder.iterdir() if entry.name.endswith(".txt")}
    assert kinds == set(sources)
    assert all(source["licence"] for source in sources.values())


def test_none_of_it_is_in_the_goldens() -> None:
    whole = "\n".join(shipped_text().parts)
    prompts = tomllib.loads((resources.files("gemcut.prove") / "prompts.toml").read_text(encoding="utf-8"))
    said = [text for text in texts_in(prompts) if len(text) >= 40]
    assert len(said) > 10
    assert not [text for text in said if text in whole]


def texts_in(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for each in inner for text in texts_in(each)]


def test_pieces_come_from_every_document_in_turn_and_are_the_same_every_time() -> None:
    parts = tuple("".join(f"{name}{line:04}{'.' * 94}\n" for line in range(60)) for name in "abc")
    text = CalibrationText("three", parts)
    found = make_segments(text, Words(template=False), 256 * 6)
    assert [len(ids) for ids in found] == [256] * 6
    assert all(ids[0] == 0 for ids in found), "a text begins with BOS"
    assert [chr(ids[1]) for ids in found] == list("abcabc")
    assert found == make_segments(text, Words(template=False), 256 * 6)


def test_with_a_template_every_other_piece_is_a_chat() -> None:
    text = CalibrationText("one", ("x" * 20 + "\n",) * 4)
    found = [Words(False).decode(ids) for ids in make_segments(text, Words(template=True), 100)]
    assert [said.startswith("<user>") for said in found] == [False, True, False, True]
    assert "<assistant>" in found[1]


def test_a_template_that_refuses_leaves_plain_text() -> None:
    text = CalibrationText("one", ("x" * 20 + "\n",) * 2)
    found = make_segments(text, Words(template=True, refuses=True), 40)
    assert found[0] == found[1]


def test_a_text_that_is_too_short_says_so() -> None:
    with pytest.raises(UsageError, match="'short' has only 0 tokens"):
        make_segments(CalibrationText("short", ("tiny",)), Words(template=False), 1000)


def test_a_users_text(tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    file.write_text("what my users say\n" * 10)
    found = text_of(file)
    assert found.name == "mine.txt"
    assert found.sha256 != shipped_text().sha256
    file.write_text(" \n")
    with pytest.raises(UsageError, match="is empty"):
        text_of(file)
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="can't decode"):
        text_of(file)
    with pytest.raises(UsageError, match=r"nowhere\.txt"):
        text_of(tmp_path / "nowhere.txt")


def test_large_models_take_less_text_for_all_of_it_is_in_memory_at_once() -> None:
    assert enough(64, 64) == LEAST
    assert enough(2048, 640) == MOST
    assert LEAST <= enough(11008, 4096) < MOST
    assert enough(21504, 5376) == LEAST
