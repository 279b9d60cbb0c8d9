"""The text decoder: transformers' causal language model of a text configuration."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from ...errors import CheckpointError
from .base import Part

if TYPE_CHECKING:
    from torch import nn


class TextDecoder(Part):
    """See ``Part``."""

    name = "text-decoder"

    def empty(self, config: Any) -> nn.Module:
        """See ``Part``; ``config`` is the text configuration.

        Raises:
            CheckpointError: transformers can't build it.
        """
        import torch
        from transformers import AutoModelForCausalLM

        try:
            with torch.device("meta"):
                model: nn.Module = AutoModelForCausalLM.from_config(copy.deepcopy(config))  # type: ignore[no-untyped-call]
        except Exception as error:  # what a model class raises on a configuration it can't build is its own
            raise CheckpointError(
                f"config.json describes a model that transformers can't build: {type(error).__name__}: {error}",
                hint="use the model's own config.json",
            ) from error
        return model

    def checked(self, config: Any, runtime: str) -> nn.Module:
        """See ``Part``; the module is also run once without weights, to learn how it calls its attention."""
        from ..supported import refuse_modules, refuse_unsupported

        refuse_unsupported(config, runtime)
        model = self.empty(config)
        refuse_modules(model, runtime)
        return model


TEXT_DECODER = TextDecoder()
