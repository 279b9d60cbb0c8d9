"""Experts that are saved one by one, as Mixtral, Qwen3-MoE and others are published: stacked as transformers does.

Which tensors belong together, and how, is transformers' own table (``transformers.conversion_mapping``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..modeling.parts import PARTS, TEXT_DECODER
from .tensors import Entry, TensorIndex

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig

    from ..util.file_tensors import Scratch

_ONE_BY_ONE = re.compile(r"\.experts\.\d+\.")


@dataclass(frozen=True)
class _Stack:
    """A stacked tensor. sources: of each expert, the tensors' names by pattern. converter: transformers' own."""

    sources: tuple[dict[str, str], ...]
    converter: Any

    def expert(self, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return one expert's slice, [1, ...], from its own tensors by pattern."""
        found: Any = {pattern: [tensor] for pattern, tensor in tensors.items()}
        for operation in self.converter.operations:
            found = operation.convert(
                found,
                source_patterns=self.converter.source_patterns,
                target_patterns=self.converter.target_patterns,
            )
        (made,) = found.values()
        result: torch.Tensor = made
        return result


class StackedExperts(TensorIndex):
    """A checkpoint's tensors under the names that transformers' model has, experts stacked as they are read.

    Args:
        tensors: The checkpoint's own.
        renamed: By name in transformers' model, that in the checkpoint.
        stacks: By name in transformers' model, of what it is stacked.
    """

    def __init__(self, tensors: TensorIndex, renamed: Mapping[str, str], stacks: Mapping[str, _Stack]) -> None:
        self._tensors, self._stacks = tensors, stacks
        entries = {name: tensors.renamed(stored) for name, stored in renamed.items()}
        super().__init__(entries | {name: self._stacked_entry(stack) for name, stack in stacks.items()}, tensors.shards)

    def _stacked_entry(self, stack: _Stack) -> Entry:
        import torch

        first = {pattern: self._tensors._entry(name) for pattern, name in stack.sources[0].items()}
        slices = {pattern: torch.empty(entry.shape, device="meta") for pattern, entry in first.items()}
        shape = (len(stack.sources), *stack.expert(slices).shape[1:])
        one = next(iter(first.values()))
        element = one.nbytes // max(1, math.prod(one.shape))
        return Entry(one.shard, one.dtype, shape, element * math.prod(shape), 0)

    def mapped(self, name: str) -> torch.Tensor:
        """Return the file's own bytes as a tensor; a stacked one is in memory."""
        from ..util.file_tensors import InMemory

        return self.kept(name, InMemory()) if name in self._stacks else super().mapped(name)

    def get(self, name: str) -> torch.Tensor:
        """Return a tensor in its stored dtype; it must not be written to."""
        return self.mapped(name) if name in self._stacks else super().get(name)

    def kept(self, name: str, scratch: Scratch) -> torch.Tensor:
        """Return a tensor as ``mapped`` does; a stacked one is written to ``scratch``, an expert at a time."""
        if name not in self._stacks:
            return super().mapped(name)
        stack, out = self._stacks[name], None
        for at, sources in enumerate(stack.sources):
            expert = stack.expert({pattern: self._tensors.mapped(stored) for pattern, stored in sources.items()})
            if out is None:
                out = scratch.empty((len(stack.sources), *expert.shape[1:]), expert.dtype)
            out[at] = expert[0]
        assert out is not None
        return out


def with_stacked_experts(text_config: PreTrainedConfig, tensors: TensorIndex) -> TensorIndex:
    """Return a checkpoint's tensors as transformers' model has them; the same ones if no expert is saved apart.

    Args:
        text_config: The text part's configuration.
        tensors: The checkpoint's tensors.

    Raises:
        CheckpointError: transformers can't build the model.
    """
    if not any(map(_ONE_BY_ONE.search, tensors.names())):
        return tensors
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightConverter, WeightRenaming, dot_natural_key, rename_source_key

    model: Any = PARTS.get(TEXT_DECODER).empty(text_config)
    transforms = get_model_conversion_mapping(model)
    renamings = [one for one in transforms if isinstance(one, WeightRenaming)]
    converters = [one for one in transforms if isinstance(one, WeightConverter)]
    state, prefix = model.state_dict(), model.base_model_prefix
    renamed: dict[str, str] = {}
    gathered: dict[str, dict[str, list[str]]] = {}
    for stored in sorted(tensors.names(), key=dot_natural_key):
        name, pattern = rename_source_key(stored, renamings, converters, prefix, state)
        if pattern is None:
            renamed[name] = stored
        else:
            gathered.setdefault(name, {}).setdefault(pattern, []).append(stored)
    stacks = {}
    for name, by_pattern in gathered.items():
        converter = next(one for one in converters if set(by_pattern) <= set(one.source_patterns))
        if len({len(sources) for sources in by_pattern.values()}) > 1 or not _expert_by_expert(converter):
            renamed |= {stored: stored for sources in by_pattern.values() for stored in sources}
            continue
        ordered = {pattern: by_pattern[pattern] for pattern in converter.source_patterns if pattern in by_pattern}
        sources = tuple(dict(zip(ordered, each, strict=True)) for each in zip(*ordered.values(), strict=True))
        stacks[name] = _Stack(sources, converter)
    return StackedExperts(tensors, renamed, stacks)


def _expert_by_expert(converter: Any) -> bool:
    """Whether a converter can be applied to one expert at a time: it stacks first, and then joins within experts."""
    from transformers.core_model_loading import Concatenate, MergeModulelist

    first, *others = converter.operations
    stacks = isinstance(first, MergeModulelist) and first.dim == 0 and len(converter.target_patterns) == 1
    return stacks and all(isinstance(one, Concatenate) and one.dim > 0 for one in others)
