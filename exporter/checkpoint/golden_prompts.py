"""The prompts that come with a checkpoint or its adapter, for its own proof."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .hub import OWN_PROMPTS

if TYPE_CHECKING:
    from .opened import Checkpoint


def own_prompts(checkpoint: Checkpoint) -> Path | None:
    """Return the file of prompts that comes with the adapter, else with the checkpoint; None if neither has one."""
    folders = [checkpoint.path] if checkpoint.adapter is None else [checkpoint.adapter.path, checkpoint.path]
    return next((folder / OWN_PROMPTS for folder in folders if (folder / OWN_PROMPTS).is_file()), None)
