"""``arm64-vm``: an arm64 Linux machine under QEMU, reached over adb alone."""

from __future__ import annotations

from ..base import Device, DeviceKind
from ..options import Options


class Arm64VmKind(DeviceKind):
    """See ``DeviceKind``."""

    name = "arm64-vm"
    proves = "a whole arm64 Linux machine with a memory limit, reached over adb alone"
    leaves_out = "Android itself; the app's library; speed"
    takes_memory = True

    def make(self, text: str, options: Options) -> Device:
        """See ``DeviceKind``.

        Raises:
            UsageError: The memory isn't a size, or is too small.
        """
        from .device import DEFAULT_MEMORY, Arm64Vm

        return Arm64Vm(text, options.limit, options.memory or DEFAULT_MEMORY)


DEVICE = Arm64VmKind()
