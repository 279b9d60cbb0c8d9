"""Opening of Hugging Face checkpoints: config, tokenizer, chat template, licence and memory-mapped tensors."""

from __future__ import annotations

from .families import Family, family_of, supported
from .hub import Place, locate
from .licence import Licence
from .opened import Checkpoint, Description
from .opening import check_context, describe, open_checkpoint
from .tensors import TensorIndex, open_tensors, read_header
from .weights import load_float_model, weight_map

__all__ = [
    "Checkpoint",
    "Description",
    "Family",
    "Licence",
    "Place",
    "TensorIndex",
    "check_context",
    "describe",
    "family_of",
    "load_float_model",
    "locate",
    "open_checkpoint",
    "open_tensors",
    "read_header",
    "supported",
    "weight_map",
]
