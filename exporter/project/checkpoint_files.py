"""The hashes of a checkpoint's files now, named as in ``Checkpoint.hashes``, in milliseconds and without loading it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from ..errors import GemcutError
from .entries import ModelSource
from .hash_cache import Hashes

COMMIT = re.compile(r"[0-9a-f]{40}")
SECONDS = 3.0  # within which the hub must say which commit a branch is at
_TEMPLATES = "chat_template"


def file_hashes(folder: Path, hashes: Hashes, own_template: bool) -> dict[str, str]:
    """Return the SHA-256 of every file that an export of this folder would read, by name.

    If the checkpoint's own template is used (``own_template``), the files that it may come from are included as they
    are; a manifest has the template in use instead, under the name chat_template.jinja.
    """
    found = {}
    for path in _files(folder):
        name = path.relative_to(folder).as_posix()
        if own_template or _TEMPLATES not in name:
            found[name] = hashes.of(path)
    return dict(sorted(found.items()))


def _files(folder: Path) -> Iterator[Path]:
    from ..checkpoint.hub import TOKENIZER_FILES
    from ..checkpoint.licence import licence_files
    from ..checkpoint.tensors import INDEX, SINGLE

    for pattern in ("config.json", "generation_config.json", "README.md", *TOKENIZER_FILES):
        yield from (path for path in folder.glob(pattern) if path.is_file())
    yield from licence_files(folder)
    if (folder / SINGLE).is_file():
        yield folder / SINGLE
        return
    if (folder / INDEX).is_file():
        yield folder / INDEX
        yield from (path for path in _shards(folder / INDEX) if path.is_file())


def _shards(index: Path) -> list[Path]:
    try:
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        return sorted(index.parent / name for name in names)
    except (ValueError, KeyError, TypeError, AttributeError):  # the export reports what is wrong with it
        return sorted(index.parent.glob("model-*.safetensors"))


def resolve(model: ModelSource, locked: str | None) -> tuple[str | None, tuple[str, ...]]:
    """Find the commit that a hub id means now.

    Args:
        model: A hub id, at a commit, a branch or a tag, or at none (the default branch).
        locked: The commit that gemcut.lock has for it, which is used if the hub can't be asked.

    Returns:
        The commit, and notes. The commit is None if nobody knows it: the hub can't be asked, and neither the lock nor
        the hub's cache on this machine has it.
    """
    if model.revision and COMMIT.fullmatch(model.revision):
        return model.revision, ()
    import huggingface_hub
    from huggingface_hub import constants

    if constants.is_offline_mode():
        why = "HF_HUB_OFFLINE forbids network access"
    else:
        try:
            info = huggingface_hub.HfApi().model_info(model.hub_id, revision=model.revision, timeout=SECONDS)
            return info.sha, ()
        except Exception as error:  # the export itself reports it better
            why = f"{constants.ENDPOINT} gave no answer ({type(error).__name__})"
    kept = locked or _cached(model)
    where = "gemcut.lock" if locked else "the hub's cache on this machine"
    if kept is None:
        return None, ()
    return kept, (f"can't tell whether {model.text} has moved: {why}; using the commit in {where}, {kept[:12]}",)


def _cached(model: ModelSource) -> str | None:
    import huggingface_hub

    try:
        folder = huggingface_hub.snapshot_download(
            model.hub_id, revision=model.revision, allow_patterns=["config.json"], local_files_only=True
        )
    except (GemcutError, OSError, ValueError):
        return None
    return Path(folder).name
