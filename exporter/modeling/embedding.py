"""The factor by which a decoder multiplies its token embeddings."""

from __future__ import annotations

from torch import nn


def embedding_multiplier(module: nn.Embedding) -> float:
    """Return what a family multiplies its embeddings by (``embed_scale``); 1.0 for a plain embedding."""
    return float(getattr(module, "embed_scale", 1.0))
