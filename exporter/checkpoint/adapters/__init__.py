"""PEFT adapters (LoRA, rsLoRA, DoRA), merged into a checkpoint's tensors as they are read."""

from __future__ import annotations

from .adapter import Adapter, Base, open_adapter
from .adapter_config import WEIGHTS, AdapterConfig, read_config
from .overlay import AdaptedTensors, adapt

__all__ = ["WEIGHTS", "AdaptedTensors", "Adapter", "AdapterConfig", "Base", "adapt", "open_adapter", "read_config"]
