"""arm64-user: arm64 code under QEMU's user mode, on the processor that a profile describes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .. import Options
    from ..base import Device


def make(text: str, options: Options) -> Device:
    """The device that ``arm64-user[:PROFILE]`` names.

    Raises:
        UnsupportedError: There is no such profile.
        UsageError: The profile's file isn't there, or isn't right.
    """
    from .device import Arm64User

    return Arm64User(text.partition(":")[2], options.limit)
