"""The float model that goldens are made with: transformers' own forward, float32, nothing of ours in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .stages import FloatArray


class TransformersReference:
    """See ``stages.Reference``.

    Args:
        model: a transformers causal LM in float32, not adapted.
    """

    def __init__(self, model: Any) -> None:
        self._model = model.eval()
        self.vocab_size = int(model.config.vocab_size)

    def logits(self, ids: Sequence[int], first: int = 0) -> FloatArray:
        """See ``stages.Reference``; eager attention over the whole sequence, no cache."""
        import torch

        with torch.inference_mode():
            out = self._model(input_ids=torch.tensor([list(ids)]), use_cache=False, logits_to_keep=len(ids) - first)
        return np.asarray(out.logits[0].float().numpy(), dtype=np.float32)

    def generate(self, ids: Sequence[int], max_new: int, stop: frozenset[int]) -> list[int]:
        """See ``stages.Reference``; greedy, with transformers' own cache."""
        import torch

        out: list[int] = []
        tokens, cache = torch.tensor([list(ids)]), None
        with torch.inference_mode():
            while len(out) < max_new and not (out and out[-1] in stop):
                result = self._model(input_ids=tokens, past_key_values=cache, use_cache=True, logits_to_keep=1)
                cache = result.past_key_values
                out.append(int(result.logits[0, -1].argmax()))
                tokens = torch.tensor([[out[-1]]])
        return out
