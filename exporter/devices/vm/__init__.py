"""``arm64-vm``: an arm64 Linux machine under QEMU, reached over adb alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .. import Options
    from .device import Arm64Vm


def make(text: str, options: Options) -> Arm64Vm:
    """The device ``arm64-vm``; nothing is started.

    Raises:
        UsageError: Its memory is no size, or too small.
    """
    from .device import DEFAULT_MEMORY, Arm64Vm

    return Arm64Vm(text, options.limit, options.memory or DEFAULT_MEMORY)
