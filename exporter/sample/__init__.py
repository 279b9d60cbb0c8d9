"""The sample model: a small Gemma 4 text model trained from scratch on requests to a phone."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path


def adapter_path(name: str = "sample") -> Path:
    """Return the folder of an adapter; a directory wins over ``sample``, the packaged one for the sample model."""
    packaged = Path(str(files(__name__) / "adapter" / "diary"))
    return packaged if name == "sample" and not Path(name).is_dir() else Path(name).expanduser()


def sample_path() -> Path:
    """Return the folder of the packaged checkpoint: weights, configuration, tokenizer, chat template."""
    return Path(str(files(__name__) / "model"))
