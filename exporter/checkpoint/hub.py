"""The way from what the user wrote to a directory: a local one as it is, or a hub id through huggingface_hub.

huggingface_hub reads its usual variables itself: HF_ENDPOINT, HF_TOKEN, HF_HOME, HF_HUB_OFFLINE.
"""

from __future__ import annotations

import errno
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import CheckpointError, GemcutError, LackingError
from .formats import foreign_files
from .tensors import INDEX, SINGLE, no_weights, read_header

CONFIG_FILES = ("config.json", "generation_config.json", "LICENSE*", "NOTICE*", "README.md")
# Of an adapter's folder too.
WORDS_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
)
TOKENIZER_FILES = (*WORDS_FILES, "chat_template.json", "additional_chat_templates/*.jinja")
OWN_PROMPTS = "golden_prompts.jsonl"  # which a model is proven with
WEIGHT_FILES = ("model.safetensors", "model-*.safetensors", "model.safetensors.index.json")
_HUB_ID = re.compile(r"(?P<id>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(@(?P<revision>\S+))?")
_SNAPSHOT = re.compile(r"models--(?P<org>.+?)--(?P<name>.+)")


@dataclass(frozen=True)
class Place:
    """Where a checkpoint is.

    Attributes:
        path: Its directory.
        name: Its name, safe as a file's.
        source: What the user wrote.
        revision: The commit's hash if it came from the hub, else None.
    """

    path: Path
    name: str
    source: str
    revision: str | None


def locate(model: str, *, weights: bool = True) -> Place:
    """Return the directory of ``model``; an existing directory wins over a hub id of the same spelling.

    Args:
        model: A directory, or ``org/name[@revision]``.
        weights: Whether to fetch the weights and the tokenizer too, or only what describes the model.

    Raises:
        CheckpointError: No such directory, repository or revision, or the repository is gated.
        LackingError: The hub can't be reached, or the disk is full.
    """
    path = Path(model).expanduser()
    if path.is_dir():
        return _local(path.resolve(), model)
    if path.is_file():
        foreign = foreign_files([path.name], model, None)
        if foreign is not None:
            raise foreign
        hint = "name the directory that holds config.json"
        raise CheckpointError(f"{model} is a file, not a directory", hint=hint)
    named = hub_id(model)
    if named is None:
        hint = "Name a directory or a hub id (org/name[@revision]); without MODEL it is the packaged sample."
        if _HUB_ID.fullmatch(model):
            hint = f"{path.parts[0]} is a folder here, so the hub isn't asked. If you mean the hub, write {model}@main."
        raise CheckpointError(f"no such directory: {model}", hint=hint)
    return _fetch(model, *named, weights=weights)


def hub_id(model: str, root: Path | None = None) -> tuple[str, str | None] | None:
    """Return the repository and the revision that a text names; None if it is no hub id.

    ``models/mine`` where there is a folder ``models`` is a path that leads nowhere, not somebody's repository; with a
    revision it is a hub id all the same.

    Args:
        model: What the user wrote, which is no directory.
        root: The folder that paths are relative to; None for the working directory.
    """
    match = _HUB_ID.fullmatch(model)
    if match is None or (match["revision"] is None and ((root or Path()) / model.partition("/")[0]).is_dir()):
        return None
    return match["id"], match["revision"]


def is_fetched(model: str) -> bool:
    """Return whether ``locate`` would fetch no weights: ``model`` is no hub id, or the hub's cache holds all of them.

    Args:
        model: A directory, or ``org/name[@revision]``.
    """
    named = None if Path(model).expanduser().exists() else hub_id(model)
    if named is None:
        return True
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        found = huggingface_hub.snapshot_download(
            named[0], revision=named[1], allow_patterns=_wanted(weights=True), local_files_only=True
        )
    except LocalEntryNotFoundError:
        return False
    folder = Path(found)
    index = folder / INDEX
    files = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()) if index.exists() else {SINGLE}
    return all((folder / name).exists() for name in files)


def stored_dtypes(place: Place) -> frozenset[str]:
    """Return the dtypes of a checkpoint's tensors, in safetensors' names, from headers alone; none if there are none.

    Args:
        place: Where it is; if its weights aren't fetched, the hub is asked for their headers.

    Raises:
        LackingError: The hub can't be reached.
    """
    files = sorted(place.path.glob("*.safetensors"))
    if files:
        return frozenset(entry.dtype for file in files for entry in read_header(file).values())
    match = _HUB_ID.fullmatch(place.source)
    if place.revision is None or match is None:
        return frozenset()
    import huggingface_hub
    from huggingface_hub.errors import NotASafetensorsRepoError

    try:
        found = huggingface_hub.get_safetensors_metadata(match["id"], revision=place.revision)
    except NotASafetensorsRepoError:
        return frozenset()
    except Exception as error:
        raise _explained(error, place.source, match["id"], place.revision) from error
    return frozenset(tensor.dtype for file in found.files_metadata.values() for tensor in file.tensors.values())


