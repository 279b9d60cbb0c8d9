"""The text decoder: transformers' causal language model of a text configuration."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from .base import Part

if TYPE_CHECKING:
    from torch import nn


class TextDecoder(Part):
    """See ``Part``."""

    name = "text-decoder"

    def empty(self, config: Any) -> nn.Module:
        """See ``Part``; ``config`` is the text configuration."""
        import torch
        from transformers import AutoModelForCausalLM

        with torch.device("meta"):
            model: nn.Module = AutoModelForCausalLM.from_config(copy.deepcopy(config))  # type: ignore[no-untyped-call]
        return model

    def checked(self, config: Any, runtime: str) -> nn.Module:
        """See ``Part``; the module is also run once without weights, to learn how it calls its attention."""
        from ..supported import refuse_modules, refuse_unsupported

        refuse_unsupported(config, runtime)
        model = self.empty(config)
        refuse_modules(model, runtime)
        return model


TEXT_DECODER = TextDecoder()
