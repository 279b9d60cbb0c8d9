"""The prompts that a checkpoint or its adapter brings for its own proof."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .records import Checkpoint

OWN_PROMPTS = "golden_prompts.jsonl"


def own_prompts(checkpoint: Checkpoint) -> Path | None:
    """The prompts that come with a fine-tune's adapter, else with the checkpoint."""
    folders = [checkpoint.path] if checkpoint.adapter is None else [checkpoint.adapter.path, checkpoint.path]
    return next((folder / OWN_PROMPTS for folder in folders if (folder / OWN_PROMPTS).is_file()), None)
