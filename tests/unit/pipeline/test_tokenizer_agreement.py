"""A bundle's tokenizer and template are held against transformers' before anything is run: each way of differing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gemcut.checkpoint.opening import open_checkpoint
from gemcut.errors import ConformanceError
from gemcut.pipeline.tokenizer_agreement import check_agreement
from gemcut.sample import sample_path

TEMPLATES = Path(__file__).parents[2] / "support" / "templates"


def bundled(checkpoint: Any, folder: Path, change: Callable[[dict[str, Any]], object] | None = None) -> Path:
    """The tokenizer.json of a bundle, with something done to it."""
    state = json.loads(checkpoint.tokenizer.backend_tokenizer.to_str())
    if change is not None:
        change(state)
    file = folder / "tokenizer.json"
    file.write_text(json.dumps(state))
    return file


@pytest.mark.parametrize("template", [None, "none", *sorted(file.stem for file in TEMPLATES.glob("*.jinja"))])
def test_every_template_that_we_know_is_rendered_as_transformers_renders_it(
    template: str | None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    own = template if template in (None, "none") else str(TEMPLATES / f"{template}.jinja")
    checkpoint = open_checkpoint(str(sample_path()), chat_template=own)
    check_agreement(checkpoint, bundled(checkpoint, tmp_path))
    assert "longer than" not in capfd.readouterr().err


def _truncated(state: dict[str, Any]) -> None:
    state["truncation"] = {"direction": "Right", "max_length": 512, "strategy": "LongestFirst", "stride": 0}


def _lower(state: dict[str, Any]) -> None:
    state["normalizer"] = {"type": "Lowercase"}


@pytest.mark.parametrize("change", [_truncated, _lower], ids=lambda change: change.__name__.strip("_"))
def test_a_tokenizer_that_differs_is_never_published(change: Callable[..., Any], tmp_path: Path) -> None:
    checkpoint = open_checkpoint(str(sample_path()))
    with pytest.raises(ConformanceError, match=r"other tokens than transformers, from token \d+ on, for the text '"):
        check_agreement(checkpoint, bundled(checkpoint, tmp_path, change))


def test_a_template_that_lacks_a_token_is_never_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = open_checkpoint(str(sample_path()), chat_template=str(TEMPLATES / "gemma3.jinja"))
    monkeypatch.setattr(type(checkpoint), "special_tokens", {})
    with pytest.raises(ConformanceError, match="for the chat "):
        check_agreement(checkpoint, bundled(checkpoint, tmp_path))