def safe_name(name: str) -> str:
    """Return a name with whatever isn't safe in file names, on any system, replaced."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-_") or "model"


def _local(path: Path, source: str) -> Place:
    """A directory; if it is a snapshot in the hub's cache, that says the name and the revision."""
    snapshot = _SNAPSHOT.fullmatch(path.parent.parent.name)
    if snapshot is not None and path.parent.name == "snapshots":
        return Place(path, safe_name(snapshot["name"]), source, path.name)
    return Place(path, safe_name(path.name), source, None)


def _wanted(weights: bool) -> list[str]:
    """Patterns of the files that are fetched: all that is ever read, or only what describes the model."""
    return [*CONFIG_FILES, *((*TOKENIZER_FILES, *WEIGHT_FILES, OWN_PROMPTS) if weights else ())]


def _fetch(model: str, hub_id: str, revision: str | None, *, weights: bool) -> Place:
    import huggingface_hub
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    patterns = _wanted(weights)
    silence = not sys.stderr.isatty() and not are_progress_bars_disabled()
    if silence:
        disable_progress_bars()
    try:
        folder = huggingface_hub.snapshot_download(hub_id, revision=revision, allow_patterns=patterns)
        config = (Path(folder) / "config.json").exists()
        if not config or (weights and not any(Path(folder).glob("*.safetensors"))):
            files = huggingface_hub.list_repo_files(hub_id, revision=Path(folder).name)
            foreign = foreign_files(files, model, Path(folder))
            if foreign is not None:
                raise foreign
            if config:
                raise no_weights(files, model)
    except GemcutError:
        raise
    except Exception as error:
        raise _explained(error, model, hub_id, revision) from error
    finally:
        if silence:
            enable_progress_bars()
    path = Path(folder)
    return Place(path, safe_name(hub_id.split("/")[1]), model, path.name)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _explained(error: Exception, model: str, hub_id: str, revision: str | None) -> GemcutError:
    """The error for whatever huggingface_hub raised: the most telling one in its chain of causes decides."""
    from huggingface_hub import constants
    from huggingface_hub import errors as hub

    def caused_by(*kinds: type[BaseException]) -> bool:
        return any(isinstance(link, kinds) for link in _chain(error))

    endpoint, cache = constants.ENDPOINT, constants.HF_HUB_CACHE
    if any(isinstance(link, OSError) and link.errno == errno.ENOSPC for link in _chain(error)):
        return LackingError(
            f"the disk is full: {model} doesn't fit in {cache}",
            hint="free some disk space, or set HF_HOME to a folder on a larger disk",
        )
    if caused_by(hub.GatedRepoError):
        return CheckpointError(
            f"{hub_id} is gated: its terms must be accepted before it can be downloaded",
            hint=f"accept the terms at {endpoint}/{hub_id}, then run: hf auth login (or set HF_TOKEN)",
        )
    if caused_by(hub.RevisionNotFoundError):
        return CheckpointError(
            f"{hub_id} has no revision '{revision or constants.DEFAULT_REVISION}'",
            hint=f"see its branches, tags and commits at {endpoint}/{hub_id}/commits",
        )
    if caused_by(hub.RepositoryNotFoundError):
        return CheckpointError(
            f"no model {hub_id} on {endpoint}, and no directory {model} here",
            hint="check the spelling; for a private model, run: hf auth login (or set HF_TOKEN)",
        )
    local = "name a local directory, or download it once while online: hf download " + hub_id
    if caused_by(hub.OfflineModeIsEnabled) or constants.is_offline_mode():
        return LackingError(
            f"HF_HUB_OFFLINE forbids the network, and the cache ({cache}) doesn't hold all of {model}",
            hint=f"{local}, or unset HF_HUB_OFFLINE",
        )
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if isinstance(error, (hub.HfHubHTTPError, OSError)) or caused_by(OSError, hub.HfHubHTTPError):
        return LackingError(
            f"{endpoint} can't be reached for {model}, and the cache ({cache}) doesn't hold all of it: {reason}",
            hint=local,
        )
    return CheckpointError(f"{model} can't be fetched from {endpoint}: {reason}", hint=local)
