"""Hints install Gemcut's extras as Gemcut itself was installed (PEP 610)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from gemcut.util import packages


class Installed:
    """A distribution whose direct_url.json has this content."""

    def __init__(self, written: dict[str, Any] | None) -> None:
        self._text = None if written is None else json.dumps(written)

    def read_text(self, name: str) -> str | None:
        assert name == "direct_url.json"
        return self._text


@pytest.mark.parametrize(
    ("found", "command"),
    [
        ([None], "pip install 'gemcut[litert,report]'"),
        (
            [{"url": "file:///a/gem%20cut", "dir_info": {"editable": True}}],
            "-e '/a/gem cut[litert,report]'",
        ),
        ([None, {"url": "file:///src", "dir_info": {"editable": True}}], "pip install -e '/src[litert,report]'"),
        ([{"url": "file:///src", "dir_info": {}}], "pip install '/src[litert,report]'"),
        ([{"url": "file:///g.whl", "archive_info": {}}], "pip install '/g.whl[litert,report]'"),
        ([{"url": "https://example.org/g.whl", "archive_info": {}}], "pip install 'gemcut[litert,report]'"),
    ],
)
def test_a_hint_fits_how_gemcut_was_installed(
    found: list[dict[str, Any] | None], command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def distributions(**asked: str) -> Iterator[Installed]:
        assert asked == {"name": "gemcut"}
        return map(Installed, found)

    monkeypatch.setattr(packages.metadata, "distributions", distributions)
    assert packages.install_command("litert", "report").endswith(command)
