"""Folds: one module each, which says of which families it is exact."""

from __future__ import annotations

from .base import Fold
from .gated_mlp import UP_TO_DOWN
from .norms import INPUT_NORM, MLP_NORM
from .value import VALUE_TO_OUTPUT

# In the order in which a layer computes what they touch.
FOLDS: tuple[Fold, ...] = (INPUT_NORM, VALUE_TO_OUTPUT, MLP_NORM, UP_TO_DOWN)
