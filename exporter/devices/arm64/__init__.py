"""``arm64-user``: arm64 code under QEMU's user mode, on the processor that a profile describes."""

from __future__ import annotations

from ..base import Device, DeviceKind
from ..options import Options


class Arm64UserKind(DeviceKind):
    """See ``DeviceKind``."""

    name = "arm64-user"
    argument = "PROFILE"
    proves = "arm64 code of the PyPI runtimes, with the kernels that a given processor chooses"
    leaves_out = "the app's library; speed; a real processor's arithmetic beyond what QEMU computes"

    def make(self, text: str, options: Options) -> Device:
        """See ``DeviceKind``.

        Raises:
            UnsupportedError: There is no such profile.
            UsageError: The profile's file doesn't exist, or isn't valid.
        """
        from .device import Arm64User

        return Arm64User(text.partition(":")[2], options.limit)


DEVICE = Arm64UserKind()
