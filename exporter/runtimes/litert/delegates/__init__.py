"""LiteRT's delegates by name, imported when a target asks for one."""

from __future__ import annotations

from ....util.registry import Registry
from .base import LiteRTDelegate

DELEGATES: Registry[LiteRTDelegate] = Registry(
    "delegate of litert",
    "gemcut.litert_delegates",
    {"xnnpack": ".xnnpack:DELEGATE"},
    __name__,
)
