"""A checkpoint's tensors with an adapter merged in, read one at a time like any others."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..families import layouts
from ..tensors import TensorIndex
from .adapter import EMBEDDING, HEAD, Adapter, Base, open_adapter

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig

    from ...util.file_tensors import Scratch

_SHARED = "k_proj|v_proj|k_norm|v_norm"


class AdaptedTensors(TensorIndex):
    """The base model's tensors; those that the adapter changes are merged, in float32, when they are read.

    A tensor that only takes another's place stays in the adapter's file, in its dtype.

    Args:
        base: The checkpoint's tensors.
        adapter: Opened for this checkpoint.
        parameters: Transformers' names of the parameters, by their names in the checkpoint.
        aliases: By additional name, the tensor in the checkpoint that it stands for before the adapter is merged.
    """

    def __init__(
        self, base: TensorIndex, adapter: Adapter, parameters: Mapping[str, str], aliases: Mapping[str, str]
    ) -> None:
        entries = {name: base.renamed(name) for name in base.names()}
        super().__init__(entries | {name: entries[stored] for name, stored in aliases.items()}, base.shards)
        self._base, self._aliases = base, aliases
        self._adapter = adapter
        self._touched = {stored: name for stored, name in parameters.items() if name in adapter.updates}
        replaced = {stored: adapter.replaced(name) for stored, name in self._touched.items()}
        self._replaced = {stored: tensor for stored, tensor in replaced.items() if tensor is not None}
        self._merged = {stored: name for stored, name in self._touched.items() if stored not in self._replaced}

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape as it is read: an embedding has more rows if tokens were added."""
        own = self._adapter.shape(self._touched[name]) if name in self._touched else None
        return own or super().shape(name)

    def dtype(self, name: str) -> str:
        """Return a tensor's dtype as it is read: a merged one is float32."""
        if name in self._replaced:
            return self._adapter.tensors.dtype(self._replaced[name])
        return "F32" if name in self._merged else super().dtype(name)

    def shard(self, name: str) -> Path:
        """Return the file that holds a tensor; for a merged one, the base model's."""
        if name in self._replaced:
            return self._adapter.tensors.shard(self._replaced[name])
        return super().shard(name)

    def mapped(self, name: str) -> torch.Tensor:
        """Return the file's own bytes as a tensor; a merged tensor is in memory."""
        if name in self._replaced:
            return self._adapter.tensors.mapped(self._replaced[name])
        return self.get(name) if name in self._merged else self._base.mapped(self._aliases.get(name, name))

    def kept(self, name: str, scratch: Scratch) -> torch.Tensor:
        """Return a tensor as ``mapped`` does; a merged one is computed into a file of ``scratch``, not in memory."""
        stored = self._aliases.get(name, name)
        if name in self._replaced:
            return self._adapter.tensors.mapped(self._replaced[name])
        if name not in self._merged:
            return self._base.kept(stored, scratch)
        return self._adapter.merged(self._merged[name], self._base.kept(stored, scratch), scratch)

    def get(self, name: str) -> torch.Tensor:
        """Return a tensor as the fine-tune has it; it must not be written to.

        Raises:
            CheckpointError: There is no such tensor, or its file changed since it was opened.
        """
        from ...util.file_tensors import InMemory

        if name in self._replaced:
            return self._adapter.tensors.get(self._replaced[name])
        if name in self._merged:
            return self.kept(name, InMemory())
        return self._base.get(self._aliases.get(name, name))


def adapt(
    folder: Path, tensors: TensorIndex, names: Mapping[str, str], text_config: PreTrainedConfig
) -> tuple[AdaptedTensors, Adapter, PreTrainedConfig]:
    """Open an adapter for a checkpoint and lay it over the checkpoint's tensors.

    Args:
        folder: The adapter's folder.
        tensors: The checkpoint's tensors.
        names: Names in the checkpoint by transformers' names, as ``weight_map`` returned them.
        text_config: The text part's configuration.

    Returns:
        The tensors, the adapter, and the configuration as ``adapted_config`` returns it.

    Raises:
        CheckpointError: As for ``open_adapter``.
        UnsupportedError: As for ``open_adapter``.
    """
    tied = bool(text_config.tie_word_embeddings)
    shapes = {name: tensors.shape(stored) for name, stored in names.items() if not (tied and name == HEAD)}
    adapter = open_adapter(folder, Base(shapes, tied, spare_tensors(text_config)))
    parameters = {stored: EMBEDDING if tied and name == HEAD else name for name, stored in names.items()}
    aliases: dict[str, str] = {}
    text_config = adapted_config(text_config, adapter)
    if adapter.untied:
        embedding = names[EMBEDDING]
        head = next(one.head for one in layouts() if f"{one.decoder}embed_tokens.weight" == embedding)
        parameters[head] = HEAD
        aliases = {} if head in tensors else {head: embedding}
    return AdaptedTensors(tensors, adapter, parameters, aliases), adapter, text_config


def adapted_config(text_config: PreTrainedConfig, adapter: Adapter) -> PreTrainedConfig:
    """Return a configuration with an adapter merged in: another one if it unties the head, or has more tokens.

    Args:
        text_config: The text part's configuration; it is not changed.
        adapter: The adapter.
    """
    if not adapter.untied and adapter.rows is None:
        return text_config
    found = copy.deepcopy(text_config)
    if adapter.untied:
        found.tie_word_embeddings = False
    if adapter.rows is not None:
        found.vocab_size = adapter.rows
    return found


def spare_tensors(text_config: PreTrainedConfig) -> re.Pattern[str] | None:
    """Return the names of unused tensors: keys and values of layers that share another layer's cache.

    Older transformers had them and didn't use them.

    Args:
        text_config: The text part's configuration.
    """
    modes = getattr(text_config, "kv_sharing_modes", ())
    reused = "|".join(str(index) for index, mode in enumerate(modes) if mode == "reuse")
    return re.compile(rf"model\.layers\.({reused})\.self_attn\.({_SHARED})\..+") if reused else None
