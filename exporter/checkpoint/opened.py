"""The records of what is known of a checkpoint once it is open."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..bundle.hashing import hash_file
from ..util.progress import SubProgress
from .families import Family
from .hub import TOKENIZER_FILES, Place
from .licence import Licence, licence_files
from .tensors import INDEX, TensorIndex

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerBase

    from ..util.progress import Progress
    from .adapters.adapter import Adapter


@dataclass(frozen=True)
class Description:
    """A model as its config.json describes it, without weights or tokenizer.

    Attributes:
        place: Where the checkpoint is.
        family: Its family.
        config: The whole configuration.
        text_config: The decoder's configuration; the same object for text models.
        notes: What the user should know.
    """

    place: Place
    family: Family
    config: PreTrainedConfig
    text_config: PreTrainedConfig
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """An opened checkpoint: all of it is checked, and no weight is in memory yet.

    Attributes:
        path: Its directory.
        name: Its name, safe as a file's.
        source: What the user wrote.
        revision: The commit of a hub id, else None.
        family: Its family.
        config: The whole configuration.
        text_config: The decoder's configuration; the same object for text models.
        tokenizer: As transformers loaded it.
        words: The folder that it was loaded from: the adapter's, if that has one.
        chat_template: The template in use; None if `none` was asked for.
        generation: The content of generation_config.json.
        stop_ids: Every id that ends a turn, sorted; token ids index the embedding's rows.
        bos_id: The id of the beginning of a sequence, if every prompt begins with it; see ``start_token``.
        licence: The licence that it states.
        notes: What the user should know.
        tensors: Its tensors, with the adapter merged in as they are read.
        adapter: The adapter that is merged in, if any.
    """

    path: Path
    name: str
    source: str
    revision: str | None
    family: Family
    config: PreTrainedConfig
    text_config: PreTrainedConfig
    tokenizer: PreTrainedTokenizerBase
    words: Path
    chat_template: str | None
    generation: dict[str, Any]
    stop_ids: tuple[int, ...]
    bos_id: int | None
    licence: Licence
    notes: tuple[str, ...]
    tensors: TensorIndex
    adapter: Adapter | None = None

    @property
    def special_tokens(self) -> dict[str, str]:
        """The tokens that the chat template may use by name: ``bos_token`` and so on."""
        named = self.tokenizer.special_tokens_map
        return {name: str(token) for name, token in sorted(named.items()) if isinstance(token, str)}

    @cached_property
    def hashes(self) -> dict[str, str]:
        """The sha256 of every source file used, by its name; computed when first asked for.

        ``chat_template.jinja`` is the template in use, wherever it came from; it is absent if there is none.
        """
        return self._hashed(None)

    def hash_sources(self, progress: Progress) -> None:
        """Compute ``hashes`` and report how far that is: with large weights it takes a while."""
        if "hashes" not in self.__dict__:  # where cached_property keeps it
            self.__dict__["hashes"] = self._hashed(progress)

    def _hashed(self, progress: Progress | None) -> dict[str, str]:
        files = self.sources()
        sizes = [file.stat().st_size for file in files]
        found, done, total = {}, 0, sum(sizes) or 1
        for file, size in zip(files, sizes, strict=True):
            part = SubProgress(progress, done / total, (done + size) / total)
            found[file.relative_to(self.path).as_posix()] = hash_file(file, part).sha256
            done += size
        if self.chat_template is not None:
            found["chat_template.jinja"] = hashlib.sha256(self.chat_template.encode()).hexdigest()
        return dict(sorted(found.items()))

    def sources(self) -> tuple[Path, ...]:
        """Return every source file used, except the adapter's."""
        return tuple(_sources(self))


def _sources(checkpoint: Checkpoint) -> Iterator[Path]:
    folder = checkpoint.path
    for name in ("config.json", "generation_config.json", "README.md"):
        if (folder / name).is_file():
            yield folder / name
    for pattern in TOKENIZER_FILES:
        yield from (path for path in folder.glob(pattern) if "chat_template" not in path.as_posix())
    yield from licence_files(folder)
    if len(checkpoint.tensors.shards) > 1 or not (folder / "model.safetensors").exists():
        yield folder / INDEX
    yield from checkpoint.tensors.shards
