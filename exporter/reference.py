"""The float model that goldens are made with: transformers' own forward, float32, nothing of ours in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .stages import FloatArray


class TransformersReference:
    """See ``stages.Reference``.

    Args:
        model: a transformers causal LM, not adapted; matrices that aren't float32 are made so as they are used.
    """

    def __init__(self, model: Any) -> None:
        from transformers import GenerationConfig

        self._model = model.eval()
        # Else its own stop ids and sampling would fill what is unset.
        self._model.generation_config = GenerationConfig()  # type: ignore[no-untyped-call]
        self.vocab_size = int(model.config.vocab_size)

    def logits(self, ids: Sequence[int], first: int = 0) -> FloatArray:
        """See ``stages.Reference``; eager attention over the whole sequence, no cache."""
        import torch

        from .upcast import float32_at_use

        with torch.inference_mode(), float32_at_use(self._model):
            out = self._model(input_ids=torch.tensor([list(ids)]), use_cache=False, logits_to_keep=len(ids) - first)
        return np.asarray(out.logits[0].float().numpy(), dtype=np.float32)

    def generate(self, prompts: Sequence[Sequence[int]], max_new: int, stop: frozenset[int]) -> list[list[int]]:
        """See ``stages.Reference``; transformers' own greedy ``generate``, prompts of like length in one batch."""
        out: list[list[int]] = [[] for _ in prompts]
        for batch in _batches(prompts):
            replies = self._generate_batch([prompts[i] for i in batch], max_new, stop)
            for i, reply in zip(batch, replies, strict=True):
                out[i] = reply
        return out

    def _generate_batch(
        self, prompts: Sequence[Sequence[int]], max_new: int, stop: frozenset[int]
    ) -> list[list[int]]:
        import torch
        from transformers import GenerationConfig

        from .upcast import float32_at_use

        longest = max(map(len, prompts))
        ids = torch.zeros((len(prompts), longest), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):  # Padded on the left, where the mask hides it.
            ids[row, longest - len(prompt) :] = torch.tensor(list(prompt))
            mask[row, longest - len(prompt) :] = 1
        settings = GenerationConfig(  # type: ignore[no-untyped-call]
            max_new_tokens=max_new, do_sample=False, eos_token_id=sorted(stop) or None, pad_token_id=0
        )
        with torch.inference_mode(), float32_at_use(self._model):
            whole = self._model.generate(input_ids=ids, attention_mask=mask, generation_config=settings)
        return [_until_stop(row[longest:].tolist(), stop) for row in whole]


def _until_stop(ids: list[int], stop: frozenset[int]) -> list[int]:
    """``ids`` up to and with the first stop id; what follows is padding."""
    at = next((i for i, token in enumerate(ids) if token in stop), len(ids) - 1)
    return ids[: at + 1]


def _batches(prompts: Sequence[Sequence[int]]) -> list[list[int]]:
    """Indices of prompts to run together: padding costs at most as much as the shortest of a batch."""
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    out: list[list[int]] = []
    for i in order:
        if out and len(prompts[i]) <= 2 * len(prompts[out[-1][0]]):
            out[-1].append(i)
        else:
            out.append([i])
    return out
