"""The sample model: a small Gemma 4 text model trained from scratch on requests to a phone."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path


def sample_path() -> Path:
    """The folder of the packaged checkpoint: weights, configuration, tokenizer, chat template."""
    return Path(str(files(__name__) / "model"))
