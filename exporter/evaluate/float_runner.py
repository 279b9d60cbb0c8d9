"""The float model behind the interface of a bundle's runner."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..util.arrays import FloatArray


class FloatRunner:
    """See ``prove.runner.Runner``: transformers' own forward with its own cache, in float32.

    Args:
        model: A causal language model of transformers.
        context: Tokens that it is given at most, as many as the bundle beside it.
    """

    def __init__(self, model: Any, context: int) -> None:
        self._model, self._cache = model.eval(), None
        self.vocab_size = int(model.config.vocab_size)
        self.max_context = self.prefill_chunk = context

    def prefill(self, ids: Sequence[int], position: int) -> FloatArray:
        """Feed ``ids`` from ``position`` on; return the logits [V] float32 of the last."""
        import torch

        from ..reference.upcast import float32_at_use

        if position == 0:
            self._cache = None
        with torch.inference_mode(), float32_at_use(self._model):
            out = self._model(
                input_ids=torch.tensor([list(ids)]), past_key_values=self._cache, use_cache=True, logits_to_keep=1
            )
        self._cache = out.past_key_values
        return np.asarray(out.logits[0, -1].float().numpy(), dtype=np.float32)

    def step(self, token: int, position: int) -> FloatArray:
        """Feed one token; return its logits [V] float32."""
        return self.prefill([token], position)

    def close(self) -> None:
        """Free the cache."""
        self._cache = None
