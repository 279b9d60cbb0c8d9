"""ExecuTorch's delegates by name, imported when a target asks for one."""

from __future__ import annotations

from ....util.registry import Registry
from .base import ExecuTorchDelegate

DELEGATES: Registry[ExecuTorchDelegate] = Registry(
    "delegate of executorch",
    "gemcut.executorch_delegates",
    {"xnnpack": ".xnnpack:DELEGATE"},
    __name__,
)
